//! Taking in records that somebody had in a file: the same splits and timestamps as over MQTT.

use std::{
    sync::{atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::builder::{FIELDS_MAX, RECORD_BYTES_MAX},
    buffer::Buffer,
    sample::{Field, Schema, Split, Value},
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Listener, Need, Operation, OperationError, OperationParts, Request, WriterEnd};
use crate::{
    config::settings::StreamRule,
    record::{
        decode::{Record, is_field_name},
        route::CAPTURE_BYTES_MAX,
        writer::{self, Answer, FromFile, Imported, ImportedRows, Refused, RequestContent},
    },
    topic::hostile_part,
};

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 2_000;
/// Most bytes of records in one batch, as [`ImportBatch::weight`] counts them.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Most tags of a stream.
const TAGS_MAX: usize = 64;
/// How often somebody is told that a batch still waits.
const ALIVE_GAP: Duration = Duration::from_secs(1);
/// How long a full buffer is waited for where nothing drains it.
const FULL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Takes in records of one stream, answered with their number once they are durable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportBatch {
    /// Name of the stream.
    pub stream: String,
    /// Fields in the order of each record's values.
    pub fields: Vec<Field>,
    /// The records.
    pub records: Vec<Record>,
    /// The split of each, if it was drawn before; otherwise none.
    pub splits: Vec<Split>,
    /// Tags of a stream that no rule describes, beside `device`.
    pub tags: Vec<(String, String)>,
    /// Which rows of a file these are, so that none is stored twice; `None`: store them whatever was stored.
    pub rows: Option<FileRows>,
}

/// How far a batch brings a file; rows are known by the line on which they begin, or in a file without lines by
/// their number, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRows {
    /// Hash of the file's content.
    pub content: u128,
    /// How far it was before.
    pub from: Imported,
    /// How far it is then: up to the last row of the batch, with those that are not for this stream or were
    /// refused.
    pub to: Imported,
}

/// Names a file that is imported into a stream.
fn key(content: u128, stream: &str) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&content.to_le_bytes());
    hash.update(stream.as_bytes());
    hash.digest128()
}

impl ImportBatch {
    /// Bytes a record adds to a batch: its values, and two for each.
    pub fn weight(record: &Record) -> usize {
        record.bytes() + 2 * record.values.len()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: usize = self.records.iter().map(Self::weight).sum();
        // The record that reaches the bound is still in it.
        let bytes_max = BATCH_BYTES_MAX + RECORD_BYTES_MAX + 2 * FIELDS_MAX;
        if self.records.len() > BATCH_RECORDS_MAX || bytes > bytes_max {
            return Err(format!(
                "a batch of {} records and {bytes} bytes; the most are {BATCH_RECORDS_MAX} and \
                 {BATCH_BYTES_MAX}",
                self.records.len()
            ));
        }
        if !self.splits.is_empty() && self.splits.len() != self.records.len() {
            return Err("not one split a record".into());
        }
        let is_tag =
            |text: &String| text.len() <= CAPTURE_BYTES_MAX && hostile_part(text).is_none();
        if self.tags.len() > TAGS_MAX
            || !self
                .tags
                .iter()
                .all(|(name, value)| is_field_name(name) && (value.is_empty() || is_tag(value)))
        {
            return Err("a tag that no stream may have".into());
        }
        if let Some(field) = self.fields.iter().find(|field| !is_field_name(&field.name)) {
            return Err(format!("no field may be called {:?}", field.name));
        }
        for record in &self.records {
            let fits = |(position, value): (usize, &Value)| {
                let field = self.fields.get(position);
                field.is_some_and(|field| field.kind == value.kind())
            };
            if !record.values.iter().all(fits) {
                return Err("a record does not fit its fields".into());
            }
            record.check_size().map_err(|reject| reject.to_string())?;
        }
        Ok(())
    }
}

/// What an import has to fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The schema as it is, or as its stream rule declares it.
    pub schema: Schema,
    /// Whether fields may be added.
    pub infer: bool,
    /// Most fields it may have.
    pub fields_max: usize,
    /// Rows of the file that this stream has had, and of others up to there.
    pub done: Imported,
}

/// Tells what an import into a stream has to fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTarget {
    /// Name of the stream.
    pub stream: String,
    /// Hash of the file's content, if it is to be known what of it is stored.
    pub content: Option<u128>,
}

impl Operation for ImportTarget {
    type Answer = Target;
    const NEED: Need = Need::Writer;

    fn into_request(self) -> Request {
        Request::Target(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Target, OperationError> {
        let mut target = target(&parts.buffer, &parts.rules, &self.stream)?;
        if let Some(content) = self.content {
            let key = key(content, &self.stream);
            let (imported, told) = mpsc::channel();
            ask(parts, RequestContent::Imported { key, imported }, listener)?;
            target.done = told.try_recv().unwrap_or_default();
        }
        Ok(target)
    }
}

impl Operation for ImportBatch {
    type Answer = u64;
    const NEED: Need = Need::Writer;

    fn into_request(self) -> Request {
        Request::Import(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<u64, OperationError> {
        import(parts, self, listener)
    }
}

/// What an import into `stream` has to fit.
fn target(buffer: &Buffer, rules: &[StreamRule], stream: &str) -> Result<Target, OperationError> {
    let asked = |what: String| OperationError::Asked(format!("--stream {stream:?}: {what}"));
    if let Some(what) = hostile_part(stream) {
        return Err(asked(format!("{what} in the name")));
    }
    if stream.contains(['+', '#', '*', '?']) {
        return Err(asked("name one stream, without wildcards".into()));
    }
    let is_level = |level: &str| (1..=CAPTURE_BYTES_MAX).contains(&level.len());
    if !stream.split('/').all(is_level) || stream.len() > 512 {
        return Err(asked(format!(
            "write NAME or NAME/TAG/..., each of 1 to {CAPTURE_BYTES_MAX} bytes"
        )));
    }
    let catalog = buffer.catalog();
    let known = catalog.meant(stream);
    let known = known.and_then(|stream| catalog.schema(stream.schema));
    let name = known.map_or_else(
        || stream.split('/').next().unwrap_or(stream),
        |schema| schema.name.as_str(),
    );
    let rule = rules.iter().find(|rule| rule.name == name);
    if let (None, Some(rule)) = (known, rule) {
        let tags = rule.filter.tag_names();
        if stream.split('/').count() != tags.len() + 1 {
            let pattern = [name].into_iter().chain(tags.iter().map(String::as_str));
            return Err(asked(format!(
                "streams of \"{name}\" are called {}, each tag with its value",
                pattern.collect::<Vec<_>>().join("/")
            )));
        }
    }
    let declared = || Schema {
        id: 0,
        name: name.to_owned(),
        tag_names: Vec::new(),
        fields: rule.map_or_else(Vec::new, |rule| {
            rule.fields.iter().map(|d| d.field.clone()).collect()
        }),
        origins: Vec::new(),
    };
    let schema = known.or_else(|| catalog.schema_named(name));
    Ok(Target {
        schema: schema.map_or_else(declared, |schema| Schema::clone(schema)),
        infer: rule.is_none_or(|rule| rule.infer),
        fields_max: rule.map_or(256, |rule| rule.fields_max),
        done: Imported::default(),
    })
}

/// Stores a batch; returns the number of records once they are durable.
fn import(
    parts: &OperationParts,
    batch: ImportBatch,
    listener: &mut dyn Listener,
) -> Result<u64, OperationError> {
    batch.check().map_err(OperationError::Asked)?;
    let target = target(&parts.buffer, &parts.rules, &batch.stream)?;
    let rows = batch.rows.map(|rows| ImportedRows {
        key: key(rows.content, &batch.stream),
        from: rows.from,
        to: rows.to,
    });
    let content = RequestContent::Records {
        schema: target.schema.name,
        stream: batch.stream,
        tags: batch.tags,
        fields: batch.fields,
        records: batch.records,
        file: FromFile {
            splits: batch.splits,
            rows,
        },
    };
    ask(parts, content, listener)
}

/// Has the writer do something, and waits until it is durable.
fn ask(
    parts: &OperationParts,
    content: RequestContent,
    listener: &mut dyn Listener,
) -> Result<u64, OperationError> {
    let writer = parts.writer()?;
    let reply = send(writer, content)?;
    let stored = wait(writer, &reply, listener)?;
    stored.map_err(|refused| match refused {
        Refused::Transient(why) => OperationError::Failed(why),
        Refused::Permanent(why) => OperationError::Asked(why),
    })
}

/// Hands something to the writer.
pub(super) fn send(
    writer: &WriterEnd,
    content: RequestContent,
) -> Result<mpsc::Receiver<Answer>, OperationError> {
    let (reply, answer) = mpsc::channel();
    let sent = writer.requests.send(writer::Request { content, reply });
    sent.map_err(|_| OperationError::Failed("the writer has stopped; see the log".into()))?;
    Ok(answer)
}

/// Waits until it is durable; as long as it takes where uploads make room.
pub(super) fn wait(
    writer: &WriterEnd,
    answer: &mpsc::Receiver<Answer>,
    listener: &mut dyn Listener,
) -> Result<Answer, OperationError> {
    let mut full_since = None;
    loop {
        match answer.recv_timeout(ALIVE_GAP) {
            Ok(answer) => return Ok(answer),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                listener.progress(0, 0).map_err(OperationError::failed)?;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(OperationError::Failed(
                    "the writer stopped before the records were durable; see the log".into(),
                ));
            }
        }
        if !is_stalled(writer) {
            full_since = None;
        } else if !writer.drains
            && full_since.get_or_insert_with(Instant::now).elapsed() >= FULL_WAIT_MAX
        {
            return Err(OperationError::Failed(
                "the buffer is full (buffer.bytes_max, or the disk) and nothing is uploaded while \
                 no agent runs; start it with `dunlin run`, then try again"
                    .into(),
            ));
        }
    }
}

fn is_stalled(writer: &WriterEnd) -> bool {
    writer.stats.stalled.load(Relaxed)
}
