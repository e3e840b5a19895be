//! Sending rows again that were upstream once: a database that has lost them gets them back.
//!
//! Promises: nothing changes upstream but what is missing there, since the same row twice is one; only
//! rows that had been sent before leave the device; the cursor stays where it is. It is done there and
//! then, beside the uploader of a running agent or without one, so when it has returned the rows are upstream.

use std::collections::{BTreeMap, HashSet};

use dunlin_sync::{
    batch::BatchBuilder,
    rows::{Batch, Rows},
    sample::{StreamId, TimeRange},
    upstream::Upstream,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{Listener, Need, Operation, OperationError, OperationParts, Request};
use crate::base::glob::matches;

/// Most rows in one write: little enough for a slow link.
const BATCH_ROWS_MAX: usize = 1_000;

/// Sends rows again that were upstream once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAgain {
    /// Name of a stream, or a pattern as for an export; `None`: all.
    pub stream: Option<String>,
    /// Timestamps wanted.
    pub range: TimeRange,
}

/// What that came to, in rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAgain {
    /// Taken by the upstream.
    pub sent: u64,
    /// Refused by it, by its words.
    pub refused: BTreeMap<String, u64>,
    /// Not sent, since the uploader has not sent them yet either; it will.
    pub waiting: u64,
}

/// Reasons listed.
const REASONS_MAX: usize = 20;

impl Operation for UploadAgain {
    type Answer = SentAgain;
    const NEED: Need = Need::Upstream;

    fn into_request(self) -> Request {
        Request::UploadAgain(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<SentAgain, OperationError> {
        upload_again(parts, &self, listener)
    }
}

fn upload_again(
    parts: &OperationParts,
    wanted: &UploadAgain,
    listener: &mut dyn Listener,
) -> Result<SentAgain, OperationError> {
    let (buffer, cursor) = (&parts.buffer, (parts.cursor)());
    let upstream = parts.upstream()?;
    let catalog = buffer.catalog();
    let streams: Option<HashSet<StreamId>> = match &wanted.stream {
        None => None,
        Some(pattern) => {
            let all = catalog.streams();
            let named = all.filter(|s| s.name == *pattern || matches(pattern, &s.name));
            let named: HashSet<StreamId> = named.map(|stream| stream.id).collect();
            if named.is_empty() {
                return Err(OperationError::Asked(format!(
                    "no stream is called \"{}\"; see: dunlin status --verify",
                    pattern.escape_debug()
                )));
            }
            Some(named)
        }
    };
    let (first, end) = buffer
        .blocks_within(wanted.range)
        .map_err(OperationError::Failed)?;
    let mut done = SentAgain::default();
    let (mut builder, mut rows, mut seq) = (BatchBuilder::default(), 0, first);
    while seq < end {
        listener
            .progress(seq - first, end - first)
            .map_err(OperationError::failed)?;
        let block = buffer.read_block(seq).map_err(OperationError::Failed)?;
        if let Some(block) = block {
            // The clock may still correct the timestamps of what has not been sent.
            let is_sent = cursor.done().contains(seq);
            let mut waiting = 0;
            rows += builder.append(&block, &buffer.catalog(), |run| {
                let is_wanted = streams.as_ref().is_none_or(|s| s.contains(&run.stream));
                let held = cursor.held().get(&run.stream);
                let goes = is_sent && held.is_none_or(|held| seq < held.seq);
                if is_wanted && !goes {
                    waiting += u64::from(run.rows);
                }
                is_wanted && goes
            });
            done.waiting += waiting;
        }
        seq = buffer.next_stored(seq);
        if rows >= BATCH_ROWS_MAX || seq >= end {
            let (batch, _unknown) = std::mem::take(&mut builder).finish();
            send(&**upstream, &within(batch, wanted.range), &mut done)?;
            rows = 0;
        }
    }
    Ok(done)
}

fn within(mut batch: Batch, range: TimeRange) -> Batch {
    for table in &mut batch.tables {
        // In time order.
        let ts = &table.rows.ts;
        let first = ts.partition_point(|ts| *ts < range.from.0);
        let end = ts.partition_point(|ts| *ts <= range.to.0);
        if (first, end) != (0, ts.len()) {
            let mut rows = Rows::default();
            rows.extend_from(&table.rows, first..end.max(first));
            table.rows = rows;
        }
    }
    batch.tables.retain(|table| !table.rows.is_empty());
    batch
}

fn send(
    upstream: &dyn Upstream,
    batch: &Batch,
    done: &mut SentAgain,
) -> Result<(), OperationError> {
    if batch.tables.is_empty() {
        return Ok(());
    }
    let report = Handle::current().block_on(upstream.write(batch));
    let report = report.map_err(|error| {
        OperationError::Failed(format!(
            "{error}; {} rows were sent before that, and sending them again does no harm",
            done.sent
        ))
    })?;
    done.sent += report.rows_written;
    let rejected = report.rejected.into_iter().map(|r| (r.reason, 1));
    let tables = &batch.tables;
    let refused = report.refused.into_iter();
    let refused = refused.map(|r| {
        (
            r.reason,
            tables.get(r.table).map_or(0, |t| t.rows.len() as u64),
        )
    });
    for (reason, rows) in rejected.chain(refused) {
        if done.refused.len() < REASONS_MAX || done.refused.contains_key(&reason) {
            *done.refused.entry(reason).or_default() += rows;
        } else {
            *done.refused.entry("other reasons".into()).or_default() += rows;
        }
    }
    Ok(())
}
