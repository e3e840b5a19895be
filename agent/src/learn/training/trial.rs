//! A model that the fleet has released, tried on this device: judged on its records, as a candidate of its own
//! making is.

use std::{fs::File, io::Read};

use dunlin_models::{
    artifact::Artifact,
    data::{Lineage, Source},
    recipe::{Model, Recipe, TrainError},
    registry::{ARTIFACT_BYTES_MAX, NewVersion, Version},
};
use dunlin_sync::centre::blobs::BlobHash;

use crate::{
    config::settings::RecipeRule,
    learn::{
        Shared,
        released::Candidate,
        scheduler::task::Task as Job,
        training::{data_set::data_set, governor::Governor, judge::judge},
    },
};

/// What a trial is made with.
pub(super) struct Trial<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rule: &'a RecipeRule,
    pub(super) recipe: &'a dyn Recipe,
}

impl Trial<'_> {
    /// The version that the candidate of `task` becomes beside the `incumbent`, with what the gate says.
    pub(super) fn run(
        &self,
        task: &mut Job,
        host: Governor,
        incumbent: Option<&dyn Model>,
    ) -> Result<Version, TrainError> {
        let models = &self.shared.models;
        let candidate = self.shared.released.of_task(&task.key, task.seed);
        let candidate = candidate.ok_or_else(|| failed(&"another release has taken its place"))?;
        let serves = models.current_among(&task.key, &self.rule.available_status);
        let serves = serves.map_err(|error| failed(&error))?;
        // A release of what serves already changes nothing.
        if let Some(serves) = serves.filter(|serves| serves.sha256 == candidate.sha256)
            && serves.decision.is_some()
        {
            return Ok(serves);
        }
        let artifact = read(&candidate)?;
        let model = self
            .recipe
            .load(&artifact)
            .map_err(|error| failed(&error))?;
        let data = data_set(self.shared, self.rule, task, None)?;
        task.query.clone_from(&data.lineage().query);
        let (theirs, ours) = (&artifact.features, &data.columns().features);
        if theirs != ours {
            let what = format!("it is for the fields {theirs:?}, and these are {ours:?}");
            return Err(failed(&what));
        }
        let judged = judge(self.recipe, &self.rule.gate, &data, (&*model, incumbent))?;
        // Whoever was given up while judging must not come back with a version.
        host.check()?;
        drop(host);
        let new = NewVersion {
            parent: None,
            created_ns: (self.shared.wall_ns)(),
            seed: task.seed,
            lineage: lineage(&candidate, data.lineage(), judged.decision.promoted),
            evaluations: judged.evaluations,
            decision: Some(judged.decision),
            status: self.shared.settings.status.rejected.clone(),
        };
        let added = models.add(&task.key, &artifact, new);
        added.map_err(|error| failed(&error))
    }
}

/// It was trained elsewhere. What it was judged on here is what its inputs are compared with, and where
/// fine-tuning goes on, if it serves; one that was refused has kept nobody from learning from these records.
fn lineage(candidate: &Candidate, judged_on: &Lineage, serves: bool) -> Lineage {
    let query = format!(
        "released as {} ({}); judged on {}",
        candidate.serial, candidate.sha256, judged_on.query
    );
    let lineage = if serves {
        judged_on.clone()
    } else {
        Lineage::default()
    };
    Lineage {
        query,
        rows: 0,
        ..lineage
    }
}

fn read(candidate: &Candidate) -> Result<Artifact, TrainError> {
    let path = candidate.file.display();
    let disk = |error: std::io::Error| failed(&format!("{path}: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(&candidate.file).map_err(disk)?;
    let read = file.take(ARTIFACT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(disk)?;
    if BlobHash::of(&bytes).to_string() != candidate.sha256 {
        return Err(failed(&format!("{path} is not what was released")));
    }
    Artifact::from_bytes(&bytes).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Recipe(error.to_string())
}
