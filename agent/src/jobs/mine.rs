//! The mining of a job: every candidate judged on the same windows, one at a time.

use std::{
    cmp::Ordering,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use dunlin_models::{
    artifact::Artifact,
    data::{Columns, DataError, Lineage, Rows, Source},
    judging::evaluation::Evaluation,
    recipe::{Model, Problem, Recipe},
    registry::ARTIFACT_BYTES_MAX,
};
use dunlin_sync::{
    buffer::Buffer,
    centre::{
        Centre, CentreError,
        blobs::{self, BlobError, BlobHash},
        job::{Claim, Held, Progress},
    },
};

use super::{
    data::{self, Wanted},
    document::{
        TRAIN, TrainJob,
        mine::{Candidate, Continued, Figures, MineJob, Mined, Standing, Then, continuation_of},
    },
    error::JobError,
    host::Attempt,
};
use crate::{
    cohort::Cohort,
    config::settings::RecipeRule,
    learn::{Judge, guarded},
};

/// Longest reason of a candidate, bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// Judges the candidates of a job and, if it says so, puts the training of the best one in line.
///
/// # Errors
/// [`JobError`]
pub(super) async fn mine(
    centre: &dyn Centre,
    bytes_max: u64,
    claim: &Claim,
    dir: &Path,
    attempt: &Arc<Attempt>,
) -> Result<Vec<u8>, JobError> {
    let begun = Instant::now();
    let job = MineJob::read(&claim.job.document).map_err(JobError::Last)?;
    let rule = job.train.rule().map_err(JobError::Last)?;
    let wanted = Wanted {
        rule: &rule,
        streams: &job.train.streams,
        to_ts: job.train.to_ts,
        again: None,
        bytes_max,
    };
    let (buffer, _) = data::fetch(centre, &wanted, &dir.join("records"), attempt).await?;
    let (recipe, train) = (rule.name.clone(), job.train.clone());
    let watched = Arc::clone(attempt);
    let bench = blocking(move || Bench::new(&buffer, &rule, &train, watched)).await?;
    let bench = Arc::new(bench);
    let mut leaderboard = Vec::new();
    for candidate in job.candidates {
        attempt.go_on()?;
        leaderboard.push(
            bench
                .try_out(centre, candidate, &dir.join("candidate"))
                .await?,
        );
    }
    leaderboard.sort_by(|one, other| by_rank(one, other, bench.baseline.error()));
    let (model, model_bytes) = best(&leaderboard)?;
    attempt.go_on()?;
    let continued = match job.then {
        Some(then) => {
            still_ours(centre, claim, attempt).await?;
            Some(go_on(centre, claim, job.train, then, &model).await?)
        }
        None => None,
    };
    let result = Mined {
        format: Mined::FORMAT,
        recipe,
        lineage: bench.data.lineage().clone(),
        windows: bench.baseline.windows,
        baseline_error: bench.baseline.error(),
        leaderboard,
        model,
        model_bytes,
        continued,
        seconds: begun.elapsed().as_secs_f64(),
    };
    serde_json::to_vec(&result).map_err(|error| JobError::last(&error))
}

/// Does what takes long on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    let done = tokio::task::spawn_blocking(move || {
        guarded(work)
            .unwrap_or_else(|panic| Err(JobError::last(&format!("the recipe panicked: {panic}"))))
    });
    done.await.map_err(|error| JobError::here(&error))?
}

/// What all are judged on.
struct Bench {
    recipe: Arc<dyn Recipe>,
    data: Watched,
    /// Streams with rows in it.
    streams: Vec<String>,
    judge: Judge,
    baseline: Evaluation,
}

/// The records of the job, as long as anybody waits for it: each chunk that is read is a step.
struct Watched {
    cohort: Cohort,
    attempt: Arc<Attempt>,
}

impl Watched {
    /// Why a chunk was not read.
    fn unread(&self, error: &DataError) -> JobError {
        self.attempt
            .go_on()
            .err()
            .unwrap_or_else(|| JobError::here(error))
    }
}

impl Source for Watched {
    fn columns(&self) -> &Columns {
        self.cohort.columns()
    }

    fn chunks(&self) -> usize {
        self.cohort.chunks()
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        self.attempt
            .go_on()
            .map_err(|_| DataError("nobody waits for it any more".into()))?;
        self.cohort.read(index)
    }

    fn lineage(&self) -> &Lineage {
        self.cohort.lineage()
    }
}

/// What a candidate has come to, or why it has come to nothing: the rest go on without it.
type Tried<T> = Result<T, String>;

impl Bench {
    fn new(
        buffer: &Arc<Buffer>,
        rule: &RecipeRule,
        train: &TrainJob,
        attempt: Arc<Attempt>,
    ) -> Result<Self, JobError> {
        let recipe = rule.recipe.build();
        let recipe = recipe.map_err(|error| JobError::last(&error))?;
        let cohort = data::resolve(buffer, rule, &train.streams, train.to_ts)?;
        let data = Watched { cohort, attempt };
        let unread = |error| data.unread(&error);
        let judge = Judge::new(&*recipe, &data).map_err(unread)?;
        let baseline = judge.baseline(&data).map_err(unread)?;
        if baseline.windows == 0 || !baseline.error().is_finite() {
            let what = format!(
                "there is nothing to judge by: no window of {} ends in a record that is kept for judging",
                data.lineage().query
            );
            return Err(JobError::Last(what));
        }
        let streams = data.cohort.streams().into_iter();
        let streams = streams.filter(|stream| stream.rows > 0);
        Ok(Self {
            streams: streams.map(|stream| stream.stream).collect(),
            recipe,
            data,
            judge,
            baseline,
        })
    }

    /// How `candidate` does; its model is brought to `path`, and does not stay.
    async fn try_out(
        self: &Arc<Self>,
        centre: &dyn Centre,
        candidate: Candidate,
        path: &Path,
    ) -> Result<Standing, JobError> {
        let figures = match fetched(centre, &candidate.model, path).await? {
            Ok(bytes) => {
                let bench = Arc::clone(self);
                blocking(move || bench.figures(&bytes)).await?
            }
            Err(reason) => Err(reason),
        };
        let lineage = self.data.lineage();
        let seen = candidate.has_seen(&self.streams, lineage.first_ts, lineage.last_ts);
        let (figures, reason) = match figures {
            Ok(figures) => (Some(figures), None),
            Err(mut reason) => {
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                (None, Some(reason))
            }
        };
        Ok(Standing {
            model: candidate.model,
            job: candidate.job,
            seen,
            figures,
            reason,
        })
    }

    /// The figures of the model in `bytes`.
    ///
    /// # Errors
    /// [`JobError`] if the records cannot be read.
    fn figures(&self, bytes: &[u8]) -> Result<Tried<Figures>, JobError> {
        let judged = guarded(|| {
            let model = self.model(bytes)?;
            Ok(self.judge.figures_by_stream(&*model, &self.data))
        });
        let (all, streams) = match judged {
            Ok(Ok(judged)) => judged.map_err(|error| self.data.unread(&error))?,
            Ok(Err(reason)) => return Ok(Err(reason)),
            Err(panic) => return Ok(Err(format!("it panicked: {panic}"))),
        };
        let (answered, windows) = (all.windows, self.baseline.windows);
        if answered != windows {
            return Ok(Err(format!("it answers {answered} of {windows} windows")));
        }
        if !all.error().is_finite() {
            return Ok(Err("its error is no number".into()));
        }
        let errors = streams
            .iter()
            .map(|(name, figures)| (name, figures.error()));
        let worst = errors
            .clone()
            .max_by(|one, other| one.1.total_cmp(&other.1));
        Ok(Ok(Figures {
            model_bytes: bytes.len() as u64,
            error: all.error(),
            streams: streams.len() as u64,
            least: errors.map(|(_, error)| error).fold(f64::INFINITY, f64::min),
            most: worst.map_or(f64::INFINITY, |(_, error)| error),
            worst: worst.map(|(name, _)| name.to_string()).unwrap_or_default(),
        }))
    }

    /// The model in `bytes`, if it is for this data.
    fn model(&self, bytes: &[u8]) -> Tried<Box<dyn Model>> {
        let artifact = Artifact::from_bytes(bytes).map_err(|error| error.to_string())?;
        let ours = self.data.columns();
        let theirs = &artifact.features;
        if *theirs != ours.features {
            let ours = &ours.features;
            return Err(format!(
                "it is for the fields {theirs:?}, and these are {ours:?}"
            ));
        }
        let theirs = artifact.classes();
        if self.recipe.problem() == Problem::Classify && theirs != ours.classes {
            let ours = &ours.classes;
            return Err(format!(
                "it knows the classes {theirs:?}, and these are {ours:?}"
            ));
        }
        self.recipe
            .load(&artifact)
            .map_err(|error| error.to_string())
    }
}

/// A model of the centre's, by way of a file that does not stay.
async fn fetched(
    centre: &dyn Centre,
    model: &str,
    path: &Path,
) -> Result<Tried<Vec<u8>>, JobError> {
    let hash: Result<BlobHash, CentreError> = model.parse();
    let fetched = match hash {
        Ok(hash) => blobs::fetch(centre, hash, path, ARTIFACT_BYTES_MAX, None).await,
        Err(error) => return Ok(Err(error.to_string())),
    };
    match fetched {
        Ok(()) => {}
        Err(
            error @ (BlobError::Missing(_) | BlobError::Damaged(_) | BlobError::TooLong { .. }),
        ) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    }
    let bytes = std::fs::read(path).map_err(|error| JobError::here(&error))?;
    std::fs::remove_file(path).map_err(|error| JobError::here(&error))?;
    Ok(Ok(bytes))
}

/// The best first: of those that could be judged those that are better than the baseline, of these those that have not
/// seen the rows, with the least error, with the least hash.
fn by_rank(one: &Standing, other: &Standing, baseline: f64) -> Ordering {
    let error = |standing: &Standing| {
        let figures = standing.figures.as_ref();
        figures.map_or(f64::INFINITY, |figures| figures.error)
    };
    let class = |standing: &Standing| {
        let is_poor = error(standing) >= baseline;
        (standing.figures.is_none(), is_poor, standing.seen)
    };
    class(one)
        .cmp(&class(other))
        .then(error(one).total_cmp(&error(other)))
        .then(one.model.cmp(&other.model))
}

/// The first of the leaderboard, and its length.
fn best(leaderboard: &[Standing]) -> Result<(String, u64), JobError> {
    if let Some(best) = leaderboard.first()
        && let Some(figures) = &best.figures
    {
        return Ok((best.model.clone(), figures.model_bytes));
    }
    let reasons = leaderboard.iter().map(|standing| {
        let reason = standing.reason.as_deref().unwrap_or_default();
        format!("{} of job {}: {reason}", standing.model, standing.job)
    });
    let reasons: Vec<String> = reasons.collect();
    let what = format!("no candidate could be judged; {}", reasons.join("; "));
    Err(JobError::Last(what))
}

/// Whoever has lost the job, or whose job was cancelled, puts nothing in line.
async fn still_ours(centre: &dyn Centre, claim: &Claim, attempt: &Attempt) -> Result<(), JobError> {
    let progress = Progress {
        steps: attempt.steps.load(Relaxed),
        checkpoint: None,
    };
    match centre.renew(claim.job.id, claim.attempt, &progress).await? {
        Held::Yes => Ok(()),
        Held::Lost => Err(JobError::Interrupted),
    }
}

/// Puts the training that goes on from `model` in line, unless an attempt before has.
async fn go_on(
    centre: &dyn Centre,
    claim: &Claim,
    mut train: TrainJob,
    then: Then,
    model: &str,
) -> Result<Continued, JobError> {
    let Then::Continue(limits) = then;
    train.parent = Some(model.to_owned());
    let id = continuation_of(claim.job.id);
    let document = train.to_bytes().map_err(JobError::Last)?;
    let job = limits.job(id, TRAIN, document, claim.job.labels.clone());
    centre.submit(&job).await?;
    // Records that have come late may have made another one the best for the attempt that was first.
    let there = centre.job(id).await?;
    let there = there.and_then(|there| TrainJob::read(&there.document).ok());
    let Some(from) = there.and_then(|train| train.parent) else {
        let what = format!("job {id} at the centre is no training that goes on from a model");
        return Err(JobError::Last(what));
    };
    Ok(Continued {
        job: id.to_string(),
        from,
    })
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
