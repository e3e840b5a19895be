//! Is it all there? Compares what was committed with what the upstream counts.
//!
//! Per stream and stretch of time: rows in blocks that the cursor calls uploaded, less those put
//! aside, against [`Upstream::count`]. Where they differ the stretch is halved until the gap is named
//! closely. Only counts are compared, so one missing and one surplus row in the same stretch of the
//! same stream cancel out. Memory is bounded by the timestamps of one stretch.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    cursor::Cursor,
    sample::{Schema, Stream, StreamId, TimeRange, Timestamp},
    uploader::BlockSource,
    upstream::{Upstream, UpstreamError},
};

/// Rows in one stretch of time, all streams together; one block more at most.
const STRETCH_ROWS_MAX: usize = 500_000;
/// Counts under way at once.
const COUNTS_IN_FLIGHT_MAX: usize = 16;
/// Counts spent on narrowing down the gaps of one stream in one stretch.
const NARROWING_COUNTS_MAX: usize = 512;
/// Gaps listed; more are only counted.
const GAPS_MAX: usize = 1_000;

/// A stretch of time in which the upstream has more or fewer rows of a stream than were committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Name of the stream.
    pub stream: String,
    /// First timestamp of the stretch, nanoseconds UTC.
    pub from: Timestamp,
    /// Last timestamp of the stretch, nanoseconds UTC.
    pub to: Timestamp,
    /// Rows committed in it and not rejected.
    pub committed: u64,
    /// Rows upstream.
    pub upstream: u64,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Rows that ought to be upstream and were compared.
    pub rows_committed: u64,
    /// Rows the upstream counted in the same places.
    pub rows_upstream: u64,
    /// Where the two differ; by time, then by stream.
    pub gaps: Vec<Gap>,
    /// Gaps found beyond those listed.
    pub gaps_unlisted: u64,
}

/// Why a comparison could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The buffer cannot be read.
    #[error("cannot read the buffer: {0}")]
    Buffer(String),
    /// The upstream does not answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// Compares everything that is still buffered and that `cursor` calls uploaded.
/// `rejected(stream, range)` tells how many rows of a stream were put aside.
///
/// # Errors
/// [`VerifyError`] if the buffer or the upstream cannot be asked.
pub async fn verify(
    source: &Arc<dyn BlockSource>,
    upstream: &Arc<dyn Upstream>,
    cursor: &Cursor,
    rejected: &(dyn Fn(&str, TimeRange) -> u64 + Sync),
) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport::default();
    for mut blocks in comparable(cursor, &**source) {
        while !blocks.is_empty() {
            let start = blocks.start;
            let (reader, wanted) = (Arc::clone(source), blocks.clone());
            let stretch = spawn_blocking(move || read_stretch(&*reader, wanted)).await;
            let stretch = stretch.unwrap_or_else(|panic| Err(panic.to_string()));
            let stretch = stretch.map_err(VerifyError::Buffer)?;
            let is_held = |stream: &StreamId| {
                let held = cursor.held().get(stream);
                held.is_some_and(|held| held.seq <= start)
            };
            blocks.start = stretch.read_to;
            compare(source, upstream, stretch, &is_held, rejected, &mut report).await?;
        }
    }
    Ok(report)
}

/// Runs of blocks in each of which a stream is uploaded either altogether or not at all.
fn comparable(cursor: &Cursor, source: &dyn BlockSource) -> Vec<Range<u64>> {
    let (oldest, next) = (source.oldest_seq(), source.next_seq());
    let mut runs = Vec::new();
    for done in cursor.done().ranges() {
        let mut start = done.start.max(oldest);
        let end = done.end.min(next);
        let held = cursor.held().values().map(|held| held.seq);
        let mut cuts: Vec<u64> = held.chain([end]).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().filter(|cut| *cut <= end) {
            if start < cut {
                runs.push(start..cut);
                start = cut;
            }
        }
    }
    runs
}

/// The timestamps of consecutive blocks, by stream.
struct VerifiedStretch {
    range: TimeRange,
    /// Sorted.
    rows: BTreeMap<StreamId, Vec<i64>>,
    /// One past the last block looked at.
    read_to: u64,
}

/// Reads `blocks` up to the bound, or up to one that is gone: nobody knows what was in that.
fn read_stretch(source: &dyn BlockSource, blocks: Range<u64>) -> Result<VerifiedStretch, String> {
    let mut stretch = VerifiedStretch {
        range: TimeRange::ALL,
        rows: BTreeMap::new(),
        read_to: blocks.start,
    };
    let (mut rows, end) = (0, blocks.end);
    for seq in blocks {
        stretch.read_to = seq + 1;
        let Some(block) = source.read_block(seq)? else {
            stretch.read_to = source.next_stored(seq).max(seq + 1).min(end);
            break;
        };
        if rows == 0 {
            stretch.range.from = Timestamp(block.first_ts);
        }
        stretch.range.to = Timestamp(block.last_ts);
        for section in &block.sections {
            let mut ts = section.rows.ts.iter();
            for run in &section.runs {
                let of_stream = stretch.rows.entry(run.stream).or_default();
                of_stream.extend(ts.by_ref().take(run.rows as usize));
            }
            rows += section.rows.len();
        }
        if rows >= STRETCH_ROWS_MAX {
            break;
        }
    }
    Ok(stretch)
}

/// The rows of one stream in one stretch, and who can count them upstream.
struct Comparison<'a> {
    stream: Arc<Stream>,
    schema: Arc<Schema>,
    ts: Vec<i64>,
    upstream: &'a dyn Upstream,
    rejected: &'a (dyn Fn(&str, TimeRange) -> u64 + Sync),
}

async fn compare(
    source: &Arc<dyn BlockSource>,
    upstream: &Arc<dyn Upstream>,
    stretch: VerifiedStretch,
    is_held: &(dyn Fn(&StreamId) -> bool + Sync),
    rejected: &(dyn Fn(&str, TimeRange) -> u64 + Sync),
    report: &mut VerifyReport,
) -> Result<(), VerifyError> {
    let catalog = source.catalog();
    let range = stretch.range;
    let mut streams = stretch
        .rows
        .into_iter()
        .filter(|(stream, _)| !is_held(stream))
        .filter_map(|(id, ts)| {
            let (stream, schema) = catalog.resolve(id)?;
            Some((Arc::clone(stream), Arc::clone(schema), ts))
        });
    let mut counts = JoinSet::new();
    let mut differing = Vec::new();
    loop {
        while counts.len() < COUNTS_IN_FLIGHT_MAX
            && let Some((stream, schema, ts)) = streams.next()
        {
            let upstream = Arc::clone(upstream);
            counts.spawn(async move {
                let count = upstream.count(&stream, &schema, range).await;
                (stream, schema, ts, count)
            });
        }
        let Some(counted) = counts.join_next().await else {
            break;
        };
        let (stream, schema, ts, count) =
            counted.map_err(|panic| UpstreamError::Unavailable(panic.to_string()))?;
        let comparison = Comparison {
            stream,
            schema,
            ts,
            upstream: &**upstream,
            rejected,
        };
        let (expected, count) = (
            comparison.expected(&(0..comparison.ts.len()), range),
            count?,
        );
        report.rows_committed += expected;
        report.rows_upstream += count;
        if expected != count {
            differing.push((comparison, count));
        }
    }
    differing.sort_by_key(|(comparison, _)| comparison.stream.id);
    for (comparison, count) in differing {
        for gap in comparison.narrow(range, count).await? {
            if report.gaps.len() < GAPS_MAX {
                report.gaps.push(gap);
            } else {
                report.gaps_unlisted += 1;
            }
        }
    }
    Ok(())
}

impl Comparison<'_> {
    /// Rows numbered `rows`, all of those within `range`, less those put aside.
    fn expected(&self, rows: &Range<usize>, range: TimeRange) -> u64 {
        let committed = (rows.end - rows.start) as u64;
        committed.saturating_sub((self.rejected)(&self.stream.name, range))
    }

    /// The gaps within `range`, where the upstream counted `total` rows.
    async fn narrow(&self, range: TimeRange, total: u64) -> Result<Vec<Gap>, UpstreamError> {
        let mut gaps: Vec<Gap> = Vec::new();
        let mut last_row = None;
        let mut counts_left = NARROWING_COUNTS_MAX;
        let mut todo = vec![(range, 0..self.ts.len(), total)];
        while let Some((range, rows, upstream)) = todo.pop() {
            let committed = self.expected(&rows, range);
            if committed == upstream {
                continue;
            }
            let is_narrow = upstream == 0 || committed == 0 || rows.len() <= 1;
            if !is_narrow && counts_left > 0 {
                counts_left -= 1;
                let middle = rows.start.midpoint(rows.end);
                let from = Timestamp(self.ts[middle]);
                let (early, late) = (
                    TimeRange {
                        to: from.shifted(-1),
                        ..range
                    },
                    TimeRange { from, ..range },
                );
                let before = self
                    .upstream
                    .count(&self.stream, &self.schema, early)
                    .await?;
                todo.push((late, middle..rows.end, upstream.saturating_sub(before)));
                todo.push((early, rows.start..middle, before));
                continue;
            }
            let is_missing = upstream < committed;
            let touching = last_row == Some(rows.start);
            last_row = Some(rows.end);
            if let Some(gap) = gaps.last_mut()
                && touching
                && is_missing == (gap.upstream < gap.committed)
            {
                gap.to = self.end_of(is_missing, &rows, range);
                gap.committed += committed;
                gap.upstream += upstream;
                continue;
            }
            let from = match self.ts.get(rows.start) {
                Some(first) if is_missing => Timestamp(*first),
                _ => range.from,
            };
            gaps.push(Gap {
                stream: self.stream.name.clone(),
                from,
                to: self.end_of(is_missing, &rows, range),
                committed,
                upstream,
            });
        }
        Ok(gaps)
    }

    /// A gap ends with the last row missing; a surplus may lie anywhere in the stretch.
    fn end_of(&self, is_missing: bool, rows: &Range<usize>, range: TimeRange) -> Timestamp {
        match rows.end.checked_sub(1).and_then(|last| self.ts.get(last)) {
            Some(last) if is_missing => Timestamp(*last),
            _ => range.to,
        }
    }
}

#[cfg(test)]
mod tests;
