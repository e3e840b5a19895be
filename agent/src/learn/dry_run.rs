//! Learning in step with the records, without waiting for anything: for tests that replay a plant.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use dunlin_sync::{buffer::Buffer, sample::Value};

use crate::{
    config::settings::LearnSettings,
    learn::{inference::Inference, scheduler::Scheduler, tables::PREDICTIONS, tests::Bench},
    record::writer::RequestContent,
};

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Its timestamp, nanoseconds UTC.
    pub(crate) ts: i64,
    pub(crate) flag: bool,
}

/// What was learnt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learnt {
    pub(crate) answers: Vec<Answered>,
    pub(crate) promoted: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) drifts: u64,
    pub(crate) rollbacks: u64,
}

/// Lets a device learn by `settings`: `commit` puts the next records into its buffer, as many as arrive
/// between two scans, until it says that there are no more.
pub(crate) fn dry_run(settings: LearnSettings, mut commit: impl FnMut(&Buffer) -> bool) -> Learnt {
    let mut bench = Bench::with_settings(LearnSettings {
        // Civility and the machine's temperature are not what is tried.
        cpu_share: 1.0,
        temperature_c_max: f64::INFINITY,
        ..settings
    });
    let requests = bench.take_requests();
    let keeper = thread::spawn(move || {
        let mut answers = Vec::new();
        for request in requests.into_iter().flatten() {
            let RequestContent::Records {
                schema, records, ..
            } = request.content
            else {
                continue;
            };
            if schema == PREDICTIONS {
                answers.extend(records.iter().map(|record| {
                    Answered {
                        ts: record.source_ts.unwrap(),
                        flag: record
                            .values
                            .iter()
                            .any(|(_, value)| *value == Value::Bool(true)),
                    }
                }));
            }
            // Events are not waited for.
            let _nobody = request.reply.send(Ok(records.len() as u64));
        }
        answers
    });
    let shared = Arc::clone(&bench.shared);
    let mut scheduler = Scheduler::open(Arc::clone(&shared));
    let mut inference = Inference::resume(&shared);
    while commit(&shared.buffer) {
        inference.refresh();
        inference.catch_up();
        scheduler.work_off();
    }
    let stats = Arc::clone(&shared.stats);
    // With the last one who may write, the keeper ends.
    drop((scheduler, inference));
    drop((shared, bench));
    Learnt {
        answers: keeper.join().unwrap(),
        promoted: stats.promoted.load(Relaxed),
        rejected: stats.rejected.load(Relaxed),
        failed: stats.failed.load(Relaxed),
        drifts: stats.drifts.load(Relaxed),
        rollbacks: stats.rollbacks.load(Relaxed),
    }
}
