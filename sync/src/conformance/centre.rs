//! What must hold for every [`Centre`]: jobs, blobs, documents.

mod blobs;
mod claims;
mod documents;
mod rows;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use async_trait::async_trait;

use super::{
    Failure, Finding, Report, caught, overdue,
    report::{Outcome, same},
};
use crate::{
    centre::{
        Builder, Centre, CentreError,
        blobs::BlobError,
        job::{Claim, Job, JobId, NewJob, Outcome as Ending},
    },
    upstream::Upstream,
};

/// A kind of centre under test. Errors are texts for people: the scenario fails with them.
#[async_trait]
pub trait CentreTarget: Send + Sync {
    /// Makes an empty centre, or chooses one that is not there yet; every scenario has one of its own.
    async fn begin(&mut self) -> Result<(), String>;

    /// A connection to it that shares no memory with any other: what another machine would have.
    ///
    /// # Errors
    /// Why there is none.
    fn connect(&self) -> Result<Arc<dyn Centre>, String>;

    /// An upstream of the same database.
    ///
    /// # Errors
    /// Why there is none.
    fn upstream(&self) -> Result<Arc<dyn Upstream>, String>;

    /// Lets `ms` milliseconds pass for all attempts: either the centre's clock goes on, or what it has noted of
    /// attempts (begun, progress, expiry) becomes so much older.
    async fn pass(&self, ms: i64) -> Result<(), String>;
}

type Running<'p> = std::pin::Pin<Box<dyn Future<Output = Outcome> + Send + 'p>>;
type Scenario = for<'p> fn(&'p dyn CentreTarget) -> Running<'p>;

macro_rules! scenarios {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), |target| Box::pin($module::$name(target)))),*),*]
    };
}

const SCENARIOS: &[(&str, Scenario)] = scenarios! {
    claims:
        submitting_again_changes_nothing
        a_job_is_claimed_by_one_and_asked_again_it_is_the_same_attempt
        many_at_once_claim_each_job_once
        whoever_lost_a_claim_cannot_finish_it
        an_attempt_is_kept_by_progress_and_not_by_saying_that_it_lives
        an_attempt_may_not_take_longer_than_the_job_allows
        the_next_attempt_goes_on_from_the_last_checkpoint
        a_job_that_fails_is_tried_again_a_bounded_number_of_times
        what_is_given_back_does_not_count
        a_cancelled_job_is_lost_to_whoever_is_at_it
        a_builder_takes_only_what_it_can_do
        of_a_finish_and_an_expiry_one_decides
        who_waits_hears_of_a_job;
    blobs:
        a_blob_comes_back_as_it_was
        a_put_that_was_cut_goes_on_unless_it_was_something_else
        a_fetch_goes_on_and_takes_nothing_damaged
        several_may_put_the_same_blob;
    documents:
        serials_only_rise
        of_several_with_one_serial_one_is_published;
    rows:
        rows_come_back_as_they_were_uploaded
        rows_come_in_order_page_by_page
        where_nothing_was_uploaded_there_is_nothing;
};

/// Runs every scenario against `target`, one after the other.
pub async fn centre(target: &mut dyn CentreTarget) -> Report {
    let mut report = Report::default();
    for (name, scenario) in SCENARIOS {
        match in_a_new_centre(target, *scenario).await {
            Ok(()) => report.passed.push(name),
            Err(finding) => report.failures.push(Failure {
                scenario: name,
                finding,
            }),
        }
    }
    report
}

async fn in_a_new_centre(target: &mut dyn CentreTarget, scenario: Scenario) -> Outcome {
    let begun = tokio::time::timeout(super::SCENARIO_MAX, target.begin()).await;
    begun.unwrap_or_else(|_| Err("it did not end".to_owned()))?;
    let running = caught(scenario(target));
    let outcome = tokio::time::timeout(super::SCENARIO_MAX, running).await;
    outcome.unwrap_or_else(|_| Err(overdue("the scenario")))
}

impl From<String> for Finding {
    fn from(error: String) -> Self {
        Self::new("the target", "no error", error)
    }
}

impl From<CentreError> for Finding {
    fn from(error: CentreError) -> Self {
        Self::new("a call", "no error", error)
    }
}

impl From<BlobError> for Finding {
    fn from(error: BlobError) -> Self {
        Self::new("a transfer", "no error", error)
    }
}

impl From<std::io::Error> for Finding {
    fn from(error: std::io::Error) -> Self {
        Self::new("a file of ours", "no error", error)
    }
}

/// Leases and the like are this long, so that what a slow machine takes does not count.
const SECOND_MS: i64 = 1_000_000;

fn builder(name: &str) -> Builder {
    Builder {
        name: name.into(),
        kinds: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// A job with a lease of one, ten without progress and sixty in all of what [`SECOND_MS`] are.
fn job(id: u128) -> NewJob {
    NewJob {
        id: JobId(id),
        kind: "train".into(),
        document: format!("job {id}").into_bytes(),
        labels: BTreeMap::new(),
        attempts_max: NonZeroU32::MIN.saturating_add(2),
        lease_ms: SECOND_MS as u64,
        stalled_ms_max: 10 * SECOND_MS as u64,
        time_ms_max: 60 * SECOND_MS as u64,
    }
}

fn done(result: &str) -> Ending {
    Ending::Done {
        result: result.into(),
    }
}

/// The claim of whoever asks while there is something to claim.
async fn claimed(centre: &dyn Centre, request: u128) -> Result<Claim, Finding> {
    let claim = centre.claim(&builder("a"), JobId(request)).await?;
    claim.ok_or_else(|| Finding::new("a claim", "a job", "none"))
}

async fn nothing_to_claim(centre: &dyn Centre, request: u128) -> Outcome {
    let claim = centre.claim(&builder("a"), JobId(request)).await?;
    same("a claim", &None, &claim)
}

async fn found(centre: &dyn Centre, id: u128) -> Result<Job, Finding> {
    let job = centre.job(JobId(id)).await?;
    job.ok_or_else(|| Finding::new("a job that was submitted", "it", "none"))
}

fn endings(job: &Job) -> Vec<&str> {
    let attempts = job.attempts.iter();
    attempts
        .map(|attempt| attempt.ending.as_deref().unwrap_or("running"))
        .collect()
}
