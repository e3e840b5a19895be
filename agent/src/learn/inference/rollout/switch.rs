//! The version that serves on one stream gives way to another.
//!
//! Promises: this happens between two records, so none is skipped and none answered twice; where a
//! version cannot serve, the one before does.

use std::sync::Arc;

use dunlin_sync::{
    buffer::Query,
    sample::{StreamId, TimeRange, Timestamp},
};

use crate::learn::{
    Shared,
    inference::{
        events,
        predictor::{Predictor, PredictorSpec, Reference},
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
};

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
        let reference =
            reference(&self.shared.buffer, stream, &loaded).map_err(Unfit::Transient)?;
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
                let read_to = self.reader.read_to();
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
        self.prefill(&mut predictor, target.stream.id)?;
        if predictor.seen_to() < self.reader.read_to() {
            self.reader
                .rewind(&self.shared.buffer, predictor.seen_to())?;
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
