//! Why a publish, or a value of it, is not stored.

use std::fmt;

use dunlin_sync::block::builder::PushError;

/// Why a publish went to quarantine. The names are stable: counters and files use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not a JSON object or array of objects, or a field is in one object twice.
    NotJson,
    /// Not UTF-8.
    NotUtf8,
    /// Not one bare value of the rule's type.
    NotNumber,
    /// Not CSV, or lines of different widths.
    NotCsv,
    /// Not `SenML` (RFC 8428).
    NotSenml,
    /// Not CBOR (RFC 8949).
    NotCbor,
    /// Not `MessagePack`.
    NotMessagePack,
    /// Not `InfluxDB` line protocol.
    NotInflux,
    /// Not a Sparkplug B payload.
    NotSparkplug,
    /// A metric by an alias that no birth has announced.
    UnknownAlias,
    /// More edge nodes or names of metrics than are remembered.
    TooManyNames,
    /// A value that comes with the word that it is bad.
    BadQuality,
    /// Damaged, or not compressed as the rule says.
    BadCompression,
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
    /// A text with a NUL or another control character.
    BadText,
    /// A source time that is no time, or outside 1677..=2262.
    BadTime,
    /// A field whose name is taken.
    BadFieldName,
    /// Nothing in it.
    Empty,
    /// More than [`RECORDS_MAX`](super::RECORDS_MAX) records, or than [`CELLS_MAX`](super::CELLS_MAX) values.
    TooManyRecords,
    /// A record of more bytes or values than a block can take.
    RecordTooLarge,
    /// More streams than the catalog may grow to.
    TooManyStreams,
    /// Objects in a list inside a record, which would become fields by their place in the list.
    ListOfObjects,
}

impl Reason {
    /// Every reason, for counters that start at 0.
    pub const ALL: [Self; 28] = [
        Self::NotJson,
        Self::NotUtf8,
        Self::NotNumber,
        Self::NotCsv,
        Self::NotSenml,
        Self::NotCbor,
        Self::NotMessagePack,
        Self::NotInflux,
        Self::NotSparkplug,
        Self::UnknownAlias,
        Self::TooManyNames,
        Self::BadQuality,
        Self::BadCompression,
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
        Self::ListOfObjects,
    ];

    /// Its stable name, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotUtf8 => "not_utf8",
            Self::NotNumber => "not_number",
            Self::NotCsv => "not_csv",
            Self::NotSenml => "not_senml",
            Self::NotCbor => "not_cbor",
            Self::NotMessagePack => "not_msgpack",
            Self::NotInflux => "not_influx",
            Self::NotSparkplug => "not_sparkplug",
            Self::UnknownAlias => "unknown_alias",
            Self::TooManyNames => "too_many_names",
            Self::BadQuality => "bad_quality",
            Self::BadCompression => "bad_compression",
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
            Self::ListOfObjects => "list_of_objects",
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
            Self::NotJson
            | Self::NotUtf8
            | Self::NotNumber
            | Self::NotCsv
            | Self::NotSenml
            | Self::NotCbor
            | Self::NotMessagePack
            | Self::NotInflux
            | Self::NotSparkplug => {
                "send what the rule's `format` says, or change it to what is sent"
            }
            Self::WrongType => {
                "send what the field's type can hold, declare the field with another type, or say what the \
                 words mean (`values`)"
            }
            Self::UnknownAlias => "have the edge node announce itself again (rebirth)",
            Self::TooManyNames => "take fewer groups or edge nodes",
            Self::BadQuality => "look at the device: it says that the value is bad",
            Self::BadCompression => "send it whole, or set the rule's `compression`",
            Self::Nan => "leave the value out, or let the rule take it (`nan`)",
            Self::TooLarge => "send less at once, or raise mqtt.payload_bytes_max",
            Self::UnknownTopic => "add a [[stream]] rule for the topic, or subscribe to less",
            Self::BadTopic => "publish on a topic without quotes, control characters and `..`",
            Self::MissingField => "send the field, or do not require it",
            Self::TooManyFields => {
                "leave out what is no measurement (`exclude_fields`), declare the fields that matter, or \
                 raise the rule's fields_max"
            }
            Self::BadText => "send texts without control characters",
            Self::BadTime => "send times as the rule's time format says",
            Self::BadFieldName => "rename the field",
            Self::Empty => "send at least one value",
            Self::TooManyRecords | Self::RecordTooLarge => "send less at once",
            Self::TooManyStreams => "capture less of the topic as tags",
            Self::ListOfObjects => {
                "say where the records are (`records`, `name`, `value`), or leave the list out \
                 (`exclude_fields`)"
            }
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
