//! The account at the end: every record published is upstream or in quarantine, once.

use std::{path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::Serialize;

use super::stage::STREAM;
use crate::{simulate::Report, status::View};

/// What became of the records; the line of `--json`, in this order. All counts are records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tally {
    /// Acknowledged by the broker; one a publish.
    pub(super) published: u64,
    /// Taken in by the agent.
    pub(super) received: u64,
    /// Durable in the buffer.
    pub(super) committed: u64,
    /// In publishes that went to quarantine.
    pub(super) quarantined: u64,
    /// Lost.
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
        if !path.exists() {
            return Ok(Self::default());
        }
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(Duration::from_secs(10))?;
        let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let table = database.query_row(table, [STREAM], |_| Ok(())).optional()?;
        if table.is_none() {
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
        view: &View,
        upstream: UpstreamRows,
        elapsed: Duration,
    ) -> Self {
        let writer = &view.writer;
        let buffer = view.buffer.stats();
        let rounded = |value: f64, by: f64| (value * by).round() / by;
        let fraction = upstream.train as f64 / upstream.all as f64;
        Self {
            published: report.acked,
            received: writer.records_received.load(Relaxed),
            committed: buffer.rows_committed.load(Relaxed),
            quarantined: writer.records_quarantined.load(Relaxed),
            dropped: buffer.rows_dropped.load(Relaxed) + writer.records_dropped.load(Relaxed),
            // A batch is counted when it has succeeded, however often it was tried; twice only if
            // the agent restarts in between.
            uploaded: view.uploads.rows_uploaded.load(Relaxed),
            upstream_rows: upstream.all,
            duplicates: writer.duplicates.load(Relaxed),
            train_fraction: (upstream.all > 0).then(|| rounded(fraction, 1e4)),
            seconds: rounded(elapsed.as_secs_f64(), 1e3),
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
