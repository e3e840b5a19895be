//! One batch: read its blocks, write it, put aside what is refused for ever.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{
    options::UploadOrder,
    seam::{BlockSource, RejectedRow, RejectedRows},
};
use crate::{
    batch::BatchBuilder,
    rows::{Batch, TableRows},
    sample::StreamId,
    upstream::{Upstream, UpstreamError},
};

/// Refusals in a row, and not one part taken, after which it is the upstream and not a stream.
const REFUSALS_MAX: usize = 64;

/// Most blocks in one batch, however few rows they hold: bounds one read.
pub(super) const BATCH_BLOCKS_MAX: u64 = 8_192;

/// Blocks to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) blocks: Range<u64>,
    pub(super) scope: Scope,
}

/// Whose rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All streams that are not held.
    AllButHeld,
    /// One held stream, to see whether it was repaired.
    Only(StreamId),
}

/// What became of a job.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) rows_written: u64,
    pub(super) rows_rejected: u64,
    pub(super) blocks_missing: u64,
    /// One past the last block read; only a job for one stream stops early, with a full batch.
    pub(super) read_to: u64,
    /// Held streams with rows left out, each with the first block that has some.
    pub(super) skipped: BTreeMap<StreamId, u64>,
    /// Whether the upstream took anything; there may have been nothing to write.
    pub(super) taken: bool,
    /// Streams that the upstream refuses while it takes others, with its words.
    pub(super) refused: Vec<(StreamId, String)>,
}

/// Nothing is known about what was written; the whole job is done again later. What was said:
#[derive(Debug)]
pub(super) enum Failure {
    Failed(String),
    /// The upstream refused every stream in the batch: for their sake or for its own, who knows.
    RefusedAll(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        let (Self::Failed(text) | Self::RefusedAll(text)) = self;
        text
    }
}

/// What was read for a job.
struct Gathered {
    batch: Batch,
    unknown: Vec<TableRows>,
    delivered: Delivered,
}

/// As much of `gap` as fits into a batch: from its start, or from its end if newest go first.
pub(super) fn plan(
    source: &dyn BlockSource,
    order: UploadOrder,
    rows_max: u64,
    gap: Range<u64>,
) -> Range<u64> {
    let blocks_max = (gap.end - gap.start).min(BATCH_BLOCKS_MAX);
    let part = |blocks: u64| match order {
        UploadOrder::OldestFirst => gap.start..gap.start + blocks,
        UploadOrder::LiveFirst => gap.end - blocks..gap.end,
    };
    let fits = |blocks: u64| {
        let part = part(blocks);
        let rows = source.rows_before(part.end);
        rows.saturating_sub(source.rows_before(part.start)) <= rows_max
    };
    let mut fitting = 1;
    while fitting < blocks_max && fits((fitting * 2).min(blocks_max)) {
        fitting = (fitting * 2).min(blocks_max);
    }
    let mut too_many = (fitting * 2).min(blocks_max + 1);
    while fitting + 1 < too_many {
        let middle = fitting.midpoint(too_many);
        if fits(middle) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    part(fitting)
}

/// Does `job`. If `others_are_taken`, the upstream is known to refuse streams and not everything.
pub(super) async fn run(
    job: Job,
    held: HashSet<StreamId>,
    rows_max: usize,
    others_are_taken: bool,
    source: Arc<dyn BlockSource>,
    upstream: Arc<dyn Upstream>,
    rejected: Arc<dyn RejectedRows>,
) -> Result<Delivered, Failure> {
    let of_streams = job.scope != Scope::AllButHeld || others_are_taken;
    let gathered = spawn_blocking(move || gather(&job, &held, rows_max, &*source)).await;
    let gathered =
        gathered.map_err(|panic| Failure::Failed(format!("reading the buffer: {panic}")))??;
    let mut delivered = gathered.delivered;
    let mut aside = Vec::new();
    for table in &gathered.unknown {
        let reason = "the catalog does not know this stream";
        let rows = 0..table.rows.len();
        aside.extend(rows.map(|row| RejectedRow::of(table, row, reason.into())));
    }
    let refusals_max = if of_streams { usize::MAX } else { REFUSALS_MAX };
    let batch = gathered.batch;
    write(batch, refusals_max, &*upstream, &mut delivered, &mut aside).await?;
    if !delivered.taken
        && !of_streams
        && let Some((_, reason)) = delivered.refused.pop()
    {
        return Err(Failure::RefusedAll(reason));
    }
    if !aside.is_empty() {
        delivered.rows_rejected += aside.len() as u64;
        let put = spawn_blocking(move || rejected.reject(aside)).await;
        let put = put.unwrap_or_else(|panic| Err(panic.to_string()));
        put.map_err(|error| Failure::Failed(format!("cannot put rejected rows aside: {error}")))?;
    }
    Ok(delivered)
}

fn gather(
    job: &Job,
    held: &HashSet<StreamId>,
    rows_max: usize,
    source: &dyn BlockSource,
) -> Result<Gathered, Failure> {
    let mut builder = BatchBuilder::default();
    let mut delivered = Delivered::default();
    let mut rows = 0;
    let mut next = job.blocks.start;
    while next < job.blocks.end {
        let seq = next;
        if rows >= rows_max && job.scope != Scope::AllButHeld {
            break;
        }
        next = seq + 1;
        delivered.read_to = next;
        let block = source
            .read_block(seq)
            .map_err(|error| Failure::Failed(format!("cannot read block {seq}: {error}")))?;
        let Some(block) = block else {
            delivered.blocks_missing += 1;
            next = source.next_stored(seq).max(next).min(job.blocks.end);
            delivered.read_to = next;
            continue;
        };
        // After the block, so that it knows every stream in it.
        let catalog = source.catalog();
        rows += builder.append(&block, &catalog, |stream| match job.scope {
            Scope::Only(only) => stream == only,
            Scope::AllButHeld if held.contains(&stream) => {
                delivered.skipped.entry(stream).or_insert(seq);
                false
            }
            Scope::AllButHeld => true,
        });
    }
    let (batch, unknown) = builder.finish();
    Ok(Gathered {
        batch,
        unknown,
        delivered,
    })
}

/// Writes `batch`; if the upstream refuses it, in ever smaller parts, to find whom it refuses.
async fn write(
    batch: Batch,
    refusals_max: usize,
    upstream: &dyn Upstream,
    delivered: &mut Delivered,
    aside: &mut Vec<RejectedRow>,
) -> Result<(), Failure> {
    let mut parts = VecDeque::from([batch]);
    let mut refusals = 0;
    while let Some(mut part) = parts.pop_front() {
        if part.tables.is_empty() {
            continue;
        }
        match upstream.write(&part).await {
            Ok(report) => {
                delivered.taken = true;
                delivered.rows_written += report.rows_written;
                for rejection in report.rejected {
                    let table = part.tables.get(rejection.table);
                    let table = table.filter(|table| rejection.row < table.rows.len());
                    let Some(table) = table else {
                        let message = "the upstream rejected a row that it was not given";
                        return Err(Failure::Failed(message.into()));
                    };
                    aside.push(RejectedRow::of(table, rejection.row, rejection.reason));
                }
            }
            Err(error @ UpstreamError::Unavailable(_)) => {
                return Err(Failure::Failed(error.to_string()));
            }
            Err(error @ UpstreamError::Rejected(_)) => {
                refusals += 1;
                if !delivered.taken && refusals >= refusals_max {
                    return Err(Failure::RefusedAll(error.to_string()));
                }
                if let [table] = &part.tables[..] {
                    delivered.refused.push((table.stream.id, error.to_string()));
                } else {
                    let half = part.tables.len() / 2;
                    let tables = part.tables.split_off(half);
                    parts.push_back(part);
                    parts.push_back(Batch { tables });
                }
            }
        }
    }
    Ok(())
}
