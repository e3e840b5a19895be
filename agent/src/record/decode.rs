//! Payload bytes in, typed records out. Pure: no clock, no input or output, no state between calls.
//!
//! Promises
//! - all or nothing: one bad record and the whole publish is refused, with one [`Reason`] and how many
//!   records it held, so that received = decoded + refused to the record;
//! - any bytes at all end in a [`Decoded`] or a [`Reject`], never a panic, and what comes out is bounded
//!   by [`RECORDS_MAX`], [`RECORD_BYTES_MAX`](dunlin_sync::block::builder::RECORD_BYTES_MAX) and [`CELLS_MAX`];
//! - a text that comes out holds no quote, back-tick, NUL or other control character;
//! - a field keeps its type from the moment it is declared or first seen; what comes with another type,
//!   and was not declared, goes to a second field beside it;
//! - the work is in proportion to the payload's bytes, whatever is in them.
//!
//! Where a field lies is written as a path: the keys from the record down, joined with `.`, array
//! elements by their number from 0 (`spindle.axis.0`). The JSON pointer `/spindle/axis/0` is the same
//! path. With `infer`, what is not declared is taken under its path as its name.

use std::{borrow::Cow, fmt};

pub use dunlin_sync::second_field::FIELD_NAME_BYTES_MAX;
use dunlin_sync::{
    block::builder::{PushError, check_size},
    sample::{Field, FieldType, RecordValues, Schema},
};

use crate::config::settings::{PayloadFormat, StreamRule};

mod builder;
mod csv;
mod float;
pub mod infer;
mod json;
mod number;
mod scan;
mod senml;
mod time;
mod value;

#[cfg(test)]
pub(crate) mod tests;

use builder::Builder;

/// Most records in one publish.
pub const RECORDS_MAX: usize = 10_000;
/// Most values over all records of one publish.
pub const CELLS_MAX: usize = 1 << 20;
/// Deepest nesting of a JSON payload.
pub const NESTING_MAX: usize = 32;

/// A publish, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Fields the schema does not have yet, to be appended to it in this order.
    pub new_fields: Vec<Field>,
    /// Those of the new ones that take values of a second type.
    pub seconds: Vec<SecondField>,
    /// At least one record.
    pub records: Vec<Record>,
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

/// Why a publish went to quarantine. The names are stable: counters and files use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not a JSON object or array of objects, or a field is in one object twice.
    NotJson,
    /// Not UTF-8.
    NotUtf8,
    /// Not one bare number.
    NotNumber,
    /// Not CSV, or lines of different widths.
    NotCsv,
    /// Not `SenML` (RFC 8428).
    NotSenml,
    /// A value that does not fit the type its field is held as.
    WrongType,
    /// NaN or infinity where the rule refuses them.
    Nan,
    /// More payload bytes than allowed.
    TooLarge,
    /// No stream rule takes the topic.
    UnknownTopic,
    /// A topic no stream may be named after.
    BadTopic,
    /// A required field is missing.
    MissingField,
    /// More fields than the schema may grow to.
    TooManyFields,
    /// A text with a quote, a back-tick, a NUL or another control character.
    BadText,
    /// A source time that is no time, or outside 1677..=2262.
    BadTime,
    /// A field whose name is empty, too long, holds quotes or control characters, or is taken.
    BadFieldName,
    /// Nothing in it.
    Empty,
    /// More than [`RECORDS_MAX`] records, or than [`CELLS_MAX`] values.
    TooManyRecords,
    /// A record of more bytes or values than a block can take.
    RecordTooLarge,
    /// More streams than the catalog may grow to.
    TooManyStreams,
}

impl Reason {
    /// Every reason, for counters that start at 0.
    pub const ALL: [Self; 19] = [
        Self::NotJson,
        Self::NotUtf8,
        Self::NotNumber,
        Self::NotCsv,
        Self::NotSenml,
        Self::WrongType,
        Self::Nan,
        Self::TooLarge,
        Self::UnknownTopic,
        Self::BadTopic,
        Self::MissingField,
        Self::TooManyFields,
        Self::BadText,
        Self::BadTime,
        Self::BadFieldName,
        Self::Empty,
        Self::TooManyRecords,
        Self::RecordTooLarge,
        Self::TooManyStreams,
    ];

    /// Its stable name, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotUtf8 => "not_utf8",
            Self::NotNumber => "not_number",
            Self::NotCsv => "not_csv",
            Self::NotSenml => "not_senml",
            Self::WrongType => "wrong_type",
            Self::Nan => "nan",
            Self::TooLarge => "too_large",
            Self::UnknownTopic => "unknown_topic",
            Self::BadTopic => "bad_topic",
            Self::MissingField => "missing_field",
            Self::TooManyFields => "too_many_fields",
            Self::BadText => "bad_text",
            Self::BadTime => "bad_time",
            Self::BadFieldName => "bad_field_name",
            Self::Empty => "empty",
            Self::TooManyRecords => "too_many_records",
            Self::RecordTooLarge => "record_too_large",
            Self::TooManyStreams => "too_many_streams",
        }
    }
}

impl Reason {
    /// The reason with this stable name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// What would help, in short.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotJson | Self::NotUtf8 | Self::NotNumber | Self::NotCsv | Self::NotSenml => {
                "send what the rule's `format` says, or change it to what is sent"
            }
            Self::WrongType => {
                "a field keeps the type it had first: send that, declare the field with another type \
                 under another name, or give the stream rule another name"
            }
            Self::Nan => "leave the value out, or let the rule take it (`nan`)",
            Self::TooLarge => "send less at once, or raise mqtt.payload_bytes_max",
            Self::UnknownTopic => "add a [[stream]] rule for the topic, or subscribe to less",
            Self::BadTopic => "publish on a topic without quotes, control characters and `..`",
            Self::MissingField => "send the field, or do not require it",
            Self::TooManyFields => "raise the rule's fields_max, or declare the fields that matter",
            Self::BadText => "send texts without quotes and control characters",
            Self::BadTime => "send times as the rule's time format says",
            Self::BadFieldName => "rename the field",
            Self::Empty => "send at least one value",
            Self::TooManyRecords | Self::RecordTooLarge => "send less at once",
            Self::TooManyStreams => "capture less of the topic as tags",
            #[allow(unreachable_patterns)] // Those that are added later.
            _ => "look at it: dunlin quarantine list",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A publish that goes to quarantine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// What kind of bad.
    pub reason: Reason,
    /// What and where, for people; bounded, printable, never the whole payload.
    pub detail: String,
    /// Records the publish held, as far as they can be counted; at least 1.
    pub records: u64,
}

impl Reject {
    /// A refusal of one record.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            records: 1,
        }
    }
}

impl From<PushError> for Reject {
    fn from(error: PushError) -> Self {
        let reason = match error {
            PushError::TooLarge { .. } => Reason::RecordTooLarge,
            PushError::WrongType { .. } | PushError::NoField { .. } => Reason::WrongType,
        };
        Self::new(reason, error.to_string())
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
    payload: &[u8],
) -> Result<Decoded, Reject> {
    let mut builder = Builder::new(rule, schema);
    let decoded = match std::str::from_utf8(payload) {
        Ok(text) => decode_text(rule, text, &mut builder),
        Err(error) => Err(Reject::new(
            Reason::NotUtf8,
            format!("byte {} of the payload is not UTF-8", error.valid_up_to()),
        )),
    };
    match decoded {
        Ok(()) => Ok(builder.finish()),
        Err(reject) => Err(with_count(rule, reject, &builder, payload)),
    }
}

fn decode_text<'a>(
    rule: &'a StreamRule,
    text: &'a str,
    builder: &mut Builder<'a>,
) -> Result<(), Reject> {
    let text = without_mark(text);
    match rule.format {
        PayloadFormat::Json => json::decode(text, builder),
        PayloadFormat::Number => number::decode(text, builder),
        PayloadFormat::Csv { delimiter, header } => csv::decode(text, delimiter, header, builder),
        PayloadFormat::SenMl => senml::decode(text, builder),
    }
}

/// Adds which record was bad and how many there were. Only for publishes that are refused anyway, so
/// it may read the payload again.
#[cold]
fn with_count(
    rule: &StreamRule,
    mut reject: Reject,
    builder: &Builder<'_>,
    payload: &[u8],
) -> Reject {
    let text = String::from_utf8_lossy(payload);
    let records = match rule.format {
        PayloadFormat::Json => json::count(&text),
        PayloadFormat::Number => 1,
        PayloadFormat::Csv { header, .. } => csv::count(&text, header),
        PayloadFormat::SenMl => senml::count(&text),
    };
    if records > 1 && builder.begun() > 0 {
        reject.detail = format!("record {}: {}", builder.begun(), reject.detail);
    }
    reject.records = records.max(1);
    reject
}

/// Without the byte order mark that some editors and spreadsheets put in front.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The dotted path of a JSON pointer; a text without a leading slash is a plain key or column.
pub(crate) fn path_of(pointer: &str) -> Cow<'_, str> {
    let Some(path) = pointer.strip_prefix('/') else {
        return Cow::Borrowed(pointer);
    };
    if !path.contains(['/', '~']) {
        return Cow::Borrowed(path);
    }
    let keys: Vec<String> = path
        .split('/')
        .map(|key| key.replace("~1", "/").replace("~0", "~"))
        .collect();
    Cow::Owned(keys.join("."))
}

/// Whether a field may be called this: 1..=64 bytes without control characters, quotes or back-ticks.
pub fn is_field_name(name: &str) -> bool {
    (1..=FIELD_NAME_BYTES_MAX).contains(&name.len()) && value::is_clean(name)
}

/// Text from the network made fit for a log line: escaped, at most 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("`");
    let mut characters = text.chars();
    for character in characters.by_ref().take(64) {
        quoted.extend(character.escape_debug());
    }
    if characters.next().is_some() {
        quoted.push_str("...");
    }
    quoted.push('`');
    quoted
}
