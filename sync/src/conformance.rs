//! What must hold for every [`Upstream`](crate::upstream::Upstream), as a suite that whoever makes one can run;
//! and, with [`centre`] and a [`CentreTarget`], for every [`Centre`](crate::centre::Centre).
//!
//! A [`Target`] says how to come by an empty place and by connections to it, and, if it can, how to read what
//! was stored there in another way than through the upstream. [`upstream`] runs every scenario against it and
//! tells all that fail; none ends the others, not even by a panic or by hanging.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use dunlin_sync::{
//!     conformance::{self, Target},
//!     upstream::{self, Upstream, UpstreamOptions},
//! };
//!
//! /// A SQLite file; a database of your own in its place.
//! #[derive(Default)]
//! struct Files(Option<tempfile::TempDir>);
//!
//! #[async_trait::async_trait]
//! impl Target for Files {
//!     async fn begin(&mut self) -> Result<(), String> {
//!         self.0 = Some(tempfile::tempdir().map_err(|error| error.to_string())?);
//!         Ok(())
//!     }
//!
//!     fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
//!         let dir = self.0.as_ref().ok_or("begun")?.path();
//!         let url = format!("sqlite:{}", dir.join("central.db").display());
//!         let options = UpstreamOptions::new(url, std::time::Duration::from_secs(10));
//!         let upstream = upstream::connect(&options).map_err(|error| error.to_string())?;
//!         Ok(Arc::from(upstream))
//!     }
//!
//!     fn keeps(&self, number: f64) -> bool {
//!         !number.is_nan()
//!     }
//! }
//!
//! // With `#[tokio::test]` in front of it:
//! async fn it_is_an_upstream() {
//!     let report = conformance::upstream(&mut Files::default()).await;
//!     assert!(report.is_passed(), "{report}");
//! }
//! ```
//!
//! Behind the feature `conformance`, for tests: `dunlin-sync = { .., features = ["conformance"] }` under
//! `[dev-dependencies]`.

mod centre;
mod place;
mod records;
mod report;
mod tables;
mod target;
#[cfg(test)]
mod tests;
mod values;
mod writes;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use self::{
    centre::{CentreTarget, centre},
    report::{Failure, Finding, Report},
    target::{Cells, Target},
};
use self::{place::Place, report::Outcome};

/// Longest time for one scenario.
const SCENARIO_MAX: Duration = Duration::from_mins(3);
/// How long before now the rows of a scenario begin.
const ROWS_BEGIN_BEFORE: Duration = Duration::from_hours(1);

type Running<'p> = Pin<Box<dyn Future<Output = Outcome> + Send + 'p>>;
type Scenario = for<'p> fn(&'p Place<'p>) -> Running<'p>;

macro_rules! scenarios {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), |place| Box::pin($module::$name(place)))),*),*]
    };
}

const SCENARIOS: &[(&str, Scenario)] = scenarios! {
    writes:
        describe_makes_nothing
        writing_twice_changes_nothing
        a_batch_half_written_before_is_completed
        many_small_tables_go_in_one_batch
        devices_share_a_schema
        concurrent_writes_in_a_new_place
        count_takes_both_bounds
        close_and_go_on;
    values:
        every_type_comes_back
        numbers_at_the_ends_come_back
        texts_come_back
        hostile_names_survive
        a_row_that_cannot_be_taken_costs_no_other
        timestamps_at_the_ends_are_taken_or_out_of_time
        sparse_rows_keep_what_is_missing
        split_and_source_time_are_kept;
    tables:
        a_new_field_gets_a_column
        a_longer_text_finds_room
        devices_that_differ_find_each_others_columns
        a_conflict_in_one_batch_costs_nothing
        a_wide_record_is_whole_and_counted_once
        tables_dropped_behind_our_back_are_made_again
        tags_that_change_follow;
};

/// Runs every scenario against `target`, one after the other.
pub async fn upstream(target: &mut dyn Target) -> Report {
    some(target, |_| true).await
}

/// The same with those scenarios alone whose names are wanted, to look into one that fails.
pub async fn some(target: &mut dyn Target, is_wanted: impl Fn(&str) -> bool) -> Report {
    let mut report = Report::default();
    let wanted: Vec<_> = SCENARIOS
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .collect();
    for (name, scenario) in wanted {
        match in_a_new_place(target, name, *scenario, &mut report).await {
            Ok(()) => report.passed.push(name),
            Err(finding) => report.failures.push(Failure {
                scenario: name,
                finding,
            }),
        }
    }
    report
}

async fn in_a_new_place(
    target: &mut dyn Target,
    name: &'static str,
    scenario: Scenario,
    report: &mut Report,
) -> Outcome {
    let begun = tokio::time::timeout(SCENARIO_MAX, target.begin()).await;
    match begun {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Finding::new("beginning", "an empty place", error)),
        Err(_) => return Err(overdue("beginning")),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let begins = now.unwrap_or_default().saturating_sub(ROWS_BEGIN_BEFORE);
    let place = Place::new(target, begins.as_nanos() as i64);
    let running = caught(scenario(&place));
    let outcome = tokio::time::timeout(SCENARIO_MAX, running).await;
    let unseen = place.unseen().into_iter();
    report.unseen.extend(unseen.map(|what| (name, what)));
    outcome.unwrap_or_else(|_| Err(overdue("the scenario")))
}

fn overdue(what: &str) -> Finding {
    let expected = format!("an end within {} s", SCENARIO_MAX.as_secs());
    Finding::new(what, expected, "none")
}

/// What a scenario comes to, also where the upstream or the target panics.
async fn caught(mut running: Running<'_>) -> Outcome {
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let finding = Finding::new("the scenario", "no panic", words(&*panic));
            Poll::Ready(Err(finding))
        })
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic")
}
