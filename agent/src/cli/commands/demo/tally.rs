//! The account at the end: every record published is upstream or in quarantine, once.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::Serialize;

use super::setup::{RECIPE, STREAM};
use crate::{
    learn::PREDICTIONS,
    observe::status::View,
    simulate::{MachineState, Report},
};

/// What became of the records; the line of `--json`, in this order. All counts are records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tally {
    /// Acknowledged by the broker; one a publish.
    pub(super) published: u64,
    /// Taken in by the agents.
    pub(super) received: u64,
    /// Durable in the buffer.
    pub(super) committed: u64,
    /// In publishes that went to quarantine.
    pub(super) quarantined: u64,
    pub(super) dropped: u64,
    /// Taken by the upstream, each counted once.
    pub(super) uploaded: u64,
    /// Counted in the database itself.
    pub(super) upstream_rows: u64,
    /// Publishes recognised as sent again.
    pub(super) duplicates: u64,
    /// Part of the rows upstream that is for training; `None` without rows.
    pub(super) train_fraction: Option<f64>,
    /// From the first publish until everything was upstream.
    pub(super) seconds: f64,
    /// Versions of models that passed the gate.
    pub(super) models_promoted: u64,
    /// Records answered by a model, counted upstream.
    pub(super) predictions: u64,
    /// Of these, records of a faulty machine, flagged.
    pub(super) anomalies_true_positive: u64,
    /// Records of a faulty machine, not flagged.
    pub(super) anomalies_missed: u64,
    /// Records of a healthy machine, flagged.
    pub(super) anomalies_false_positive: u64,
    /// Records of a healthy machine, not flagged.
    pub(super) anomalies_true_negative: u64,
    pub(super) drifts: u64,
}

/// Flags beside the machines' own truth, which no model sees. All counts are predictions upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) all: u64,
    /// By whether the machine was faulty: `[no, yes]`. Incipient faults count neither way.
    pub(super) flagged: [u64; 2],
    pub(super) unflagged: [u64; 2],
}

impl Flags {
    /// Looks at the predictions in the `SQLite` file at `path`, and at what each machine's state was
    /// at the reading they answer.
    ///
    /// # Errors
    /// What `SQLite` says.
    pub(super) fn count(
        path: &Path,
        states: &BTreeMap<String, Vec<(u64, MachineState)>>,
    ) -> rusqlite::Result<Self> {
        let mut flags = Self::default();
        let Some(database) = open(path)? else {
            return Ok(flags);
        };
        if !has_table(&database, PREDICTIONS)? || !has_table(&database, STREAM)? {
            return Ok(flags);
        }
        let sql = format!(
            "SELECT v.stream, v.n, p.flag FROM \"{PREDICTIONS}\" p JOIN \"{STREAM}\" v \
             ON v.stream = replace(p.stream, '{PREDICTIONS}/{RECIPE}/', '') AND v.ts = p.last_ts"
        );
        let mut query = database.prepare(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (stream, n, flag): (String, f64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            flags.add(state_at(states, &stream, n as u64), flag);
        }
        Ok(flags)
    }

    /// Counts one answer about a machine in this state.
    pub(super) fn add(&mut self, state: MachineState, flag: bool) {
        self.all += 1;
        let outcome = match state {
            MachineState::Healthy => 0,
            MachineState::Faulty => 1,
            MachineState::Incipient => return,
        };
        let counts = if flag {
            &mut self.flagged
        } else {
            &mut self.unflagged
        };
        counts[outcome] += 1;
    }
}

/// The state of the machine behind `stream` (`device/vibration/line1/machine2`) at its reading `n`.
pub(super) fn state_at(
    states: &BTreeMap<String, Vec<(u64, MachineState)>>,
    stream: &str,
    n: u64,
) -> MachineState {
    let mut levels = stream.rsplit('/');
    let (machine, line) = (levels.next().unwrap_or(""), levels.next().unwrap_or(""));
    let changes = states.get(&format!("plant/{line}/{machine}/{STREAM}"));
    let changes = changes.map_or(&[][..], Vec::as_slice);
    let until_then = changes.partition_point(|(from, _)| *from <= n);
    until_then
        .checked_sub(1)
        .map_or(MachineState::Healthy, |at| changes[at].1)
}

fn open(path: &Path) -> rusqlite::Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(Duration::from_secs(10))?;
    Ok(Some(database))
}

fn has_table(database: &Connection, name: &str) -> rusqlite::Result<bool> {
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    let found = database.query_row(table, [name], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

/// What the database itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UpstreamRows {
    pub(super) all: u64,
    pub(super) train: u64,
}

impl UpstreamRows {
    /// Counts the rows in the `SQLite` file at `path`; none if the agent never got to write one.
    ///
    /// # Errors
    /// What `SQLite` says.
    pub(super) fn count(path: &Path) -> rusqlite::Result<Self> {
        let Some(database) = open(path)? else {
            return Ok(Self::default());
        };
        if !has_table(&database, STREAM)? {
            return Ok(Self::default());
        }
        let sql = format!("SELECT count(*), coalesce(sum(is_train), 0) FROM \"{STREAM}\"");
        let (all, train) = database.query_row(&sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        Ok(Self {
            all: all as u64,
            train: train as u64,
        })
    }
}

impl Tally {
    pub(super) fn new(
        report: &Report,
        views: &[Arc<View>],
        upstream: UpstreamRows,
        flags: Flags,
        elapsed: Duration,
    ) -> Self {
        let sum = |count: &dyn Fn(&View) -> u64| views.iter().map(|view| count(view)).sum();
        // What an agent has to say itself is no record of a machine.
        let own: u64 = sum(&|view| view.writer.records_own.load(Relaxed));
        let all_of = |count: &dyn Fn(&View) -> u64| u64::saturating_sub(sum(count), own);
        let rounded = |value: f64, by: f64| (value * by).round() / by;
        let fraction = upstream.train as f64 / upstream.all as f64;
        Self {
            published: report.acked,
            received: all_of(&|view| view.writer.records_received.load(Relaxed)),
            committed: all_of(&|view| view.buffer.stats().rows_committed.load(Relaxed)),
            quarantined: sum(&|view| view.writer.records_quarantined.load(Relaxed)),
            dropped: sum(&|view| view.buffer.stats().rows_dropped.load(Relaxed)),
            // A batch is counted when it has succeeded, however often it was tried; twice only if
            // the agent restarts in between.
            uploaded: all_of(&|view| view.uploads.rows_uploaded.load(Relaxed)),
            upstream_rows: upstream.all,
            duplicates: sum(&|view| view.writer.duplicates.load(Relaxed)),
            train_fraction: (upstream.all > 0).then(|| rounded(fraction, 1e4)),
            seconds: rounded(elapsed.as_secs_f64(), 1e3),
            models_promoted: sum(&|view| view.learn.promoted.load(Relaxed)),
            predictions: flags.all,
            anomalies_true_positive: flags.flagged[1],
            anomalies_missed: flags.unflagged[1],
            anomalies_false_positive: flags.flagged[0],
            anomalies_true_negative: flags.unflagged[0],
            drifts: sum(&|view| view.learn.drifts.load(Relaxed)),
        }
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        // Numbers under fixed names: nothing here can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Which records are not accounted for, in words; `None` if all are.
    pub(super) fn imbalance(&self) -> Option<String> {
        let &Self {
            published,
            received,
            committed,
            quarantined,
            dropped,
            uploaded,
            upstream_rows,
            ..
        } = self;
        let stored = committed + quarantined;
        let checks = [
            (
                published == received,
                format!("{published} published, {received} received"),
            ),
            (
                published == stored,
                format!("{published} published, {committed} committed + {quarantined} quarantined"),
            ),
            (dropped == 0, format!("{dropped} dropped")),
            (
                committed == uploaded,
                format!("{committed} committed, {uploaded} uploaded"),
            ),
            (
                committed == upstream_rows,
                format!("{committed} committed, {upstream_rows} rows upstream"),
            ),
        ];
        let wrong: Vec<String> = checks
            .into_iter()
            .filter_map(|(holds, what)| (!holds).then_some(what))
            .collect();
        (!wrong.is_empty()).then(|| format!("the records do not balance: {}", wrong.join("; ")))
    }
}
