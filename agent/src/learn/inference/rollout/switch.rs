//! The version that serves on one stream gives way to another.
//!
//! Promises: this happens between two records, so none is skipped and none answered twice; where a
//! version cannot serve, the one before does.

use std::sync::Arc;

use dunlin_models::recipe::Problem;
use dunlin_sync::{
    buffer::{Buffer, Query},
    sample::{StreamId, TimeRange, Timestamp},
};

use crate::{
    grid::GridSpec,
    learn::{
        Shared,
        inference::{
            events,
            predictor::{LiveGrid, Predictor, PredictorSpec, Reference},
            predictors::Predictors,
            reader::Reader,
            resume::Resume,
            rollout::{
                load::{Loaded, Unfit, load, reference},
                target::Target,
                withdraw::withdraw,
            },
            snapshot::PredictorSnapshot,
        },
    },
};

/// Newest blocks searched for a stream's newest records.
const NEWEST_BLOCKS_MAX: u64 = 256;

/// A version that should serve and cannot.
pub(super) struct Unusable {
    pub(super) number: u64,
    /// And what serves instead.
    pub(super) why: String,
}

/// What switching versions works with.
pub(in crate::learn::inference) struct Switch<'a> {
    pub(in crate::learn::inference) shared: &'a Shared,
    pub(in crate::learn::inference) predictors: &'a mut Predictors,
    pub(in crate::learn::inference) reader: &'a mut Reader,
    pub(in crate::learn::inference) resume: &'a mut Resume,
}

impl Switch<'_> {
    /// Lets the version that should serve do so; if it cannot, the one that has taken its place.
    pub(super) fn settle(&mut self, target: &Target<'_>) -> Result<(), Unusable> {
        let (shared, key) = (self.shared, &target.key);
        let among = || {
            let statuses = &target.rule.available_status;
            shared.models.number_among(key, statuses)
        };
        let serves = self.predictors.find(target.stream.id, key);
        let serves = serves.map(|predictor| predictor.version());
        let Some(number) = among() else {
            if let Some(version) = serves {
                self.predictors.remove(target.stream.id, key);
                events::ended(shared, key, version);
            }
            return Ok(());
        };
        if serves == Some(number) {
            return Ok(());
        }
        let Err(unfit) = self.serve(target, number) else {
            return Ok(());
        };
        if let Unfit::Permanent(_) = unfit {
            // What comes of it shows below.
            withdraw(shared, key, number);
        }
        let mut why = unfit.to_string();
        // If it was damaged or is of no use, the version before has taken its place.
        if let Some(before) = among().filter(|before| *before != number) {
            let served = match serves {
                Some(serves) if serves == before => Ok(()),
                _ => self.serve(target, before),
            };
            why = match served {
                Ok(()) => format!("{why}; version {before} serves"),
                Err(too) => format!("{why}; nor can version {before}: {too}"),
            };
        }
        Err(Unusable { number, why })
    }

    /// Lets version `number` serve from the next record on.
    fn serve(&mut self, target: &Target<'_>, number: u64) -> Result<(), Unfit> {
        let (stream, key) = (target.stream.id, &target.key);
        let loaded = load(self.shared, target, number)?;
        let reference = reference(self.shared, target, &loaded).map_err(Unfit::Transient)?;
        self.predictors.expect(stream);
        let serves = self.predictors.find(stream, key);
        let from = match serves {
            Some(predictor) if predictor.spec.fields == loaded.fields => {
                // One that was gone back to is not put on trial again.
                let is_newer = number > predictor.version();
                predictor.swap(loaded.serving, reference, is_newer);
                return Ok(());
            }
            // A version that looks at other fields begins a predictor of its own where the other one ends.
            Some(predictor) => predictor.answered_to(),
            None => {
                // A grid has its own times: the step that is open is answered first.
                let read_to = match &target.rule.grid {
                    None => self.reader.read_to(),
                    Some(_) => newest(&self.shared.buffer, target)
                        .map_or(loaded.version.lineage.last_ts, |newest| newest.measured - 1),
                };
                self.resume.start_of(key, &loaded.version, read_to)
            }
        };
        self.begin(target, loaded, reference, from)
            .map_err(Unfit::Transient)
    }

    /// A new predictor answers what is later than `from`.
    fn begin(
        &mut self,
        target: &Target<'_>,
        loaded: Loaded,
        reference: Reference,
        from: i64,
    ) -> Result<(), String> {
        let (key, version) = (&target.key, loaded.serving.version);
        let spec = PredictorSpec {
            key: key.clone(),
            rule: Arc::clone(target.rule),
            fields: loaded.fields,
            label: target.label(),
            topic: target.topic(),
        };
        let mut predictor = Predictor::new(spec, loaded.serving, reference, from);
        if let Some(snapshot) = self.resume.snapshot(key) {
            restore(self.shared, target, &mut predictor, snapshot.clone());
        }
        let taken_to = match &target.rule.grid {
            None => {
                self.prefill(&mut predictor, target.stream.id)?;
                predictor.seen_to()
            }
            Some(grid) => {
                let came_after_ns = newest(&self.shared.buffer, target);
                let came_after_ns = came_after_ns.map_or(0, |newest| newest.came_after_ns);
                let read_to = self.reader.read_to();
                begin_grid(&mut predictor, grid, target, read_to, came_after_ns)
            }
        };
        if taken_to < self.reader.read_to() {
            self.reader.rewind(&self.shared.buffer, taken_to)?;
        }
        self.resume.release(key);
        self.predictors.put(target.stream.id, predictor);
        tracing::info!(%key, version, "serves");
        Ok(())
    }

    /// The records that the predictor has seen already, as far as a window reaches.
    fn prefill(&self, predictor: &mut Predictor, stream: StreamId) -> Result<(), String> {
        let rows_max = predictor.window_rows().saturating_sub(1);
        let query = Query {
            range: TimeRange {
                from: Timestamp::MIN,
                to: Timestamp(predictor.seen_to()),
            },
            ..Query::last(stream, predictor.spec.fields.clone(), rows_max)
        };
        let matrix = self.shared.buffer.matrix(&query)?;
        for row in (0..matrix.ts.len()).rev() {
            let values: Vec<f32> = matrix.columns.iter().map(|column| column[row]).collect();
            predictor.recall(matrix.ts[row], &values);
        }
        Ok(())
    }
}

/// The predictor answers a grid, made of records from before the rows that it has seen: these fill its
/// window. Behind when those records arrived, nanoseconds UTC, if they came so long after they were
/// measured, or as soon as the newest have come.
fn begin_grid(
    predictor: &mut Predictor,
    grid: &GridSpec,
    target: &Target<'_>,
    read_to: i64,
    came_after_ns: i64,
) -> i64 {
    let rows = predictor.window_rows() as i64 + 1;
    let window_ns = grid.every_ns.saturating_mul(rows);
    let seen_to = predictor.seen_to();
    let arrived = seen_to.saturating_add(came_after_ns.min(0)).min(read_to);
    let taken_to = arrived
        .saturating_sub(window_ns)
        .saturating_sub(grid.memory_ns());
    let (features, label) = (&predictor.spec.fields, predictor.spec.label);
    let is_class = predictor.spec.rule.recipe.problem() == Problem::Classify;
    let times = (taken_to, read_to);
    let label = (label, is_class);
    let grid = LiveGrid::behind(times, grid, target.schema, features, label);
    predictor.answer_grid(grid);
    taken_to
}

/// The newest records of a stream.
struct Newest {
    /// When the last of them was measured, nanoseconds UTC.
    measured: i64,
    /// How long after it was measured a record came at least, nanoseconds: below 0 where the source is
    /// ahead of our clock.
    came_after_ns: i64,
}

/// What is known of the newest records of a stream, if they are not far back.
fn newest(buffer: &Buffer, target: &Target<'_>) -> Option<Newest> {
    let mut seq = buffer.next_seq();
    for _ in 0..NEWEST_BLOCKS_MAX {
        if seq <= buffer.oldest_seq() {
            return None;
        }
        seq = buffer.previous_stored(seq);
        let Ok(Some(block)) = buffer.read_block(seq) else {
            continue;
        };
        let ours = block.runs().find(|run| run.stream == target.stream.id);
        let Some(run) = ours else { continue };
        let rows = &run.section.rows;
        let times = run.rows.map(|row| {
            let ts = rows.ts[row];
            (ts, rows.source_ts.get(row).copied().flatten().unwrap_or(ts))
        });
        let came_after = times
            .clone()
            .map(|(ts, measured)| ts.saturating_sub(measured));
        return Some(Newest {
            measured: times.map(|(_, measured)| measured).max()?,
            came_after_ns: came_after.min()?,
        });
    }
    None
}

/// A predictor goes on with what it had taken along when the agent ended. A version that was promoted
/// while nobody answered is put on trial against the one that answered before.
fn restore(
    shared: &Shared,
    target: &Target<'_>,
    predictor: &mut Predictor,
    snapshot: PredictorSnapshot,
) {
    let number = predictor.version();
    let before = match snapshot.version {
        same if same == number => snapshot.on_trial_against(),
        // One that was gone back to is not put on trial again.
        other => Some(other).filter(|other| *other < number),
    };
    let before = before.and_then(|before| {
        let loaded = load(shared, target, before);
        let loaded = loaded.inspect_err(|why| {
            let key = &target.key;
            tracing::info!(%key, version = before, %why, "no longer there to compare with");
        });
        let loaded = loaded.ok()?;
        (loaded.fields == predictor.spec.fields).then_some(loaded.serving)
    });
    if snapshot.version == number {
        predictor.restore(snapshot, before);
    } else if let Some(before) = before {
        predictor.put_on_trial(before);
    }
}
