//! What a `[[stream]]` says: which topics, how to read them, how to split them.

mod missing;
mod samples;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use dunlin_sync::sample::{Field, Value};

pub use self::{
    missing::MissingWords,
    samples::{SampleRate, SampleType, SamplesRule},
};
use super::{SplitRule, choice::Choice};
pub use crate::base::{
    source_time::{TimeFormat, TimeRule, TimeUnit, Zone},
    waveform::Feature,
};
use crate::topic::TopicFilter;

/// Payload format of a stream rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// A JSON object, or an array of objects (a batch), told apart by the first byte.
    Json,
    /// JSON texts, one a line.
    NdJson,
    /// One bare number; the field is called `reading` unless one field is declared.
    Number,
    /// One bare word for yes or no.
    Bool,
    /// One text, as it is.
    Text,
    /// One bare value of any type: a number, a word for yes or no, or else a text.
    Scalar,
    /// CSV lines: with a header line, or columns in the order of the declared fields.
    Csv {
        /// Field separator, one byte.
        delimiter: u8,
        /// The first line of every payload names the columns.
        header: bool,
    },
    /// `SenML` JSON (RFC 8428).
    SenMl,
    /// `SenML` CBOR (RFC 8428).
    SenMlCbor,
    /// CBOR (RFC 8949), made of what JSON is made of.
    Cbor,
    /// `MessagePack`, made of what JSON is made of.
    MessagePack,
    /// `InfluxDB` line protocol.
    Influx,
    /// Samples, one behind the other, and nothing else.
    Raw,
    /// Sparkplug B, whose topics say as much as its payloads.
    SparkplugB,
}

/// CSV as it is unless more is said about it.
impl Choice for PayloadFormat {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("json", Self::Json),
        ("ndjson", Self::NdJson),
        ("number", Self::Number),
        ("bool", Self::Bool),
        ("text", Self::Text),
        ("scalar", Self::Scalar),
        (
            "csv",
            Self::Csv {
                delimiter: b',',
                header: false,
            },
        ),
        ("senml", Self::SenMl),
        ("senml_cbor", Self::SenMlCbor),
        ("cbor", Self::Cbor),
        ("msgpack", Self::MessagePack),
        ("influx", Self::Influx),
        ("raw", Self::Raw),
        ("sparkplug_b", Self::SparkplugB),
    ];
}

impl PayloadFormat {
    /// Whether a payload is one value and has no parts.
    pub fn is_scalar(self) -> bool {
        matches!(self, Self::Number | Self::Bool | Self::Text | Self::Scalar)
    }

    /// Whether places in a payload are JSON pointers.
    pub fn has_pointers(self) -> bool {
        matches!(
            self,
            Self::Json | Self::NdJson | Self::Cbor | Self::MessagePack
        )
    }

    /// Whether records carry their time at a place of the format's own.
    pub fn has_own_time(self) -> bool {
        matches!(
            self,
            Self::SenMl | Self::SenMlCbor | Self::Influx | Self::SparkplugB
        )
    }

    /// The tags by which records of different things are told apart unless others are configured, and their
    /// places.
    pub fn own_tags(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SenMl | Self::SenMlCbor => &[("base_name", "/bn")],
            Self::Influx => &[("series", "/series")],
            Self::SparkplugB => &[
                ("sparkplug_group", "/group"),
                ("edge_node", "/edge_node"),
                ("edge_device", "/device"),
            ],
            _ => &[],
        }
    }
}

/// How payloads are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// By the first bytes; without known ones, not at all. What only looks like zlib, as a text may
    /// that begins with `x^`, is taken as it is.
    Auto,
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// zlib, one stream without a preset dictionary.
    Zlib,
    /// zstd, one frame or several, without a dictionary.
    Zstd,
}

impl Choice for Compression {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("none", Self::None),
        ("gzip", Self::Gzip),
        ("zlib", Self::Zlib),
        ("zstd", Self::Zstd),
    ];
}

/// `BySize` has no word: it is what holds without one.
impl Choice for TimeUnit {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("s", Self::Seconds),
        ("ms", Self::Millis),
        ("us", Self::Micros),
        ("ns", Self::Nanos),
    ];
}

/// Which times of a source are believed: 0 and an uptime are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Earliest, nanoseconds UTC.
    pub min_ns: i64,
    /// Furthest ahead of the clock, as long as that is synchronised.
    pub ahead_max: Duration,
}

impl TimeRange {
    /// From 2000-01-01 to a day ahead.
    pub const DEFAULT: Self = Self {
        min_ns: 946_684_800_000_000_000,
        ahead_max: Duration::from_hours(24),
    };

    /// Whether `ns` may be the time of something; `now_ns` is what a synchronised clock says.
    pub fn contains(&self, ns: i64, now_ns: Option<i64>) -> bool {
        let ahead_ns = i64::try_from(self.ahead_max.as_nanos()).unwrap_or(i64::MAX);
        ns >= self.min_ns && now_ns.is_none_or(|now_ns| ns <= now_ns.saturating_add(ahead_ns))
    }
}

/// What to do with NaN and infinite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanPolicy {
    /// They do not fit.
    Refuse,
    /// The value counts as missing.
    Missing,
}

impl Choice for NanPolicy {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("missing", Self::Missing)];
}

/// What to do with a value that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMisfit {
    /// It is missing from its record; the payload goes to quarantine as well.
    Missing,
    /// The whole publish goes to quarantine.
    Refuse,
}

impl Choice for OnMisfit {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("missing", Self::Missing), ("refuse", Self::Refuse)];
}

/// What to do with what a broker has retained and sends (again) to whoever subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedPolicy {
    /// Stored, unless it has the payload that was stored last from its topic.
    Once,
    /// Not stored; what is published while we are subscribed is.
    Ignore,
    /// Stored each time it is sent.
    Always,
}

impl Choice for RetainedPolicy {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("once", Self::Once),
        ("ignore", Self::Ignore),
        ("always", Self::Always),
    ];
}

/// A place in a payload: the keys of a JSON pointer (RFC 6901). Without any, the payload itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer(pub Vec<Box<str>>);

impl Pointer {
    /// Reads `/a/b`; a text without a leading slash is one key.
    pub fn parse(text: &str) -> Self {
        let Some(keys) = text.strip_prefix('/') else {
            let only = (!text.is_empty()).then(|| text.into());
            return Self(only.into_iter().collect());
        };
        if keys.is_empty() {
            return Self::default();
        }
        let unescaped = |key: &str| key.replace("~1", "/").replace("~0", "~").into();
        Self(keys.split('/').map(unescaped).collect())
    }
}

/// One step on the way to the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordStep {
    /// What lies under this key, in each item if there is a list.
    Key(Box<str>),
    /// Each member; its key becomes the payload tag of this number, if it is to be one.
    Each(Option<usize>),
}

/// Where the records of a payload are, and what each is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsAt {
    /// The way to them.
    pub steps: Vec<RecordStep>,
    /// Where in an object the name of its field is; `None` where the object's own key is the name, or the
    /// topic says it.
    pub name: Option<Pointer>,
    /// Where its value is; `None`: objects are whole records.
    pub value: Option<Pointer>,
    /// Where it says how good the value is.
    pub quality: Option<Pointer>,
    /// What it says of good ones, as text; empty for the usual words and numbers.
    pub good: Vec<String>,
}

/// A tag whose value is in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTag {
    /// Its name.
    pub name: String,
    /// Where its value is, in the record or else around it; `None`: the key of a step on the way.
    pub at: Option<Pointer>,
}

/// What is done to the values of a declared field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    /// Numbers are multiplied by this, then [`Conversion::offset`] is added.
    pub scale: Option<f64>,
    /// See there.
    pub offset: Option<f64>,
    /// The unit that may stand behind a number.
    pub unit: Option<String>,
    /// Numbers have a comma before their fraction.
    pub has_decimal_comma: bool,
    /// Words that stand for a value.
    pub words: Vec<(String, Value)>,
}

impl Conversion {
    /// The value that `text` stands for.
    pub fn word(&self, text: &str) -> Option<&Value> {
        let words = || self.words.iter();
        let exact = words().find(|(word, _)| word == text);
        let other = || words().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        exact.or_else(other).map(|(_, value)| value)
    }

    /// The number in `text` as everybody writes it: without its unit, with a point before the fraction.
    pub fn decimal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let unit = self.unit.as_deref().unwrap_or_default();
        let number = text.strip_suffix(unit).unwrap_or(text).trim_end();
        if !self.has_decimal_comma {
            return Cow::Borrowed(number);
        }
        // A point is for thousands then, unless what follows shows that it is not.
        let (whole, _) = number.split_once(',').unwrap_or((number, ""));
        let groups_are_thousands = whole.split('.').skip(1).all(|group| group.len() == 3);
        if groups_are_thousands {
            Cow::Owned(number.replace('.', "").replace(',', "."))
        } else {
            Cow::Borrowed(number)
        }
    }

    /// `value` scaled and offset, if it is a number.
    pub fn scaled(&self, value: Value) -> Value {
        if self.scale.is_none() && self.offset.is_none() {
            return value;
        }
        let (scale, offset) = (self.scale.unwrap_or(1.0), self.offset.unwrap_or(0.0));
        match value {
            Value::F64(number) => Value::F64(number.mul_add(scale, offset)),
            Value::F32(number) => Value::F32(f64::from(number).mul_add(scale, offset) as f32),
            other => other,
        }
    }
}

/// Where a declared field is found, and how it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredField {
    /// Name and type.
    pub field: Field,
    /// JSON pointer (RFC 6901) into the record; `None`: the key of the field's own name.
    /// For CSV with a header: the column's name without the leading slash.
    pub pointer: Option<String>,
    /// A record without it goes to quarantine.
    pub required: bool,
    /// What is done to its values; `None`: nothing.
    pub conversion: Option<Conversion>,
}

/// One `[[stream]]`: which topics, how to read them, how to split them.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRule {
    /// Name of the schema (supertable).
    pub name: String,
    /// Topics, with captures.
    pub filter: TopicFilter,
    /// Topics among these that are not taken; what no other rule takes is left alone.
    pub exclude: Vec<TopicFilter>,
    /// Payload format.
    pub format: PayloadFormat,
    /// What is around it.
    pub compression: Compression,
    /// Where the records are, if a payload is not one record or a list of them.
    pub records: Option<RecordsAt>,
    /// What of a payload is a burst of samples.
    pub samples: Option<SamplesRule>,
    /// Declared fields.
    pub fields: Vec<DeclaredField>,
    /// Whether fields that are not declared are taken too, with inferred types.
    pub infer: bool,
    /// Values of a field that nobody declared within which one of another kind opens a column beside it.
    pub infer_records: u32,
    /// Patterns of the fields that are inferred; empty: all.
    pub include_fields: Vec<String>,
    /// Patterns of fields that are not inferred all the same.
    pub exclude_fields: Vec<String>,
    /// JSON pointer (or CSV column) of the source's own time.
    pub time: Option<String>,
    /// How it is written.
    pub time_rule: TimeRule,
    /// What the source's own time must lie in to be believed.
    pub time_range: TimeRange,
    /// Constant tags besides `device`, the captures and those of the payload.
    pub tags: BTreeMap<String, String>,
    /// Tags from the payload: records that differ there are of different streams.
    pub payload_tags: Vec<PayloadTag>,
    /// NaN and infinity.
    pub nan: NanPolicy,
    /// Words that say that a number or a state is missing.
    pub missing: MissingWords,
    /// Values that do not fit.
    pub on_misfit: OnMisfit,
    /// What the broker sends because it has retained it.
    pub retained: RetainedPolicy,
    /// Edge nodes that have to announce themselves again are told so.
    pub rebirth_requests: bool,
    /// Most fields a schema may grow to.
    pub fields_max: usize,
    /// Most streams of this rule; `None`: as many as the device takes.
    pub instances_max: Option<usize>,
    /// How records are split.
    pub split: SplitRule,
}

impl StreamRule {
    /// Words that say there is no reading, unless others are configured.
    pub const MISSING: [&'static str; 9] = [
        "unavailable",
        "unknown",
        "none",
        "null",
        "nil",
        "nan",
        "n/a",
        "na",
        "-",
    ];

    /// Names of fields and the units that are declared for them.
    pub fn units(&self) -> Vec<(String, String)> {
        let units = self.fields.iter().filter_map(|declared| {
            let unit = declared.conversion.as_ref()?.unit.clone()?;
            Some((declared.field.name.clone(), unit))
        });
        units.collect()
    }

    /// JSON from the topics of `filter`, all else as it is by default.
    pub fn new(name: String, filter: TopicFilter) -> Self {
        Self {
            name,
            filter,
            exclude: Vec::new(),
            format: PayloadFormat::Json,
            compression: Compression::Auto,
            records: None,
            samples: None,
            fields: Vec::new(),
            infer: true,
            infer_records: 8,
            include_fields: Vec::new(),
            exclude_fields: Vec::new(),
            time: None,
            time_rule: TimeRule::of(TimeUnit::BySize),
            time_range: TimeRange::DEFAULT,
            tags: BTreeMap::new(),
            payload_tags: Vec::new(),
            nan: NanPolicy::Missing,
            missing: Self::MISSING.map(str::to_owned).to_vec().into(),
            on_misfit: OnMisfit::Missing,
            retained: RetainedPolicy::Once,
            rebirth_requests: false,
            fields_max: 256,
            instances_max: None,
            split: SplitRule::DEFAULT,
        }
    }
}
