//! Taking in records that somebody had in a file: the same splits and timestamps as over MQTT.

use std::{
    sync::{atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::builder::{FIELDS_MAX, RECORD_BYTES_MAX},
    buffer::Buffer,
    sample::{Field, Schema, Value},
};
use serde::{Deserialize, Serialize};

use super::{Listener, Need, Operation, OperationError, OperationParts, Request, WriterEnd};
use crate::{
    config::settings::StreamRule,
    record::{
        decode::{Record, is_field_name},
        route::CAPTURE_BYTES_MAX,
        writer::{self, Answer, Refused, RequestContent},
    },
    topic::hostile_part,
};

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 2_000;
/// Most bytes of records in one batch, as [`ImportBatch::weight`] counts them.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;
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
}

/// Tells what an import into a stream has to fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTarget {
    /// Name of the stream.
    pub stream: String,
}

impl Operation for ImportTarget {
    type Answer = Target;
    const NEED: Need = Need::Writer;

    fn into_request(self) -> Request {
        Request::Target(self)
    }

    fn run(self, parts: &OperationParts, _: &mut dyn Listener) -> Result<Target, OperationError> {
        target(&parts.buffer, &parts.rules, &self.stream)
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
    };
    let schema = known.or_else(|| catalog.schema_named(name));
    Ok(Target {
        schema: schema.map_or_else(declared, |schema| Schema::clone(schema)),
        infer: rule.is_none_or(|rule| rule.infer),
        fields_max: rule.map_or(256, |rule| rule.fields_max),
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
    let content = RequestContent::Records {
        schema: target.schema.name,
        stream: batch.stream,
        tags: Vec::new(),
        fields: batch.fields,
        records: batch.records,
    };
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
