//! Which models a mining looks at: found once, when it is submitted.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_models::judging::evaluation::Evaluation;
use dunlin_sync::centre::{
    Centre, CentreError,
    job::{Job, JobId, JobQuery, JobState},
};

use super::document::{
    TRAIN, TrainJob, Trained,
    mine::{Candidate, Learnt},
};
use crate::{config::settings::RecipeRule, recipes::ChosenRecipe};

/// Trainings that are looked through, the newest first.
pub(crate) const LOOKED_THROUGH_MAX: usize = 1_000;
/// Models that one was started from, one after the other, which are followed.
const ANCESTORS_MAX: usize = 100;

/// Which ones.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Those with the least error when they were trained.
    Best(usize),
    /// What these jobs have made.
    Of(Vec<JobId>),
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// The centre's part.
    #[error(transparent)]
    Centre(#[from] CentreError),
    /// What is asked for is not there, in words for people.
    #[error("{0}")]
    Asked(String),
}

/// A training that is done.
struct Training {
    job: JobId,
    train: TrainJob,
    trained: Trained,
}

/// Trainings by the model they have made.
type Trainings = BTreeMap<String, Training>;

/// The candidates for models as `train` makes them, each model once.
///
/// # Errors
/// [`FindError`]
pub(crate) async fn find(
    centre: &dyn Centre,
    train: &TrainJob,
    wanted: &Wanted,
) -> Result<Vec<Candidate>, FindError> {
    let query = JobQuery {
        state: Some(JobState::Done),
        kind: Some(TRAIN.into()),
        most: LOOKED_THROUGH_MAX,
    };
    let mut trainings = Trainings::new();
    for job in centre.jobs(&query).await? {
        let job = centre.job(job.id).await?;
        // What nobody can read any more is no candidate.
        if let Some(training) = job.and_then(|job| training(&job).ok()) {
            trainings.insert(training.trained.model.clone(), training);
        }
    }
    let models = match wanted {
        Wanted::Best(count) => best(&trainings, train, *count)?,
        Wanted::Of(jobs) => {
            let mut models = Vec::new();
            for id in jobs {
                let job = centre.job(*id).await?;
                let job = job.ok_or_else(|| FindError::Asked(format!("there is no job {id}")))?;
                let training = training(&job)?;
                models.push(training.trained.model.clone());
                trainings.insert(training.trained.model.clone(), training);
            }
            models
        }
    };
    let mut found = BTreeSet::new();
    let models = models.iter().filter(|model| found.insert(*model));
    let candidates = models.filter_map(|model| {
        Some(Candidate {
            job: trainings.get(model)?.job.to_string(),
            model: model.clone(),
            learnt: learnt(&trainings, model),
        })
    });
    Ok(candidates.collect())
}

/// What `job` has asked for and made.
fn training(job: &Job) -> Result<Training, FindError> {
    let id = job.id;
    if job.kind != TRAIN {
        let what = format!(
            "{id} is of kind {:?}; those of kind {TRAIN:?} make candidates",
            job.kind
        );
        return Err(FindError::Asked(what));
    }
    let Some(result) = &job.result else {
        let what = format!("{id} is {}, and has made no model", job.state.as_str());
        return Err(FindError::Asked(what));
    };
    let asked = |error| FindError::Asked(format!("{id}: {error}"));
    Ok(Training {
        job: id,
        train: TrainJob::read(&job.document).map_err(asked)?,
        trained: Trained::read(result).map_err(asked)?,
    })
}

/// The models of the line with the least errors, at most `count`.
fn best(trainings: &Trainings, train: &TrainJob, count: usize) -> Result<Vec<String>, FindError> {
    let ours = train.rule().map_err(FindError::Asked)?;
    let of_line = trainings.values().filter_map(|training| {
        let evaluation = training.trained.evaluations.candidate.as_ref();
        let error = evaluation.map(Evaluation::error);
        let error = error.filter(|error| error.is_finite())?;
        let is_ours = training.trained.recipe == ours.name
            && training
                .train
                .rule()
                .is_ok_and(|theirs| are_alike(&ours, &theirs));
        is_ours.then_some((error, &training.trained.model))
    });
    let mut of_line: Vec<(f64, &String)> = of_line.collect();
    if of_line.is_empty() {
        let what = format!(
            "none of the last {LOOKED_THROUGH_MAX} trainings that are done is of a recipe {:?} with the same \
             algorithm, features, label and windows",
            ours.name
        );
        return Err(FindError::Asked(what));
    }
    of_line.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(other.1)));
    let models = of_line.into_iter().map(|(_, model)| model.clone());
    Ok(models.take(count).collect())
}

/// Whether a model of the one can answer for the other.
fn are_alike(ours: &RecipeRule, theirs: &RecipeRule) -> bool {
    let algorithm = |rule: &RecipeRule| match &rule.recipe {
        ChosenRecipe::BuiltIn(settings) => Some(settings.algorithm),
        ChosenRecipe::Own(_) => None,
    };
    algorithm(ours).is_some()
        && algorithm(ours) == algorithm(theirs)
        && ours.features == theirs.features
        && ours.label == theirs.label
        && ours.recipe.shape() == theirs.recipe.shape()
}

/// Where `model`, and those that it was started from, have taken records from.
fn learnt(trainings: &Trainings, model: &str) -> Vec<Learnt> {
    let mut learnt = Vec::new();
    let mut next = Some(model);
    while let Some(model) = next {
        let known = trainings.get(model);
        let Some(training) = known.filter(|_| learnt.len() < ANCESTORS_MAX) else {
            // Brought along from elsewhere, or made too long ago.
            learnt.push(Learnt::anything());
            break;
        };
        learnt.push(Learnt {
            streams: training.train.streams.clone(),
            first_ts: training.trained.lineage.first_ts,
            last_ts: training.trained.lineage.last_ts,
        });
        next = training.train.parent.as_deref();
    }
    learnt
}
