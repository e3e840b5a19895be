//! One batch: read its blocks, write it, put aside what is refused for ever, name what is refused for now.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{
    batch_rows::BatchRows,
    ports::{BlockSource, RejectError, RejectedRow, RejectedRows},
    stretch::{RowKey, first_row, slice, stretches},
};
use crate::{
    batch::BatchBuilder,
    rows::{Batch, Rows},
    sample::StreamId,
    upstream::{Rejection, Upstream, UpstreamError, WriteReport},
};

/// Rows of one stream rejected in a row, not one taken, after which it is the stream that is refused and
/// not its rows: the rest stays in the buffer.
const REJECTED_IN_A_ROW_MAX: u64 = 256;

/// So few streams, one of which is refused, are written one by one at once; more are held and tested in
/// groups, beside the others.
const SINGLY_MAX: usize = 8;

/// Memory of the blocks read for one batch that is enough, bytes: records may be of thousands of fields.
const BATCH_BYTES_MAX: usize = if cfg!(test) { 64 << 10 } else { 16 << 20 };

/// Blocks to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UploadJob {
    pub(super) blocks: Range<u64>,
    pub(super) scope: Scope,
}

/// Whose rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    AllButHeld,
    /// These held streams, each from its position on.
    Held {
        streams: Arc<BTreeMap<StreamId, u64>>,
        /// To see whether they are taken: the first rows of each are enough.
        is_test: bool,
    },
}

impl Scope {
    pub(super) fn is_held(&self) -> bool {
        *self != Self::AllButHeld
    }
}

/// What a job has to know of how things stand.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) held: HashSet<StreamId>,
    /// How many rows go into one write.
    pub(super) batch_rows: BatchRows,
    /// Rows that were not answered before, from a place on: they are written last, and by halves.
    pub(super) broken: Vec<(RowKey, usize)>,
    /// Rows that break the connection, with the upstream's words: they are not sent any more.
    pub(super) breaking: HashMap<RowKey, String>,
    /// Rows rejected in a row so far, not one taken since.
    pub(super) rejected_in_a_row: HashMap<StreamId, u64>,
}

/// Rows of one stream in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The first block with one.
    pub(super) seq: u64,
    pub(super) rows: u64,
}

/// What became of a job.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) rows_written: u64,
    pub(super) rows_rejected: u64,
    pub(super) blocks_missing: u64,
    /// One past the last block read: a job stops early with a full batch, or with all it needs of held streams.
    pub(super) read_to: u64,
    /// What was read of each stream.
    pub(super) sent: BTreeMap<StreamId, Share>,
    /// Held streams with rows left out.
    pub(super) skipped: BTreeMap<StreamId, Share>,
    /// Rows of each write that the upstream answered; there may have been nothing to write.
    pub(super) answered: Vec<usize>,
    /// Places that were not answered before and are now.
    pub(super) mended: Vec<RowKey>,
    /// Rows that break the connection and were put aside.
    pub(super) taken_out: Vec<RowKey>,
    /// Streams that the upstream refuses, with its words.
    pub(super) refused: BTreeMap<StreamId, String>,
    /// Streams written together of which it refuses one or more, without saying which.
    pub(super) suspected: BTreeMap<StreamId, String>,
    /// Streams of which every row was rejected and none for its time, with how many; 0: one was taken.
    pub(super) rejected_in_a_row: BTreeMap<StreamId, u64>,
}

/// Nothing is known about what was written; the whole job is done again later.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was said.
    pub(super) text: String,
    /// The write after which there was no answer, if that was it.
    pub(super) broke: Option<Box<Broke>>,
    /// As in [`Delivered`].
    pub(super) answered: Vec<usize>,
    /// As in [`Delivered`].
    pub(super) mended: Vec<RowKey>,
}

/// A write that was not answered by an upstream that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broke {
    /// Its first row.
    pub(super) at: RowKey,
    pub(super) rows: usize,
    /// The place that was not answered before of which it is a half.
    pub(super) part_of: Option<RowKey>,
    /// Whether something else in the same job was taken just before.
    pub(super) others_taken: bool,
}

impl Failure {
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            broke: None,
            answered: Vec::new(),
            mended: Vec::new(),
        }
    }
}

/// What was read for a job.
struct Gathered {
    batch: Batch,
    aside: Vec<RejectedRow>,
    delivered: Delivered,
}

pub(super) async fn run(
    job: UploadJob,
    standing: Standing,
    source: Arc<dyn BlockSource>,
    upstream: Arc<dyn Upstream>,
    rejected: Arc<dyn RejectedRows>,
) -> Result<Delivered, Failure> {
    let standing = Arc::new(standing);
    let (scope, ours) = (job.scope.clone(), Arc::clone(&standing));
    let gathered = spawn_blocking(move || gather(&job, &ours, &*source)).await;
    let gathered =
        gathered.map_err(|panic| Failure::of(format!("reading the buffer: {panic}")))??;
    let (mut delivered, mut aside) = (gathered.delivered, gathered.aside);
    let mut rejections = Vec::new();
    let batch = gathered.batch;
    let mut batch_rows = standing.batch_rows.clone();
    for stretch in stretches(&batch, &standing.broken) {
        let mut left = stretch.rows.clone();
        let half = stretch.rows.len().div_ceil(2);
        while !left.is_empty() {
            let most = match stretch.broken {
                Some(_) => half.min(batch_rows.rows_at_once()),
                None => batch_rows.rows_at_once(),
            };
            let rows = left.start..left.start.saturating_add(most).min(left.end);
            left.start = rows.end;
            let part = slice(&batch, rows);
            match upstream.write(&part).await {
                Ok(report) => {
                    delivered.answered.push(part.rows());
                    batch_rows.answered(part.rows());
                    sort_out(&part, report, &mut delivered, &mut rejections)?;
                }
                Err(error @ UpstreamError::Unavailable(_)) => {
                    // An upstream that is away says nothing of what it was sent.
                    let is_there = upstream.describe().await.is_ok();
                    let broke = first_row(&part).filter(|_| is_there).map(|at| {
                        Box::new(Broke {
                            at,
                            rows: part.rows(),
                            part_of: stretch.broken,
                            others_taken: !delivered.answered.is_empty(),
                        })
                    });
                    return Err(Failure {
                        text: error.to_string(),
                        broke,
                        answered: delivered.answered,
                        mended: delivered.mended,
                    });
                }
                Err(UpstreamError::Rejected(reason)) => {
                    // Held streams are refused already; of others it may be us whom it does not want.
                    if !scope.is_held()
                        && let Err(error) = upstream.describe().await
                    {
                        return Err(Failure::of(error.to_string()));
                    }
                    if !scope.is_held() && (2..=SINGLY_MAX).contains(&part.tables.len()) {
                        write_singly(&part, &*upstream, &mut delivered, &mut rejections).await?;
                        continue;
                    }
                    let streams = part.tables.iter().map(|table| table.stream.id);
                    let refused = match &part.tables[..] {
                        [_] => &mut delivered.refused,
                        _ => &mut delivered.suspected,
                    };
                    refused.extend(streams.map(|stream| (stream, reason.clone())));
                }
            }
        }
        delivered.mended.extend(stretch.broken);
    }
    aside.extend(keep_streams(rejections, &standing, &mut delivered));
    put_aside(aside, rejected, &mut delivered).await?;
    Ok(delivered)
}

/// Writes each table alone, to find out whom the upstream refuses.
async fn write_singly(
    part: &Batch,
    upstream: &dyn Upstream,
    delivered: &mut Delivered,
    rejections: &mut Vec<(StreamId, OfStream)>,
) -> Result<(), Failure> {
    for table in &part.tables {
        let alone = Batch {
            tables: vec![table.clone()],
        };
        match upstream.write(&alone).await {
            Ok(report) => {
                delivered.answered.push(alone.rows());
                sort_out(&alone, report, delivered, rejections)?;
            }
            Err(UpstreamError::Rejected(reason)) => {
                delivered.refused.insert(table.stream.id, reason);
            }
            Err(error @ UpstreamError::Unavailable(_)) => {
                return Err(Failure::of(error.to_string()));
            }
        }
    }
    Ok(())
}

fn gather(
    job: &UploadJob,
    standing: &Standing,
    source: &dyn BlockSource,
) -> Result<Gathered, Failure> {
    let mut builder = BatchBuilder::default();
    let mut delivered = Delivered::default();
    let (mut rows, mut bytes) = (0, 0);
    let mut next = job.blocks.start;
    while next < job.blocks.end {
        let seq = next;
        let is_enough = match &job.scope {
            Scope::AllButHeld => false,
            Scope::Held { streams, is_test } => {
                rows >= standing.batch_rows.rows()
                    || (*is_test && delivered.sent.len() == streams.len())
            }
        };
        if is_enough || bytes >= BATCH_BYTES_MAX {
            break;
        }
        next = seq + 1;
        delivered.read_to = next;
        let block = source
            .read_block(seq)
            .map_err(|error| Failure::of(format!("cannot read block {seq}: {error}")))?;
        let Some(block) = block else {
            delivered.blocks_missing += 1;
            next = source.next_stored(seq).max(next).min(job.blocks.end);
            delivered.read_to = next;
            continue;
        };
        let sections = block.sections.iter();
        bytes += sections.map(|section| section.rows.bytes()).sum::<usize>();
        // After the block, so that it knows every stream in it.
        let catalog = source.catalog();
        rows += builder.append(&block, &catalog, |run| {
            let (shares, is_wanted) = match &job.scope {
                Scope::Held { streams, .. } => {
                    let from = streams.get(&run.stream);
                    if from.is_none_or(|from| seq < *from) {
                        return false;
                    }
                    (&mut delivered.sent, true)
                }
                Scope::AllButHeld if standing.held.contains(&run.stream) => {
                    (&mut delivered.skipped, false)
                }
                Scope::AllButHeld => (&mut delivered.sent, true),
            };
            let share = shares.entry(run.stream).or_insert(Share { seq, rows: 0 });
            share.rows += u64::from(run.rows);
            is_wanted
        });
    }
    let (mut batch, unknown) = builder.finish();
    let mut aside = Vec::new();
    for table in &unknown {
        let reason = "the catalog does not know this stream";
        let rows = 0..table.rows.len();
        aside.extend(rows.map(|row| RejectedRow::of(table, row, reason.into())));
    }
    for (&(stream, ts), words) in &standing.breaking {
        if take_out(&mut batch, stream, ts, words, &mut aside) {
            delivered.taken_out.push((stream, ts));
        }
    }
    Ok(Gathered {
        batch,
        aside,
        delivered,
    })
}

/// Puts the row at `ts` of `stream` aside; whether it is in `batch`.
fn take_out(
    batch: &mut Batch,
    stream: StreamId,
    ts: i64,
    words: &str,
    aside: &mut Vec<RejectedRow>,
) -> bool {
    let tables = &mut batch.tables;
    let Some(index) = tables.iter().position(|table| table.stream.id == stream) else {
        return false;
    };
    let table = &mut tables[index];
    let Some(row) = table.rows.ts.iter().position(|other| *other == ts) else {
        return false;
    };
    let reason = format!("the connection breaks whenever this row is sent: {words}");
    aside.push(RejectedRow::of(table, row, reason));
    let mut rest = Rows::default();
    rest.extend_from(&table.rows, 0..row);
    rest.extend_from(&table.rows, row + 1..table.rows.len());
    if rest.is_empty() {
        tables.remove(index);
    } else {
        table.rows = rest;
    }
    true
}

/// Rejected rows of one stream, and how many of its rows were not.
#[derive(Default)]
struct OfStream {
    taken: u64,
    out_of_time: u64,
    rejected: Vec<RejectedRow>,
}

/// Takes a report apart, by stream.
fn sort_out(
    part: &Batch,
    report: WriteReport,
    delivered: &mut Delivered,
    rejections: &mut Vec<(StreamId, OfStream)>,
) -> Result<(), Failure> {
    let unknown = || Failure::of("the upstream rejected a row that it was not given");
    delivered.rows_written += report.rows_written;
    for refusal in report.refused {
        let table = part.tables.get(refusal.table).ok_or_else(unknown)?;
        delivered.refused.insert(table.stream.id, refusal.reason);
    }
    let mut by_table: BTreeMap<usize, Vec<Rejection>> = BTreeMap::new();
    for rejection in report.rejected {
        by_table.entry(rejection.table).or_default().push(rejection);
    }
    for (index, table) in part.tables.iter().enumerate() {
        let rejected = by_table.remove(&index).unwrap_or_default();
        let mut of_stream = OfStream {
            taken: (table.rows.len() as u64).saturating_sub(rejected.len() as u64),
            ..OfStream::default()
        };
        for rejection in rejected {
            if rejection.row >= table.rows.len() {
                return Err(unknown());
            }
            of_stream.out_of_time += u64::from(rejection.is_out_of_time);
            let row = RejectedRow::of(table, rejection.row, rejection.reason);
            of_stream.rejected.push(row);
        }
        rejections.push((table.stream.id, of_stream));
    }
    by_table.is_empty().then_some(()).ok_or_else(unknown)
}

/// The rows to put aside. A stream of which not one row is taken any more is refused instead: the buffer
/// holds it, where a quarantine would overflow.
fn keep_streams(
    parts: Vec<(StreamId, OfStream)>,
    standing: &Standing,
    delivered: &mut Delivered,
) -> Vec<RejectedRow> {
    let mut streams: BTreeMap<StreamId, OfStream> = BTreeMap::new();
    for (stream, part) in parts {
        let all = streams.entry(stream).or_default();
        all.taken += part.taken;
        all.out_of_time += part.out_of_time;
        all.rejected.extend(part.rejected);
    }
    let mut aside = Vec::new();
    for (stream, of_stream) in streams {
        if of_stream.taken > 0 || of_stream.out_of_time > 0 {
            delivered.rejected_in_a_row.insert(stream, 0);
        } else if let Some(row) = of_stream.rejected.last() {
            let before = standing.rejected_in_a_row.get(&stream);
            let so_far = before.copied().unwrap_or_default() + of_stream.rejected.len() as u64;
            if so_far > REJECTED_IN_A_ROW_MAX {
                let reason = format!("not one row of it is taken: {}", row.reason);
                delivered.refused.entry(stream).or_insert(reason);
            }
            delivered.rejected_in_a_row.insert(stream, so_far);
        }
        if !delivered.refused.contains_key(&stream) && !delivered.suspected.contains_key(&stream) {
            aside.extend(of_stream.rejected);
        }
    }
    aside
}

/// Puts rows into quarantine; where there is no room, the buffer goes on holding their streams.
async fn put_aside(
    aside: Vec<RejectedRow>,
    rejected: Arc<dyn RejectedRows>,
    delivered: &mut Delivered,
) -> Result<(), Failure> {
    if aside.is_empty() {
        return Ok(());
    }
    let (rows, ours) = (aside.len() as u64, aside.clone());
    let put = spawn_blocking(move || rejected.reject(ours)).await;
    match put.unwrap_or_else(|panic| Err(RejectError::Failed(panic.to_string()))) {
        Ok(()) => delivered.rows_rejected += rows,
        Err(RejectError::Full) => {
            for row in aside {
                let reason = format!(
                    "rows of it are rejected, and the quarantine has no room for them \
                     (quarantine.bytes_max): {}",
                    row.reason
                );
                delivered.refused.entry(row.stream_id).or_insert(reason);
            }
        }
        Err(RejectError::Failed(error)) => {
            return Err(Failure::of(format!(
                "cannot put rejected rows aside: {error}"
            )));
        }
    }
    Ok(())
}
