//! One round: the next records, as many as a commit's worth of predictions.
//!
//! Promises: records are answered in order; what they bring to light is acted upon block by block, and
//! a version found wanting ends the round behind its block, so that another serves before more is
//! answered; nothing is read on before the predictions are durable.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_models::{drift::Alarm, registry::ModelKey};
use dunlin_sync::{
    block::{Block, StreamRun},
    sample::Schema,
};

use crate::learn::{
    Shared,
    inference::{
        delivery::deliver,
        events,
        predictor::{GridTaken, Predicted, Predictor},
        predictors::Predictors,
        reader::Reader,
        rollout::withdraw::{give_up, roll_back},
        rows::{FeatureCells, number_at},
    },
};

/// Predictions after which a round ends: a commit's worth. The last block is finished.
pub(super) const PREDICTIONS_MAX: usize = 1_000;
/// Records read, of whatever streams, after which a round ends.
const ROWS_MAX: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoundEnd {
    /// There is more to answer.
    More,
    /// Everything committed is answered, or cannot be read now.
    Done,
    /// The agent ends before its predictions are durable.
    Ended,
}

/// One round, and what has come of it by now.
pub(super) struct Round<'a> {
    shared: &'a Shared,
    predictors: &'a mut Predictors,
    /// Records read, of whatever streams.
    rows: u64,
    tally: Tally,
    /// A version was found wanting: another is to serve before more is answered.
    is_unsettled: bool,
}

/// What predictors have made of the records.
#[derive(Default)]
struct Tally {
    predictions: usize,
    /// Predictors have taken records.
    has_news: bool,
    /// Records that came too late for a grid.
    late: u64,
    /// What is to be acted upon.
    findings: Vec<Finding>,
}

/// What one record has shown of the version that serves.
struct Finding {
    key: ModelKey,
    version: u64,
    alarms: Vec<Alarm>,
    must_roll_back: bool,
    broke: Option<String>,
}

impl<'a> Round<'a> {
    pub(super) fn new(shared: &'a Shared, predictors: &'a mut Predictors) -> Self {
        Self {
            shared,
            predictors,
            rows: 0,
            tally: Tally::default(),
            is_unsettled: false,
        }
    }

    /// Answers the next records, none beyond the block numbered `end`, and makes the predictions durable.
    pub(super) fn run(&mut self, reader: &mut Reader, end: u64) -> RoundEnd {
        let shared = self.shared;
        reader.skip_gone(&shared.buffer);
        let mut is_readable = true;
        while reader.is_before(end) && !self.is_full() {
            if self.predictors.is_empty() {
                reader.skip_to(&shared.buffer, end);
                return RoundEnd::Done;
            }
            match reader.read(&shared.buffer, &shared.stats) {
                Ok(Some(block)) => {
                    if reader.take_hole() {
                        let predictors = self.predictors.iter_mut();
                        predictors.for_each(|predictor| predictor.forget_before(block.first_ts));
                    }
                    if !self.predict_block(&block) {
                        reader.again(&block);
                    }
                }
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(why, "cannot read records to answer; trying again");
                    is_readable = false;
                    break;
                }
            }
        }
        if !deliver(shared, self.predictors) {
            return RoundEnd::Ended;
        }
        if is_readable && reader.is_before(end) {
            RoundEnd::More
        } else {
            RoundEnd::Done
        }
    }

    /// Whether predictors know more than before the round.
    pub(super) fn has_news(&self) -> bool {
        self.tally.has_news
    }

    fn is_full(&self) -> bool {
        self.tally.predictions >= PREDICTIONS_MAX || self.rows >= ROWS_MAX || self.is_unsettled
    }

    /// Answers what is in a block, as far as it is not answered, and acts upon what it shows; whether that
    /// was all of it.
    fn predict_block(&mut self, block: &Block) -> bool {
        self.rows += block.rows();
        let mut is_all = true;
        // What is in a block is in the catalog, columns that have been opened meanwhile included.
        let catalog = self.shared.buffer.catalog();
        for run in block.runs() {
            for predictor in self.predictors.of_stream(run.stream) {
                let schema = catalog.schema(run.section.schema);
                is_all &= predict_run(
                    predictor,
                    &run,
                    schema.map(|schema| &**schema),
                    &mut self.tally,
                );
            }
        }
        let late = std::mem::take(&mut self.tally.late);
        self.shared.stats.late.fetch_add(late, Relaxed);
        let found = std::mem::take(&mut self.tally.findings);
        for finding in &found {
            for alarm in &finding.alarms {
                events::drift(self.shared, &finding.key, finding.version, alarm);
            }
            if finding.must_roll_back {
                self.is_unsettled |= roll_back(self.shared, &finding.key, finding.version);
            }
        }
        for finding in &found {
            if let Some(what) = &finding.broke {
                give_up(self.shared, &finding.key, finding.version, what);
                self.is_unsettled = true;
            }
        }
        is_all
    }
}

/// Has a predictor answer the records that it has not seen, or the rows of its grid that they complete;
/// whether that was all of them: one record may complete many rows.
fn predict_run(
    predictor: &mut Predictor,
    run: &StreamRun<'_>,
    schema: Option<&Schema>,
    tally: &mut Tally,
) -> bool {
    if let Some(taken) = predictor.take_to_grid(run, schema, PREDICTIONS_MAX) {
        tally.late += taken.late;
        predict_grid(predictor, &taken, tally);
        return taken.is_all;
    }
    let columns = &run.section.rows.columns;
    let cells = FeatureCells::of(&predictor.spec.fields, schema);
    let label_cells = FeatureCells::of(predictor.spec.label.as_slice(), schema);
    let mut features = vec![0.0; predictor.spec.fields.len()];
    for row in run.rows.clone() {
        let ts = run.section.rows.ts[row];
        if ts <= predictor.seen_to() {
            continue;
        }
        cells.numbers(columns, row, &mut features);
        let places = label_cells.first().iter();
        let label = predictor.label_of(places.filter_map(|place| columns.get(*place)), row);
        predict(predictor, ts, (&features, label), tally);
    }
    true
}

/// Has a predictor answer rows of its grid. Those that it saw before a restart fill the window again.
fn predict_grid(predictor: &mut Predictor, taken: &GridTaken, tally: &mut Tally) {
    let rows = &taken.rows;
    let mut features = vec![0.0; predictor.spec.fields.len()];
    for (row, ts) in rows.ts.iter().enumerate() {
        if taken.anew == Some(row) {
            predictor.go_back_to(ts - 1);
        }
        for (field, value) in features.iter_mut().enumerate() {
            *value = number_at(&rows.columns, field, row);
        }
        if *ts <= predictor.seen_to() {
            predictor.recall(*ts, &features);
            continue;
        }
        let label = predictor.label_of(rows.columns.get(features.len()), row);
        predict(predictor, *ts, (&features, label), tally);
    }
}

/// Has a predictor answer one row: its features, and its label.
fn predict(
    predictor: &mut Predictor,
    ts: i64,
    (features, label): (&[f32], f32),
    tally: &mut Tally,
) {
    let Predicted {
        prediction,
        alarms,
        must_roll_back,
        broke,
    } = predictor.predict(ts, features, label);
    tally.has_news = true;
    if let Some(prediction) = prediction {
        tally.predictions += 1;
        predictor.outbox.push(prediction);
    }
    if !alarms.is_empty() || must_roll_back || broke.is_some() {
        tally.findings.push(Finding {
            key: predictor.spec.key.clone(),
            version: predictor.version(),
            alarms,
            must_roll_back,
            broke,
        });
    }
}
