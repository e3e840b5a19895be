//! Where each predictor goes on after a restart.
//!
//! Promises: behind its last durable prediction, which tells by its source time which record it
//! answers; so none is skipped and none answered twice.

use std::collections::HashMap;

use dunlin_models::registry::{ModelKey, Version};
use dunlin_sync::{block::Block, buffer::BufferShape, sample::Catalog};

use crate::learn::{
    Shared,
    inference::{reader::count_missed, snapshot::PredictorSnapshot, state::InferenceState},
    tables::{PREDICTIONS, own_stream},
};

/// Newest blocks searched for the last predictions before a restart.
const BLOCKS_MAX: u64 = 2_048;

/// What is known from before the agent started, until each predictor has gone on from it.
pub(super) struct Resume {
    /// Last source time of each prediction stream, nanoseconds UTC.
    predicted_to: HashMap<String, i64>,
    snapshots: HashMap<ModelKey, PredictorSnapshot>,
    /// How far back predictions were looked for, nanoseconds UTC.
    searched_from: i64,
    /// The registry has not been looked at since the start: a version that serves may have been
    /// promoted before it.
    is_starting: bool,
}

impl Resume {
    /// Finds the last predictions in a buffer of this `shape`, and takes over what was stored.
    pub(super) fn find(
        shared: &Shared,
        shape: &BufferShape,
        stored: Option<InferenceState>,
    ) -> Self {
        let mut resume = Self {
            predicted_to: HashMap::new(),
            snapshots: HashMap::new(),
            searched_from: i64::MAX,
            is_starting: true,
        };
        if let Some(state) = stored.filter(|state| !state.predictors.is_empty()) {
            let oldest_row = shared.buffer.rows_before(shape.oldest_seq);
            count_missed(&shared.stats, state.rows, oldest_row);
            let snapshots = state.predictors.into_iter();
            resume.snapshots = snapshots
                .map(|snapshot| (snapshot.key.clone(), snapshot))
                .collect();
        }
        resume.search(shared, shape);
        resume
    }

    /// Looks for predictions, from the newest block backwards.
    fn search(&mut self, shared: &Shared, shape: &BufferShape) {
        let (buffer, catalog) = (&shared.buffer, shared.buffer.catalog());
        let mut seq = shape.next_seq;
        for _ in 0..BLOCKS_MAX {
            if seq <= shape.oldest_seq {
                self.searched_from = i64::MIN;
                break;
            }
            seq = buffer.previous_stored(seq);
            if let Ok(Some(block)) = buffer.read_block(seq) {
                self.searched_from = block.first_ts;
                self.note_block(&block, &catalog);
            }
        }
    }

    fn note_block(&mut self, block: &Block, catalog: &Catalog) {
        for run in block.runs() {
            let own = catalog.resolve(run.stream);
            let own = own.filter(|(_, schema)| schema.name == PREDICTIONS);
            let Some((stream, _)) = own.filter(|(stream, _)| catalog.is_here(stream)) else {
                continue;
            };
            let times = &run.section.rows.source_ts[run.rows];
            // The newest one comes first: of a grid, times may have gone back since others.
            if let Some(last) = times.iter().flatten().next_back() {
                self.note(stream.plain_name(), *last);
            }
        }
    }

    /// Notes a prediction in the stream `name`, for the record at `ts`, nanoseconds UTC; that of a newer one
    /// is noted before.
    pub(super) fn note(&mut self, name: &str, ts: i64) {
        self.predicted_to.entry(name.to_owned()).or_insert(ts);
    }

    /// What the predictor of `key` had taken along.
    pub(super) fn snapshot(&self, key: &ModelKey) -> Option<&PredictorSnapshot> {
        self.snapshots.get(key)
    }

    /// Behind which record a new predictor of `key` begins to answer, nanoseconds UTC, if everybody else
    /// has read up to `read_to`.
    pub(super) fn start_of(&self, key: &ModelKey, version: &Version, read_to: i64) -> i64 {
        let predicted_to = self.predicted_to.get(&own_stream(PREDICTIONS, key));
        let stored = self.snapshots.get(key).map(|snapshot| snapshot.answered_to);
        match predicted_to.copied().max(stored) {
            Some(answered_to) => answered_to,
            // The gate let it serve just before the agent ended, and it has answered nothing since.
            None if self.is_starting
                && version.decision.as_ref().is_some_and(|gate| gate.promoted)
                && version.created_ns >= self.searched_from =>
            {
                version.created_ns.min(read_to)
            }
            None => read_to,
        }
    }

    /// Lets go of what was known for `key`: its predictor has gone on.
    pub(super) fn release(&mut self, key: &ModelKey) {
        self.predicted_to.remove(&own_stream(PREDICTIONS, key));
        self.snapshots.remove(key);
    }

    /// Notes that the registry has been looked at: what comes to serve from now on was promoted since.
    pub(super) fn note_started(&mut self) {
        self.is_starting = false;
    }
}
