//! Payload bytes in, typed records out. Pure: no clock, no input or output, no state between calls.
//!
//! Promises
//! - one malformed record and the whole publish is refused, with one [`Reason`] and how many records it
//!   held, so that received = decoded + refused to the record; a value that does not fit its field is left
//!   out alone and named in [`Misfits`], unless the rule refuses the publish then;
//! - any bytes at all end in a [`Decoded`] or a [`Reject`], never a panic, and what comes out is bounded
//!   by [`RECORDS_MAX`], [`RECORD_BYTES_MAX`](dunlin_sync::block::builder::RECORD_BYTES_MAX) and [`CELLS_MAX`];
//! - a name that comes out holds no quote or back-tick, and neither a name nor a text a NUL or another
//!   control character, but for the tabs and line breaks of a text;
//! - a field keeps its type from the moment a value of it is stored; what comes with another type goes to a
//!   second column beside it, if it is declared so, or if nobody has declared it and it comes early;
//! - the work is in proportion to the payload's bytes, whatever is in them.
//!
//! Where a field lies is written as a path: the keys from the record down, joined with `.`, array
//! elements by their number from 0 (`spindle.axis.0`). The JSON pointer `/spindle/axis/0` is the same
//! path. With `infer`, what is not declared is taken under its path as its name.

use std::borrow::Cow;

pub use dunlin_sync::second_field::FIELD_NAME_BYTES_MAX;
use dunlin_sync::{
    block::builder::check_size,
    sample::{Field, FieldType, RecordValues, Schema},
};

pub(crate) use crate::base::text::quoted;
use crate::config::settings::{Compression, PayloadFormat, Pointer, StreamRule};

mod builder;
mod cbor;
mod csv;
mod float;
pub mod infer;
mod inflate;
mod influx;
mod json;
mod misfits;
mod msgpack;
mod names;
mod reason;
mod samples;
mod scalar;
mod scan;
mod senml;
mod shaped;
mod sparkplug;
mod tag_objects;
mod tape;
pub(crate) mod tree;
mod value;

#[cfg(test)]
pub(crate) mod tests;

use builder::Builder;
pub use misfits::{FieldMisfit, Misfits, Missing};
pub use names::is_field_name;
pub use reason::{Reason, Reject};
pub(crate) use sparkplug::{Sessions, rebirth_request};
pub(crate) use value::Cell;

/// Most records in one publish.
pub const RECORDS_MAX: usize = 10_000;
/// Most samples of a burst, each a record.
pub const SAMPLES_MAX: usize = 65_536;
/// Most values over all records of one publish.
pub const CELLS_MAX: usize = 1 << 20;
/// Deepest nesting of a JSON payload.
pub const NESTING_MAX: usize = 32;

/// A publish, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Fields the schema does not have yet, to be appended to it in this order.
    pub new_fields: Vec<Field>,
    /// Fields of the schema of which nothing has ever been stored, with the type that is declared.
    pub retyped: Vec<Field>,
    /// New fields whose name in the payload is too long for one, and that name.
    pub long_names: Vec<(String, String)>,
    /// Which columns take values of another one's second type, as far as the schema does not say so yet.
    pub seconds: Vec<SecondField>,
    /// Records by the stream they belong to, at least one each; none of a publish of which the rule leaves all
    /// out.
    pub groups: Vec<Group>,
    /// What is missing from them.
    pub misfits: Misfits,
    /// Records beside these that have nothing but what the rule leaves out (`include_fields`, `exclude_fields`).
    pub records_excluded: u64,
}

impl Decoded {
    /// Whether the schema is all that these records need.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.new_fields.is_empty() && self.retyped.is_empty() && self.seconds.is_empty()
    }
}

/// Records of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Values of the rule's payload tags, in their order.
    pub tags: Vec<String>,
    /// Its records, in the order of the payload.
    pub records: Vec<Record>,
}

/// What is to be decoded.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The bytes.
    pub payload: &'a [u8],
    /// Most bytes that a compressed payload may hold.
    pub bytes_max: usize,
    /// What the topic says the field is called (`{field}`).
    pub field: Option<&'a str>,
    /// Only these values, the others being stored already.
    pub wanted: Option<&'a Missing>,
}

impl<'a> Publish<'a> {
    /// All of `payload`, whose topic says nothing about fields.
    pub fn of(payload: &'a [u8]) -> Self {
        Self {
            payload,
            bytes_max: payload.len(),
            field: None,
            wanted: None,
        }
    }
}

/// A field came with a second type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondField {
    /// Its name.
    pub field: String,
    /// The type it is held as.
    pub held: FieldType,
    /// The field that takes the others.
    pub second: String,
    /// Their type.
    pub kind: FieldType,
}

/// One record, without a timestamp of ours yet.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// The time its source claims, nanoseconds UTC.
    pub source_ts: Option<i64>,
    /// Its values, by position among the fields of the schema followed by the new ones.
    pub values: RecordValues,
}

impl Record {
    /// Bytes this record takes in a block before compression.
    pub fn bytes(&self) -> usize {
        self.values.record_bytes()
    }

    /// Whether it can be stored, as far as its size goes.
    pub(crate) fn check_size(&self) -> Result<(), Reject> {
        Ok(check_size(&self.values)?)
    }
}

/// Decodes one publish by `rule`. `schema` is what the stream's schema holds so far; `None` before its
/// first record, when the declared fields come first among the new ones.
///
/// Without a clock, a `SenML` time relative to now leaves `source_ts` empty.
///
/// # Errors
/// [`Reject`] for a publish that must go to quarantine as a whole.
pub fn decode(
    rule: &StreamRule,
    schema: Option<&Schema>,
    publish: Publish<'_>,
) -> Result<Decoded, Reject> {
    let compression = match (rule.format, rule.compression) {
        // Samples may begin with any bytes.
        (PayloadFormat::Raw, Compression::Auto) => Compression::None,
        (_, compression) => compression,
    };
    let inflated = inflate::decompressed(publish.payload, compression, publish.bytes_max)?;
    let payload = &*inflated;
    // In place: what it holds is not small.
    let mut builder = Builder::new(rule, schema, publish.wanted);
    let mut decoded = decode_payload(rule, payload, publish.field, &mut builder);
    if builder.is_too_wide() {
        builder = Builder::new(rule, schema, publish.wanted);
        builder.take_no_spare();
        decoded = decode_payload(rule, payload, publish.field, &mut builder);
    }
    let begun = builder.begun();
    let decoded = match decoded {
        Ok(()) => builder.finish(),
        Err(reject) => Err(builder.advised(reject)),
    };
    decoded.map_err(|reject| with_count(rule, reject, begun, payload))
}

/// Records, or why there are none, and what has been announced.
type Announced<'t> = (Result<Decoded, Reject>, sparkplug::Change<'t>);

/// As [`decode`] for Sparkplug B, whose payloads need the topic and what was announced before; also what to
/// remember, whether its records are taken or not. `None`: a message of no interest.
pub(crate) fn decode_sparkplug<'t>(
    rule: &StreamRule,
    schema: Option<&Schema>,
    publish: Publish<'_>,
    topic: &'t str,
    sessions: &Sessions,
) -> Result<Option<Announced<'t>>, Reject> {
    let inflated = inflate::decompressed(publish.payload, rule.compression, publish.bytes_max)?;
    let mut builder = Builder::new(rule, schema, publish.wanted);
    let mut decoded = sparkplug::decode(topic, &inflated, sessions, &mut builder)?;
    if builder.is_too_wide() {
        builder = Builder::new(rule, schema, publish.wanted);
        builder.take_no_spare();
        decoded = sparkplug::decode(topic, &inflated, sessions, &mut builder)?;
    }
    let Some((change, put)) = decoded else {
        return Ok(None);
    };
    let is_empty = builder.begun() == 0;
    let decoded = match put {
        Err(reject) => Err(builder.advised(reject)),
        // Nothing but what is about the connection.
        Ok(()) if is_empty => Ok(Decoded::default()),
        Ok(()) => builder.finish(),
    };
    Ok(Some((decoded, change)))
}

fn decode_payload(
    rule: &StreamRule,
    payload: &[u8],
    field: Option<&str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    match (rule.format, &rule.samples) {
        (PayloadFormat::Raw, Some(samples)) => samples::decode_raw(payload, samples, builder),
        (PayloadFormat::Cbor, None) => {
            shaped::decode(cbor::tape_of_cbor(payload)?.root(), field, builder)
        }
        (PayloadFormat::Cbor, Some(samples)) => {
            samples::decode(cbor::tape_of_cbor(payload)?.root(), samples, builder)
        }
        (PayloadFormat::MessagePack, None) => {
            shaped::decode(msgpack::tape_of_msgpack(payload)?.root(), field, builder)
        }
        (PayloadFormat::MessagePack, Some(samples)) => {
            samples::decode(msgpack::tape_of_msgpack(payload)?.root(), samples, builder)
        }
        (PayloadFormat::SenMlCbor, _) => {
            senml::decode(cbor::tape_of_cbor(payload)?.root(), builder)
        }
        _ => match std::str::from_utf8(payload) {
            Ok(text) => decode_text(rule, trimmed(text), field, builder),
            Err(error) => Err(Reject::new(
                Reason::NotUtf8,
                format!("byte {} of the payload is not UTF-8", error.valid_up_to()),
            )),
        },
    }
}

fn decode_text(
    rule: &StreamRule,
    text: &str,
    field: Option<&str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    match rule.format {
        PayloadFormat::NdJson => {
            let mut lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
            lines.try_for_each(|line| decode_json(rule, line, field, builder))
        }
        PayloadFormat::Csv { delimiter, header } => csv::decode(text, delimiter, header, builder),
        PayloadFormat::SenMl => senml::decode_text(text, builder),
        PayloadFormat::Influx => influx::decode(text, builder),
        format if format.is_scalar() => scalar::decode(text, field, builder),
        _ => decode_json(rule, text, field, builder),
    }
}

fn decode_json(
    rule: &StreamRule,
    text: &str,
    field: Option<&str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    if let Some(samples) = &rule.samples {
        return samples::decode(json::tape(text)?.root(), samples, builder);
    }
    if rule.records.is_none() && rule.payload_tags.is_empty() {
        return json::decode(text, field, builder);
    }
    shaped::decode(json::tape(text)?.root(), field, builder)
}

/// Adds which record was bad and how many there were. Only for publishes that are refused anyway, so
/// it may read the payload again.
#[cold]
fn with_count(rule: &StreamRule, mut reject: Reject, begun: usize, payload: &[u8]) -> Reject {
    let text = String::from_utf8_lossy(payload);
    let text = trimmed(&text);
    let items = |tape: Result<tape::Tape<'_>, Reject>| {
        tape.map_or(0, |tape| tape.root().items().count()) as u64
    };
    let records = match rule.format {
        _ if rule.samples.is_some() => begun as u64,
        PayloadFormat::Json if rule.records.is_none() => json::count(text),
        PayloadFormat::Csv { header, .. } => csv::count(text, header),
        PayloadFormat::SenMl => senml::count(text),
        PayloadFormat::Influx => influx::count(text),
        PayloadFormat::Cbor if rule.records.is_none() => items(cbor::tape_of_cbor(payload)),
        PayloadFormat::MessagePack if rule.records.is_none() => {
            items(msgpack::tape_of_msgpack(payload))
        }
        PayloadFormat::NdJson => {
            let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
            lines.count() as u64
        }
        _ => begun as u64,
    };
    if records > 1 && begun > 0 {
        reject.detail = format!("record {begun}: {}", reject.detail);
    }
    reject.records = records.max(1);
    reject
}

/// Without what devices put around a text: a byte order mark in front, NULs behind.
fn trimmed(text: &str) -> &str {
    without_mark(text).trim_end_matches('\0')
}

/// Without the byte order mark that some editors and spreadsheets put in front.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The dotted path of a JSON pointer; a text without a leading slash is a plain key or column.
pub(crate) fn path_of(pointer: &str) -> Cow<'_, str> {
    let path = pointer.strip_prefix('/').unwrap_or(pointer);
    let has_more = |path: &str| path.bytes().any(|byte| matches!(byte, b'/' | b'~'));
    if path.len() == pointer.len() || !has_more(path) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(Pointer::parse(pointer).0.join("."))
}
