//! The builder: pulls jobs from a centre, one at a time, and does them.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dunlin_models::registry::ARTIFACT_BYTES_MAX;
use dunlin_sync::{
    backoff::Backoff,
    centre::{
        Builder, Centre, CentreError, WAIT_MAX,
        blobs::{self, BlobHash},
        job::{Claim, Ended, Held, JobId, Outcome, Progress},
    },
    lock::unpoisoned,
};
use tokio::{sync::watch, time::sleep};

use super::{
    checkpoint::{self, HEADER_BYTES_MAX, Ranges},
    data::{self, Wanted},
    document::{TRAIN, TrainJob, Trained, mine::MINE},
    error::JobError,
    host::Attempt,
    mine,
    train::{self, Training},
};

/// Between two tries of what the centre did not answer.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// A lease is renewed so many times before it is over.
const RENEWALS_A_LEASE: u32 = 3;
/// Longest checkpoint, bytes: weights and two moments of each.
const CHECKPOINT_BYTES_MAX: u64 = 4 * ARTIFACT_BYTES_MAX + HEADER_BYTES_MAX;

/// How a builder works.
#[derive(Clone, Debug)]
pub(crate) struct BuilderOptions {
    /// Its name and labels.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// A directory of its own.
    pub(crate) work_dir: PathBuf,
    /// Most disk that the records of a job take, bytes.
    pub(crate) bytes_max: u64,
    /// Ends when there is nothing to do.
    pub(crate) is_once: bool,
}

/// What a builder has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// Claims that somebody else has now.
    pub(crate) lost: u64,
}

/// Takes the work directory, and removes what killed attempts have left there. Ours as long as the file lives.
///
/// # Errors
/// A text for people, if it cannot be used or somebody else works in it.
pub(crate) fn take_work_dir(dir: &Path) -> Result<File, String> {
    let shown = dir.display();
    let told = |error: std::io::Error| format!("{shown}: {error}");
    std::fs::create_dir_all(dir).map_err(told)?;
    let lock = File::create(dir.join("lock")).map_err(told)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            format!("another builder works in {shown}; give each a directory of its own")
        }
        TryLockError::Error(error) => told(error),
    })?;
    for entry in std::fs::read_dir(dir).map_err(told)?.flatten() {
        let name = entry.file_name();
        let job = name.to_str().and_then(|name| name.split_once('-'));
        if job.is_some_and(|(job, _)| job.parse::<JobId>().is_ok()) {
            // The disk says what is the matter once there is no room.
            let _left = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(lock)
}

/// Pulls jobs until `stop`, or with [`BuilderOptions::is_once`] until there are none. What is under way then is
/// given back.
///
/// # Errors
/// [`CentreError::Refused`] if the centre will not have us.
pub(crate) async fn run(
    centre: &Arc<dyn Centre>,
    options: &BuilderOptions,
    mut stop: watch::Receiver<bool>,
) -> Result<Tally, CentreError> {
    let builder = Builder {
        name: options.name.clone(),
        kinds: vec![TRAIN.into(), MINE.into()],
        labels: options.labels.clone(),
    };
    let (mut tally, mut backoff) = (Tally::default(), backoff());
    // Asked again after a lost answer, so that a claim is not left to run out.
    let mut request = JobId(rand::random());
    while !*stop.borrow() {
        match centre.claim(&builder, request).await {
            Ok(Some(claim)) => {
                backoff.reset();
                request = JobId(rand::random());
                work(centre, options, claim, &mut stop, &mut tally).await;
            }
            Ok(None) => {
                backoff.reset();
                request = JobId(rand::random());
                if options.is_once {
                    return Ok(tally);
                }
                let waited = tokio::select! {
                    waited = centre.wait_for_jobs(WAIT_MAX) => waited,
                    _ = stop.wait_for(|stop| *stop) => return Ok(tally),
                };
                if let Err(error) = waited {
                    tracing::warn!(%error, "waiting for jobs");
                    pause(&mut backoff, &mut stop).await;
                }
            }
            Err(error @ CentreError::Refused(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "asking for a job");
                pause(&mut backoff, &mut stop).await;
            }
        }
    }
    Ok(tally)
}

fn backoff() -> Backoff {
    Backoff::new(BACKOFF_MIN, BACKOFF_MAX, rand::random())
}

async fn pause(backoff: &mut Backoff, stop: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = sleep(backoff.after_failure()) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Does one job, and says what became of it.
async fn work(
    centre: &Arc<dyn Centre>,
    options: &BuilderOptions,
    claim: Claim,
    stop: &mut watch::Receiver<bool>,
    tally: &mut Tally,
) {
    let (job, attempt) = (claim.job.id, claim.attempt);
    tracing::info!(%job, attempt, "begun");
    let dir = options.work_dir.join(format!("{job}-{attempt}"));
    let ours = Arc::new(Attempt::default());
    let (result, checkpoint) = {
        let doing = attempt_at(&**centre, options, &claim, &dir, &ours);
        tokio::pin!(doing);
        let mut renewing = Renewing::new(&**centre, &claim, &dir, &ours);
        loop {
            tokio::select! {
                result = &mut doing => {
                    // How far it came; and what another goes on from.
                    renewing.renew().await;
                    break (result, renewing.checkpoint);
                }
                () = sleep(renewing.every) => renewing.renew().await,
                _ = stop.wait_for(|stop| *stop), if !ours.is_over.load(Relaxed) => {
                    ours.is_over.store(true, Relaxed);
                }
            }
        }
    };
    // What is left of it the next start removes.
    let _left = std::fs::remove_dir_all(&dir);
    let outcome = match result {
        Ok(result) => Outcome::Done { result },
        Err(error) => error.outcome(),
    };
    let why = outcome.reason();
    match end(&**centre, &claim, &outcome).await {
        Some(Ended::Accepted) => match (&outcome, why) {
            (Outcome::Done { .. }, _) => {
                tally.done += 1;
                tracing::info!(%job, attempt, "done");
                if let Some(checkpoint) = checkpoint {
                    // Nobody goes on from it any more; one that stays costs room, no more.
                    let _left = centre.remove_blob(checkpoint).await;
                }
            }
            (Outcome::Failed { .. }, reason) => {
                tally.failed += 1;
                tracing::warn!(%job, attempt, reason, "failed");
            }
            (Outcome::Returned, _) => tracing::info!(%job, attempt, "given back"),
        },
        Some(Ended::Lost) | None => {
            tally.lost += 1;
            tracing::warn!(%job, attempt, "lost: it took too long, was cancelled, or the centre was away");
        }
    }
}

/// Ends the attempt, as long as its lease may hold; `None` if the centre has not answered.
async fn end(centre: &dyn Centre, claim: &Claim, outcome: &Outcome) -> Option<Ended> {
    let mut backoff = backoff();
    let mut left = Duration::from_millis(claim.lease_ms);
    loop {
        match centre.finish(claim.job.id, claim.attempt, outcome).await {
            Ok(ended) => return Some(ended),
            Err(error) => {
                tracing::warn!(job = %claim.job.id, %error, "telling the outcome");
                if matches!(error, CentreError::Refused(_)) || left.is_zero() {
                    return None;
                }
            }
        }
        let wait = backoff.after_failure().min(left);
        sleep(wait).await;
        left -= wait;
    }
}

/// Keeps the claim while the work goes on.
struct Renewing<'a> {
    centre: &'a dyn Centre,
    claim: &'a Claim,
    dir: &'a Path,
    attempt: &'a Attempt,
    checkpoint: Option<BlobHash>,
    every: Duration,
}

impl<'a> Renewing<'a> {
    fn new(centre: &'a dyn Centre, claim: &'a Claim, dir: &'a Path, attempt: &'a Attempt) -> Self {
        Self {
            centre,
            claim,
            dir,
            attempt,
            checkpoint: claim.resume.and_then(|progress| progress.checkpoint),
            every: Duration::from_millis(claim.lease_ms) / RENEWALS_A_LEASE,
        }
    }

    /// Tells how far the work is. Where the centre does not answer it goes on: whether the claim still holds, the
    /// end of it will show.
    async fn renew(&mut self) {
        let job = self.claim.job.id;
        let before = self.checkpoint;
        if let Err(error) = self.put_checkpoint().await {
            tracing::warn!(%job, ?error, "keeping a checkpoint");
        }
        let progress = Progress {
            steps: self.attempt.steps.load(Relaxed),
            checkpoint: self.checkpoint,
        };
        match self.centre.renew(job, self.claim.attempt, &progress).await {
            Ok(Held::Yes) => {
                // Nobody else goes on from it now.
                if let Some(before) = before.filter(|before| Some(*before) != self.checkpoint) {
                    let _left = self.centre.remove_blob(before).await;
                }
            }
            Ok(Held::Lost) => self.attempt.is_over.store(true, Relaxed),
            Err(error) => tracing::warn!(%job, %error, "renewing the claim"),
        }
    }

    async fn put_checkpoint(&mut self) -> Result<(), JobError> {
        let Some(bytes) = unpoisoned(self.attempt.checkpoint.lock()).take() else {
            return Ok(());
        };
        let path = self.dir.join("checkpoint");
        let none = Ranges::new();
        let records = self.attempt.records.get().unwrap_or(&none);
        let whole = checkpoint::to_bytes(records, &bytes).map_err(JobError::Here)?;
        let put = match std::fs::write(&path, &whole) {
            Ok(()) => blobs::put(self.centre, &path, None)
                .await
                .map_err(JobError::from),
            Err(error) => Err(JobError::here(&error)),
        };
        match put {
            Ok(hash) => self.checkpoint = Some(hash),
            Err(error) => {
                self.attempt.take_back(bytes);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The job's result.
async fn attempt_at(
    centre: &dyn Centre,
    options: &BuilderOptions,
    claim: &Claim,
    dir: &Path,
    attempt: &Arc<Attempt>,
) -> Result<Vec<u8>, JobError> {
    std::fs::create_dir_all(dir)
        .map_err(|error| JobError::Here(format!("{}: {error}", dir.display())))?;
    match &*claim.job.kind {
        MINE => mine::mine(centre, options.bytes_max, claim, dir, attempt).await,
        _ => train_at(centre, options, claim, dir, attempt).await,
    }
}

/// The result of a training.
async fn train_at(
    centre: &dyn Centre,
    options: &BuilderOptions,
    claim: &Claim,
    dir: &Path,
    attempt: &Arc<Attempt>,
) -> Result<Vec<u8>, JobError> {
    let job = TrainJob::read(&claim.job.document).map_err(JobError::Last)?;
    let rule = job.rule().map_err(JobError::Last)?;
    let parent = match &job.parent {
        Some(hash) => Some(
            blob(
                centre,
                hash.parse()
                    .map_err(|error: CentreError| JobError::last(&error))?,
                &dir.join("parent"),
                ARTIFACT_BYTES_MAX,
            )
            .await?,
        ),
        None => None,
    };
    let resume = match claim.resume.and_then(|progress| progress.checkpoint) {
        // Whoever goes on has all that went before, or begins anew.
        Some(hash) => blob(centre, hash, &dir.join("resume"), CHECKPOINT_BYTES_MAX)
            .await
            .and_then(|bytes| checkpoint::read(&bytes).map_err(JobError::Here))
            .inspect_err(|error| {
                tracing::warn!(job = %claim.job.id, ?error, "begun anew without the checkpoint");
            })
            .ok(),
        None => None,
    };
    let (again, resume) = resume.unzip();
    if let Some(Progress { steps, .. }) = claim.resume {
        attempt.steps.store(steps, Relaxed);
    }
    let wanted = Wanted {
        rule: &rule,
        streams: &job.streams,
        to_ts: job.to_ts,
        again: again.as_ref(),
        bytes_max: options.bytes_max,
    };
    let (buffer, records) = data::fetch(centre, &wanted, &dir.join("records"), attempt).await?;
    // Set once: an attempt has one data set.
    let _first = attempt.records.set(records);
    let name = rule.name.clone();
    let training = Training {
        rule,
        buffer,
        streams: job.streams,
        to_ts: job.to_ts,
        seed: job.seed,
        parent,
        resume,
    };
    let trainer = Arc::clone(attempt);
    let trained = tokio::task::spawn_blocking(move || train::train(training, &trainer)).await;
    let version = trained.map_err(|error| JobError::here(&error))??;
    let path = dir.join("model");
    std::fs::write(&path, &version.model).map_err(|error| JobError::here(&error))?;
    let model = blobs::put(centre, &path, None).await?;
    let result = Trained {
        format: Trained::FORMAT,
        recipe: name,
        model: model.to_string(),
        model_bytes: version.model.len() as u64,
        lineage: version.lineage,
        evaluations: version.evaluations,
        decision: version.decision,
        steps: attempt.steps.load(Relaxed),
        seconds: version.took.as_secs_f64(),
    };
    serde_json::to_vec(&result).map_err(|error| JobError::last(&error))
}

/// A blob of the centre's, by way of a file.
async fn blob(
    centre: &dyn Centre,
    hash: BlobHash,
    path: &Path,
    bytes_max: u64,
) -> Result<Vec<u8>, JobError> {
    blobs::fetch(centre, hash, path, bytes_max, None).await?;
    std::fs::read(path).map_err(|error| JobError::here(&error))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
