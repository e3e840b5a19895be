//! `[[recipe]]`: what to learn from which streams. The settings of the built-in recipes are described by
//! [`dunlin_models::recipes::keys`].

use dunlin_models::recipes::Algorithm;

use crate::config::schema::{
    key::{Key, OptionalKey},
    kind::{choice, count_of_millis, flag, integer, other, real, text, texts},
    setting::{DefaultValue, Setting},
};

const COUNT_MAX: u64 = 1_000_000_000;

pub(in crate::config) const NAME: OptionalKey<String> = OptionalKey::new(
    "recipe.name",
    text(1, 32),
    DefaultValue::Required("health"),
    "Lower-case letters, digits and _.",
);
pub(in crate::config) const STREAMS: OptionalKey<String> = OptionalKey::new(
    "recipe.streams",
    text(1, 1024),
    DefaultValue::Required("vibration/*"),
    "Names of streams; * stands for any characters.",
);
pub(in crate::config) const ALGORITHM: OptionalKey<Algorithm> = OptionalKey::new(
    "recipe.algorithm",
    choice(),
    DefaultValue::Required("pca"),
    "pca, autoencoder, ridge_nlinear, nlinear, mlp_forecast, rocket, mlp_classifier, ridge and more.",
);
pub(in crate::config) const FEATURES: OptionalKey<Vec<String>> = OptionalKey::new(
    "recipe.features",
    texts(256),
    DefaultValue::Derived {
        how: "every number",
        example: "[\"rms\", \"peak\"]",
    },
    "Fields to learn from.",
);
pub(in crate::config) const LABEL: OptionalKey<String> = OptionalKey::new(
    "recipe.label",
    text(1, 1024),
    DefaultValue::Unset("state"),
    "The field that says what is right: to classify or estimate.",
);
pub(in crate::config) const WHERE: OptionalKey<String> = OptionalKey::new(
    "recipe.where",
    text(1, 1024),
    DefaultValue::Unset("temperature > 40 and machine = 'press-7'"),
    "Which records count.",
);
pub(in crate::config) const FROM: OptionalKey<String> = OptionalKey::new(
    "recipe.from",
    text(1, 1024),
    DefaultValue::Unset("2026-05-01"),
    "No records before.",
);
pub(in crate::config) const TO: OptionalKey<String> = OptionalKey::new(
    "recipe.to",
    text(1, 1024),
    DefaultValue::Unset("2026-12-31"),
    "No records after.",
);
pub(in crate::config) const BALANCE: Key<bool> = Key::new(
    "recipe.balance",
    flag(),
    "false",
    "As many records of every class as of the rarest.",
);
pub(in crate::config) const FRACTION: Key<f64> = Key::new(
    "recipe.fraction",
    real(1e-6, 1.0),
    "1",
    "A share of the records, drawn by `seed`.",
);
pub(in crate::config) const SEED: Key<u64> = Key::new(
    "recipe.seed",
    integer(0, i64::MAX as u64),
    "0",
    "Decides which records `balance` and `fraction` take.",
);
pub(in crate::config) const MIN_START_COUNT: Key<u64> = Key::new(
    "recipe.min_start_count",
    integer(1, COUNT_MAX),
    "1000",
    "Records before the first model; with `every` also records, not steps.",
);
pub(in crate::config) const MIN_UPDATE_COUNT: Key<u64> = Key::new(
    "recipe.min_update_count",
    integer(1, COUNT_MAX),
    "2000",
    "New records before it is fine-tuned; with `every` also records, not steps.",
);
pub(in crate::config) const ROWS_MAX: Key<u64> = Key::new(
    "recipe.rows_max",
    integer(1, COUNT_MAX),
    "20000",
    "Newest records of a stream that a training sees.",
);
pub(in crate::config) const REPLAY_SHARE: Key<f64> = Key::new(
    "recipe.replay_share",
    real(0.0, 10.0),
    "0.5",
    "Older records in a fine-tuning, as a share of the new ones.",
);
pub(in crate::config) const GAP_MS_MAX: OptionalKey<u64> = OptionalKey::new(
    "recipe.gap_ms_max",
    count_of_millis(1, 365 * 86_400_000),
    DefaultValue::Unset("5000"),
    "A longer gap between two records ends a window.",
);
pub(in crate::config) const EVERY: OptionalKey<u64> = OptionalKey::new(
    "recipe.every",
    count_of_millis(1, 365 * 86_400_000),
    DefaultValue::Unset("1 s"),
    "Learns from a regular grid of the records, by the time of measurement; milliseconds, or a text.",
);
pub(in crate::config) const HOW: OptionalKey<()> = OptionalKey::new(
    "recipe.how",
    other(),
    DefaultValue::Unset("{ \"*\" = \"last\", power = \"mean\" }"),
    "What becomes of a field within a step: last, mean, min, max, interpolate; by field in a table.",
);
pub(in crate::config) const FILL_MS_MAX: OptionalKey<u64> = OptionalKey::new(
    "recipe.fill_ms_max",
    count_of_millis(0, 365 * 86_400_000),
    DefaultValue::Derived {
        how: "one step",
        example: "60000",
    },
    "So long a value stands for those missing; interpolated are neighbours at most this and a step apart.",
);
pub(in crate::config) const LATE_MS_MAX: Key<u64> = Key::new(
    "recipe.late_ms_max",
    count_of_millis(0, 365 * 86_400_000),
    "0",
    "So long a step waits for records with a time of their own; later ones are left out and counted.",
);
pub(in crate::config) const MARGIN: Key<f64> = Key::new(
    "recipe.margin",
    real(0.0, 0.9),
    "0.01",
    "By which share a new version must beat the one that serves.",
);
pub(in crate::config) const WINDOWS_MIN: Key<u64> = Key::new(
    "recipe.windows_min",
    integer(1, COUNT_MAX),
    "100",
    "Fewest windows to judge a version by.",
);
pub(in crate::config) const AVAILABLE_STATUS: OptionalKey<Vec<String>> = OptionalKey::new(
    "recipe.available_status",
    texts(64),
    DefaultValue::Derived {
        how: "learn.status_available",
        example: "[\"available\"]",
    },
    "Versions that may answer, by status.",
);
pub(in crate::config) const TRAIN: Key<bool> = Key::new(
    "recipe.train",
    flag(),
    "true",
    "Whether models are made here; otherwise only released and imported ones serve.",
);
pub(in crate::config) const OUTPUTS: Key<bool> = Key::new(
    "recipe.outputs",
    flag(),
    "true",
    "Whether the answers themselves are kept beside score and flag.",
);
pub(in crate::config) const PUBLISH: OptionalKey<String> = OptionalKey::new(
    "recipe.publish",
    text(1, 1024),
    DefaultValue::Unset("health/{line}/{machine}"),
    "Topic where answers are published too; tags of the stream, {stream} and {recipe} in it.",
);

/// All of them, in the order in which people meet them.
pub(in crate::config) static RECIPE: &[Setting] = &[
    NAME.setting,
    STREAMS.setting,
    ALGORITHM.setting,
    FEATURES.setting,
    LABEL.setting,
    WHERE.setting,
    FROM.setting,
    TO.setting,
    BALANCE.setting,
    FRACTION.setting,
    SEED.setting,
    MIN_START_COUNT.setting,
    MIN_UPDATE_COUNT.setting,
    ROWS_MAX.setting,
    REPLAY_SHARE.setting,
    GAP_MS_MAX.setting,
    EVERY.setting,
    HOW.setting,
    FILL_MS_MAX.setting,
    LATE_MS_MAX.setting,
    MARGIN.setting,
    WINDOWS_MIN.setting,
    AVAILABLE_STATUS.setting,
    TRAIN.setting,
    OUTPUTS.setting,
    PUBLISH.setting,
];
