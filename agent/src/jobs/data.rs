//! Records of the centre, brought into a buffer of the builder's own: there they are what they were on the device,
//! and data sets are made of them as there.
//!
//! Streams are merged by their timestamps, page by page, so that memory does not grow with their number of rows.

use std::{path::Path, sync::Arc};

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    centre::{
        Centre,
        rows::{ROWS_AT_ONCE_MAX, RowsQuery, STREAMS_AT_ONCE_MAX, StoredStream},
    },
    rows::Rows,
    sample::{Sample, Schema, Split, Stream, TimeRange, Timestamp},
};

use super::{checkpoint::Ranges, error::JobError, host::Attempt};
use crate::{
    base::glob,
    cohort::{self, Cohort, CohortQuery},
    config::settings::RecipeRule,
    record::writer::OWN_TABLE_PREFIX,
};

/// Most streams of a job.
const STREAMS_MAX: usize = 1_000;
/// Streams named where none matches.
const NAMED_MAX: usize = 5;
/// Rows in memory, of all streams.
const ROWS_IN_MEMORY: usize = 100_000;
/// Encoded bytes that one commit takes.
const COMMIT_BYTES: usize = 64 << 10;

/// Most rows of a data set in memory at a time.
const ROWS_PER_CHUNK_MAX: usize = 16_384;

/// Which records.
pub(super) struct Wanted<'a> {
    pub(super) rule: &'a RecipeRule,
    /// Names of streams at the centre, as a glob.
    pub(super) streams: &'a str,
    /// The last timestamp.
    pub(super) to_ts: i64,
    /// Those that an attempt before had, and no others.
    pub(super) again: Option<&'a Ranges>,
    /// Most disk they may take here, bytes.
    pub(super) bytes_max: u64,
}

/// Brings them into a new buffer in `dir`; which they are.
///
/// # Errors
/// [`JobError`]: final where the job asks for what there is not, or for too much.
pub(super) async fn fetch(
    centre: &dyn Centre,
    wanted: &Wanted<'_>,
    dir: &Path,
    attempt: &Attempt,
) -> Result<(Arc<Buffer>, Ranges), JobError> {
    let mut found = streams(centre, wanted.streams).await?;
    if let Some(again) = wanted.again {
        found.retain(|stream| again.contains_key(&stream.name));
    }
    let mut options = BufferOptions::new(dir, wanted.bytes_max);
    options.replay_bytes_max = wanted.bytes_max;
    let (buffer, _) = Buffer::open(options).map_err(|error| JobError::here(&error))?;
    let page = (ROWS_IN_MEMORY / found.len().max(1)).clamp(100, ROWS_AT_ONCE_MAX);
    let mut sources = Vec::new();
    for stream in found {
        attempt.go_on()?;
        sources.push(Source::open(centre, &buffer, stream, wanted, page).await?);
    }
    let mut builder = BlockBuilder::new(Compression::Pco);
    let mut last = i64::MIN;
    loop {
        let mut next: Option<(i64, usize)> = None;
        for (at, source) in sources.iter_mut().enumerate() {
            if let Some(ts) = source.next_ts(centre, attempt).await?
                && next.is_none_or(|(least, _)| ts < least)
            {
                next = Some((ts, at));
            }
        }
        let source = next.and_then(|(_, at)| sources.get_mut(at));
        if source.is_none() || builder.full_bytes() > COMMIT_BYTES {
            commit(&buffer, &mut builder)?;
        }
        let Some(source) = source else {
            let ranges = sources.into_iter().map(Source::range);
            return Ok((Arc::new(buffer), ranges.collect()));
        };
        // Two devices may have one nanosecond each; a buffer has it once.
        last = source.ts().max(last.saturating_add(1));
        let sample = source.take(last);
        builder
            .push(&source.schema, sample)
            .map_err(|error| JobError::last(&error))?;
    }
}

/// The data set of a job: what `rule` means by it, over all `streams` in its buffer, up to `to_ts`.
///
/// # Errors
/// [`JobError::Last`] if that gives none.
pub(super) fn resolve(
    buffer: &Arc<Buffer>,
    rule: &RecipeRule,
    streams: &str,
    to_ts: i64,
) -> Result<Cohort, JobError> {
    let query = rule.query("any", to_ts, ROWS_PER_CHUNK_MAX);
    let query = CohortQuery {
        streams: streams.to_owned(),
        ..query.map_err(|error| JobError::last(&error))?
    };
    let data = cohort::resolve(buffer, &query, rule.recipe.shape());
    data.map_err(|error| JobError::last(&error))
}

fn commit(buffer: &Buffer, builder: &mut BlockBuilder) -> Result<(), JobError> {
    let blocks = builder.finish();
    if blocks.is_empty() {
        return Ok(());
    }
    let committed = buffer.commit(&blocks, &[]);
    committed.map(drop).map_err(|error| {
        JobError::here(&format!("the records of the job do not fit here: {error}"))
    })
}

/// Streams whose names match `pattern`.
async fn streams(centre: &dyn Centre, pattern: &str) -> Result<Vec<StoredStream>, JobError> {
    let (mut found, mut after, mut others) = (Vec::new(), String::new(), Vec::new());
    loop {
        let names = centre.streams(&after, STREAMS_AT_ONCE_MAX).await?;
        let Some(last) = names.last() else {
            break;
        };
        after.clone_from(last);
        for name in names {
            // What devices write about themselves is learnt from by those alone who name it.
            let is_own = own_of(&name) && !pattern.contains(OWN_TABLE_PREFIX);
            if is_own || !glob::matches(pattern, &name) {
                others.extend((!is_own && others.len() < NAMED_MAX).then_some(name));
                continue;
            }
            if found.len() == STREAMS_MAX {
                let what = format!("more than {STREAMS_MAX} streams match {pattern:?}");
                return Err(JobError::last(&what));
            }
            found.extend(centre.stream(&name).await?);
        }
    }
    if found.is_empty() {
        let there = match &others[..] {
            [] => "nobody has uploaded anything there".to_owned(),
            some => format!("there are {}", some.join(", ")),
        };
        let what = format!("no stream at the centre matches {pattern:?}; {there}");
        return Err(JobError::last(&what));
    }
    Ok(found)
}

/// Whether a device writes there about itself.
fn own_of(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(_, name)| name.starts_with(OWN_TABLE_PREFIX))
}

/// Rows of one stream as they come.
struct Source {
    query: RowsQuery,
    schema: Arc<Schema>,
    stream: Arc<Stream>,
    rows: Rows,
    /// The next of them.
    row: usize,
    is_at_end: bool,
    /// The first timestamp there may be, and the last one taken.
    first: i64,
    last: i64,
}

impl Source {
    async fn open(
        centre: &dyn Centre,
        buffer: &Buffer,
        stored: StoredStream,
        wanted: &Wanted<'_>,
        most: usize,
    ) -> Result<Self, JobError> {
        let fields = fields(&stored, wanted.rule)?;
        let tag_names: Vec<String> = stored.tags.keys().cloned().collect();
        let tags: Vec<String> = stored.tags.values().cloned().collect();
        let schema = buffer.declare_schema(&stored.schema, &tag_names, &fields);
        let schema = schema.map_err(|error| JobError::last(&error))?;
        // In the order of the schema, which need not be ours.
        let fields = schema.fields.iter().map(|field| field.name.clone());
        let mut query = RowsQuery {
            stream: stored.name.clone(),
            fields: fields.collect(),
            range: TimeRange {
                from: Timestamp::MIN,
                to: Timestamp(wanted.to_ts),
            },
            is_newest_first: false,
            most,
        };
        if let Some((first, last)) = wanted.again.and_then(|again| again.get(&stored.name)) {
            query.range = TimeRange {
                from: Timestamp(*first),
                to: Timestamp(*last),
            };
        } else {
            query.range.from = first_of_last(centre, &query, wanted.rule.rows_max).await?;
        }
        Ok(Self {
            first: query.range.from.0,
            last: i64::MIN,
            stream: buffer.declare_stream(schema.id, &stored.name, &tags),
            schema,
            query,
            rows: Rows::default(),
            row: 0,
            is_at_end: false,
        })
    }

    /// The timestamp of the next row, which is there then; `None` behind the last one.
    async fn next_ts(
        &mut self,
        centre: &dyn Centre,
        attempt: &Attempt,
    ) -> Result<Option<i64>, JobError> {
        if self.row == self.rows.ts.len() && !self.is_at_end {
            attempt.go_on()?;
            self.rows = centre.rows(&self.query).await?;
            self.row = 0;
            match self.rows.ts.last() {
                Some(last) => self.query.range.from = Timestamp(last.saturating_add(1)),
                None => self.is_at_end = true,
            }
        }
        Ok(self.rows.ts.get(self.row).copied())
    }

    /// Which rows they were, by the stream's name at the centre.
    fn range(self) -> (String, (i64, i64)) {
        (self.query.stream, (self.first, self.last))
    }

    fn ts(&self) -> i64 {
        self.rows.ts.get(self.row).copied().unwrap_or(i64::MAX)
    }

    /// The next row, at `ts`.
    fn take(&mut self, ts: i64) -> Sample {
        self.last = self.ts();
        let row = self.row;
        self.row += 1;
        let values = self.rows.columns.iter().map(|(_, column)| column.get(row));
        Sample {
            stream: self.stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: self.rows.is_train.get(row).copied().unwrap_or(true),
                fold: self.rows.fold.get(row).copied().unwrap_or(0),
            },
            source_ts: self.rows.source_ts.get(row).copied().flatten(),
            values: values.collect(),
        }
    }
}

/// Where the last `count` rows begin.
async fn first_of_last(
    centre: &dyn Centre,
    query: &RowsQuery,
    count: u64,
) -> Result<Timestamp, JobError> {
    let mut page = RowsQuery {
        fields: Vec::new(),
        is_newest_first: true,
        ..query.clone()
    };
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    let mut first = query.range.from;
    while left > 0 {
        page.most = left.min(ROWS_AT_ONCE_MAX);
        let rows = centre.rows(&page).await?;
        let Some(last) = rows.ts.last() else {
            return Ok(query.range.from);
        };
        left = left.saturating_sub(rows.ts.len());
        first = Timestamp(*last);
        page.range.to = Timestamp(last.saturating_sub(1));
    }
    Ok(first)
}

/// Fields of a stream that the recipe looks at.
fn fields(
    stored: &StoredStream,
    rule: &RecipeRule,
) -> Result<Vec<dunlin_sync::sample::Field>, JobError> {
    // A condition may name any.
    if rule.features.is_empty() || rule.condition.is_some() {
        return Ok(stored.fields.clone());
    }
    let wanted = rule.features.iter().chain(&rule.label);
    let fields = wanted.map(|name| {
        let mut fields = stored.fields.iter();
        let field = fields.find(|field| field.name == *name);
        field
            .cloned()
            .ok_or_else(|| JobError::last(&format!("{} has no field {name:?}", stored.name)))
    });
    fields.collect()
}
