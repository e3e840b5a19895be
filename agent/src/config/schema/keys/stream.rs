//! `[[stream]]`: what to take, how to read it, how to split it.

use std::time::Duration;

use dunlin_sync::block::builder;

use crate::config::{
    schema::{
        key::{Key, OptionalKey},
        kind::{choice, count_of_seconds, flag, integer, other, real, seconds, text, texts},
        setting::{DefaultValue, Setting},
    },
    settings::{
        Compression, DEVICE_STREAMS_MAX, NanPolicy, OnMisfit, PayloadFormat, RetainedPolicy,
        SampleType, SplitRule, TimeUnit,
    },
};

pub(in crate::config) const NAME: OptionalKey<String> = OptionalKey::new(
    "stream.name",
    text(1, 64),
    DefaultValue::Required("vibration"),
    "Name of the table.",
);
pub(in crate::config) const TOPIC: OptionalKey<String> = OptionalKey::new(
    "stream.topic",
    text(1, 1024),
    DefaultValue::Required("plant/+line/+machine/vibration"),
    "+ stands for one level and # for the rest; a name behind it makes the level a tag.\n\
     {field} is a level that names the field, #{field} all levels from there on.",
);
pub(in crate::config) const EXCLUDE: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.exclude",
    texts(1024),
    DefaultValue::Unset("[\"zigbee2mqtt/bridge/#\"]"),
    "Topics among these that are left alone.",
);
pub(in crate::config) const FORMAT: Key<PayloadFormat> = Key::new(
    "stream.format",
    choice(),
    "json",
    "json: an object, a list of objects or a bare value; ndjson: one a line; number, bool, text or\n\
     scalar (whichever comes): one bare value; csv; senml, senml_cbor (RFC 8428); cbor, msgpack: as\n\
     json; influx: line protocol; sparkplug_b; raw: samples in binary.",
);
pub(in crate::config) const COMPRESSION: Key<Compression> = Key::new(
    "stream.compression",
    choice(),
    "auto",
    "auto (told by the first bytes), none, gzip, zlib or zstd.",
);
pub(in crate::config) const DELIMITER: OptionalKey<()> = OptionalKey::new(
    "stream.delimiter",
    other(),
    DefaultValue::Derived {
        how: "a comma",
        example: "\",\"",
    },
    "For csv: the separator.",
);
pub(in crate::config) const HEADER: Key<bool> = Key::new(
    "stream.header",
    flag(),
    "false",
    "For csv: whether every payload starts with a line of names.",
);
pub(in crate::config) const SAMPLES: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.samples",
    texts(1024),
    DefaultValue::Unset("[\"/x\", \"/y\"]"),
    "Where a burst's samples are, each in a list of numbers or in base 64: one record a sample.",
);
pub(in crate::config) const RATE_HZ: OptionalKey<f64> = OptionalKey::new(
    "stream.rate_hz",
    real(1e-9, 1e9),
    DefaultValue::Unset("25600"),
    "Samples per second; they follow each other from the burst's time on.",
);
pub(in crate::config) const RATE_AT: OptionalKey<String> = OptionalKey::new(
    "stream.rate_at",
    text(1, 1024),
    DefaultValue::Unset("/fs"),
    "Where the payload says how many.",
);
pub(in crate::config) const SAMPLE_TYPE: Key<SampleType> = Key::new(
    "stream.sample_type",
    choice(),
    "f32",
    "Of samples in base 64 and raw payloads, little-endian: f32, f64, i16 or i32.",
);
pub(in crate::config) const REDUCE: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.reduce",
    texts(64),
    DefaultValue::Unset("[\"rms\", \"kurtosis\", \"bands\"]"),
    "Features of a burst instead of its samples, a record for each burst: mean, std, rms, peak, peak_to_peak, crest, skewness,\n\
     kurtosis, bands (eight octaves up to half the rate).",
);
pub(in crate::config) const KEEP_SAMPLES: Key<bool> = Key::new(
    "stream.keep_samples",
    flag(),
    "false",
    "With `reduce`: whether the samples are stored as well. Each has a stream of its own then, told apart by\n\
     the tag `part`: samples or features.",
);
pub(in crate::config) const FIELDS: OptionalKey<()> = OptionalKey::new(
    "stream.fields",
    other(),
    DefaultValue::Unset(
        "{ rms = \"f64\", state = { type = \"text\", at = \"/status/state\", required = true } }",
    ),
    "Types: f64, f32, i64, bool, text. `at` is a JSON pointer; `required`: quarantine what lacks it;\n\
     `values`: words that stand for a value; `scale` and `offset`: of numbers; `unit`: may stand behind\n\
     a number; `decimal`: \",\" where that is in front of the fraction.",
);
pub(in crate::config) const RECORDS: OptionalKey<()> = OptionalKey::new(
    "stream.records",
    other(),
    DefaultValue::Unset("{ at = \"/values\", name = \"/id\", value = \"/v\", quality = \"/q\" }"),
    "For json, cbor and msgpack: where the records lie in a payload, as \"/data\" or a table. With `value`, objects are\n\
     single values, called as `name` says, or by their keys. A key that is + stands for each, +name\n\
     makes it a tag. `good` lists what `quality` says of good values.",
);
pub(in crate::config) const INFER: Key<bool> = Key::new(
    "stream.infer",
    flag(),
    "true",
    "Whether fields that are not declared are taken too.",
);
pub(in crate::config) const INFER_RECORDS: Key<u32> = Key::new(
    "stream.infer_records",
    integer(1, 1_000_000),
    "8",
    "Of a field that is not declared: values within which one of another kind (number, flag, text) opens a\n\
     second column for it. Later ones follow `on_misfit`.",
);
pub(in crate::config) const INCLUDE_FIELDS: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.include_fields",
    texts(256),
    DefaultValue::Unset("[\"ENERGY.*\"]"),
    "Of fields that are not declared, those alone; * stands for anything.",
);
pub(in crate::config) const EXCLUDE_FIELDS: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.exclude_fields",
    texts(256),
    DefaultValue::Unset("[\"update.*\"]"),
    "Of fields that are not declared, those not.",
);
pub(in crate::config) const TIME: OptionalKey<String> = OptionalKey::new(
    "stream.time",
    text(1, 1024),
    DefaultValue::Unset("/time"),
    "Where the record has its own time.",
);
pub(in crate::config) const TIME_UNIT: OptionalKey<TimeUnit> = OptionalKey::new(
    "stream.time_unit",
    choice(),
    DefaultValue::Derived {
        how: "told by its size",
        example: "ms",
    },
    "Unit of that time as a number: s, ms, us or ns.",
);
pub(in crate::config) const TIME_ZONE: OptionalKey<String> = OptionalKey::new(
    "stream.time_zone",
    text(1, 128),
    DefaultValue::Unset("local"),
    "Zone of times written without one: local, UTC, +02:00 or Europe/Berlin. Of an hour that comes\n\
     twice the first is meant; one that is skipped is moved ahead.",
);
pub(in crate::config) const TIME_FORMAT: OptionalKey<String> = OptionalKey::new(
    "stream.time_format",
    text(1, 128),
    DefaultValue::Unset("%d.%m.%Y %H:%M:%S"),
    "How times are written, as for strptime.",
);
pub(in crate::config) const TIME_MIN: OptionalKey<()> = OptionalKey::new(
    "stream.time_min",
    other(),
    DefaultValue::Derived {
        how: "2000-01-01",
        example: "\"2000-01-01\"",
    },
    "A time before this is left out, and counted.",
);
/// Up to a hundred years.
pub(in crate::config) const TIME_MAX_AHEAD: Key<Duration> = Key::new(
    "stream.time_max_ahead",
    seconds(0, 100 * 366 * 86_400),
    "1 d",
    "A time further ahead of a synchronised clock is left out, and counted.",
);
pub(in crate::config) const TAGS: OptionalKey<()> = OptionalKey::new(
    "stream.tags",
    other(),
    DefaultValue::Unset("{ plant = \"north\", cpu = { at = \"/tags/cpu\" } }"),
    "Tags besides the device and what the topic captures. `at` is a JSON pointer: records that differ\n\
     there are of different streams.",
);
pub(in crate::config) const NAN: Key<NanPolicy> = Key::new(
    "stream.nan",
    choice(),
    "missing",
    "NaN and infinity: missing, or refuse (as what does not fit).",
);
pub(in crate::config) const MISSING: OptionalKey<Vec<String>> = OptionalKey::new(
    "stream.missing",
    texts(64),
    DefaultValue::Derived {
        how: "unavailable, unknown, none, null, nil, nan, n/a, na, -",
        example: "[\"unavailable\", \"---\"]",
    },
    "Words that say there is no value.",
);
pub(in crate::config) const ON_MISFIT: Key<OnMisfit> = Key::new(
    "stream.on_misfit",
    choice(),
    "missing",
    "A value that does not fit its field is missing (and the payload in quarantine as well), or the\n\
     whole publish is refused.",
);
pub(in crate::config) const RETAINED: Key<RetainedPolicy> = Key::new(
    "stream.retained",
    choice(),
    "once",
    "What the broker has retained: once (not again with the payload stored last from its topic),\n\
     ignore or always.",
);
pub(in crate::config) const REBIRTH_REQUESTS: Key<bool> = Key::new(
    "stream.rebirth_requests",
    flag(),
    "false",
    "For sparkplug_b: whether an edge node whose births or messages are missing is told to announce itself\n\
     again (an NCMD with Node Control/Rebirth, at most once a minute each, less often where it does not\n\
     help, and ten a second over all).",
);
/// A record may have a value for each of them.
pub(in crate::config) const FIELDS_MAX: Key<usize> = Key::new(
    "stream.fields_max",
    integer(1, builder::FIELDS_MAX as u64),
    "256",
    "Most fields a table may grow to, 1 to 4096. Those that are declared always have room, and those that\n\
     `exclude_fields` leaves out do not count. Publishes that begin at most 16 new ones may have a quarter as\n\
     many more, so that one wide document does not keep out what comes after it.",
);
pub(in crate::config) const INSTANCES_MAX: OptionalKey<usize> = OptionalKey::new(
    "stream.instances_max",
    integer(1, DEVICE_STREAMS_MAX as u64),
    DefaultValue::Unset("500"),
    "Most streams (machines) that may be made of it; one more goes to quarantine.",
);
pub(in crate::config) const SPLIT: OptionalKey<()> = OptionalKey::new(
    "stream.split",
    other(),
    DefaultValue::Derived {
        how: "random, train = 0.8",
        example: "{ method = \"random\", train = 0.8 }",
    },
    "Which records train and which validate, drawn once for each.\n\
     \x20 { method = \"random\", train = 0.8, seed = 7 }   each for itself\n\
     \x20 { method = \"hash\", train = 0.8 }               a function of stream and timestamp\n\
     \x20 { method = \"block\", train = 0.8, run_s = 60 }  whole minutes, so that neighbours do not leak\n\
     \x20 { method = \"kfold\", k = 5 }                    a fold number for cross-validation",
);

/// All of them, in the order in which people meet them.
pub(in crate::config) static STREAM: &[Setting] = &[
    NAME.setting,
    TOPIC.setting,
    EXCLUDE.setting,
    FORMAT.setting,
    COMPRESSION.setting,
    DELIMITER.setting,
    HEADER.setting,
    RECORDS.setting,
    SAMPLES.setting,
    RATE_HZ.setting,
    RATE_AT.setting,
    SAMPLE_TYPE.setting,
    REDUCE.setting,
    KEEP_SAMPLES.setting,
    FIELDS.setting,
    INFER.setting,
    INFER_RECORDS.setting,
    INCLUDE_FIELDS.setting,
    EXCLUDE_FIELDS.setting,
    TIME.setting,
    TIME_UNIT.setting,
    TIME_ZONE.setting,
    TIME_FORMAT.setting,
    TIME_MIN.setting,
    TIME_MAX_AHEAD.setting,
    TAGS.setting,
    NAN.setting,
    MISSING.setting,
    ON_MISFIT.setting,
    RETAINED.setting,
    REBIRTH_REQUESTS.setting,
    FIELDS_MAX.setting,
    INSTANCES_MAX.setting,
    SPLIT.setting,
];

/// `split = { .. }`.
pub(in crate::config) mod split {
    use super::{
        DefaultValue, Key, OptionalKey, SplitRule, choice, count_of_seconds, integer, real,
    };

    pub(in crate::config) const METHOD: OptionalKey<SplitRule> = OptionalKey::new(
        "stream.split.method",
        choice(),
        DefaultValue::Required("random"),
        "How it is drawn.",
    );
    pub(in crate::config) const TRAIN: Key<f64> = Key::new(
        "stream.split.train",
        real(0.0, 1.0),
        "0.8",
        "Share that trains.",
    );
    pub(in crate::config) const SEED: OptionalKey<u64> = OptionalKey::new(
        "stream.split.seed",
        integer(0, i64::MAX as u64),
        DefaultValue::Unset("7"),
        "Start of the random numbers.",
    );
    pub(in crate::config) const FOLDS: Key<u8> =
        Key::new("stream.split.k", integer(2, 100), "5", "Folds.");
    pub(in crate::config) const RUN_S: Key<u64> = Key::new(
        "stream.split.run_s",
        count_of_seconds(1, 365 * 86_400),
        "60",
        "Length of a run that is drawn as a whole.",
    );
}
