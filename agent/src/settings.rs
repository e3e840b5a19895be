//! What the agent runs on: configuration after checking. Nothing here can be out of range.
//!
//! `config` makes these from a file, flags and the environment; everything else only reads them.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use dunlin_models::{gate::GateSettings, recipe::Task};
pub use dunlin_sync::{buffer::WhenFull, uploader::UploadOrder};
use dunlin_sync::{sample::Field, tls::TlsFiles};

use crate::{
    cohort::{CohortQuery, Condition},
    learn::topic::PublishTopic,
    recipes::ChosenRecipe,
    topic::TopicFilter,
};

/// A password or token. Never printed, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of this device: the `device` tag of every stream and part of the default MQTT client id.
    pub device: String,
    /// Where buffer, state and quarantine live.
    pub data_dir: PathBuf,
    /// MQTT side.
    pub mqtt: MqttSettings,
    /// Stream rules, in order; the first whose filter matches a topic wins.
    pub streams: Vec<StreamRule>,
    /// Clock behaviour.
    pub clock: ClockSettings,
    /// Buffer bounds.
    pub buffer: BufferSettings,
    /// The central database.
    pub upstream: UpstreamSettings,
    /// Quarantine bounds.
    pub quarantine_bytes_max: u64,
    /// Learning on this device.
    pub learn: LearnSettings,
    /// Metrics and health over HTTP; `None`: off.
    pub http_listen: Option<SocketAddr>,
    /// Logging.
    pub log: LogSettings,
    /// Bound on draining at shutdown.
    pub shutdown_ms_max: u64,
}

/// Protocol version spoken to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5 (default).
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// The MQTT connection.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts://`: TLS with verification; never falls back.
    pub tls: Option<TlsFiles>,
    /// Protocol version.
    pub version: MqttVersion,
    /// Stable client id: names the persistent session.
    pub client_id: String,
    /// User name.
    pub user: Option<String>,
    /// Password, from the file, the environment or a secret file.
    pub password: Option<Secret>,
    /// How long the broker keeps the session without us, seconds.
    pub session_expiry_s: u32,
    /// Keep-alive, seconds.
    pub keep_alive_s: u16,
    /// Publishes the broker may send before a PUBACK.
    pub receive_maximum: u16,
    /// Largest publish accepted, payload bytes; a larger one goes to quarantine.
    pub payload_bytes_max: u32,
    /// Topic of the retained online/offline status; `None`: none.
    pub status_topic: Option<String>,
    /// First wait after a lost connection.
    pub backoff_ms_min: u64,
    /// Longest wait between attempts.
    pub backoff_ms_max: u64,
}

/// Payload format of a stream rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// A JSON object, or an array of objects (a batch), told apart by the first byte.
    Json,
    /// One bare number; the field is called `reading` unless one field is declared.
    Number,
    /// CSV lines: with a header line, or columns in the order of the declared fields.
    Csv {
        /// Field separator, one byte.
        delimiter: u8,
        /// The first line of every payload names the columns.
        header: bool,
    },
    /// `SenML` JSON (RFC 8428).
    SenMl,
}

/// Unit of a numeric source time; a text is read as RFC 3339 whatever the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Told from the number's size (default): 10 digits are seconds, 13 milliseconds, and so on.
    BySize,
    /// Seconds (fractions allowed).
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// What to do with NaN and infinite numbers (CSV and bare numbers can hold them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanPolicy {
    /// The publish goes to quarantine.
    Refuse,
    /// The value counts as missing.
    Missing,
}

/// Where a declared field is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredField {
    /// Name and type.
    pub field: Field,
    /// JSON pointer (RFC 6901) into the record; `None`: the key of the field's own name.
    /// For CSV with a header: the column's name without the leading slash.
    pub pointer: Option<String>,
    /// A record without it goes to quarantine.
    pub required: bool,
}

/// One `[[stream]]`: which topics, how to read them, how to split them.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRule {
    /// Name of the schema (supertable).
    pub name: String,
    /// Topics, with captures.
    pub filter: TopicFilter,
    /// Payload format.
    pub format: PayloadFormat,
    /// Declared fields.
    pub fields: Vec<DeclaredField>,
    /// Whether fields that are not declared are taken too, with inferred types.
    pub infer: bool,
    /// JSON pointer (or CSV column) of the source's own time.
    pub time: Option<String>,
    /// Its unit if it is a number.
    pub time_unit: TimeUnit,
    /// Constant tags besides `device` and the captures.
    pub tags: BTreeMap<String, String>,
    /// NaN and infinity.
    pub nan: NanPolicy,
    /// Most fields a schema may grow to.
    pub fields_max: usize,
    /// How records are split.
    pub split: SplitRule,
}

/// How the split of a record is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitRule {
    /// Independently and uniformly.
    Random {
        /// Probability of train, 0..=1.
        train: f64,
        /// Seed; `None`: from the operating system.
        seed: Option<u64>,
    },
    /// A pure function of stream name and timestamp.
    Hash {
        /// Probability of train, 0..=1.
        train: f64,
    },
    /// Runs of contiguous time go to one half, so that neighbours do not leak.
    Block {
        /// Probability of train, 0..=1.
        train: f64,
        /// Length of a run, milliseconds.
        run_ms: u64,
    },
    /// A fold number 0..k; `is_train` is false in fold 0 only.
    KFold {
        /// Number of folds, 2..=100.
        k: u8,
        /// Seed; `None`: from the operating system.
        seed: Option<u64>,
    },
}

/// The clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSettings {
    /// How long uploads wait for the kernel to call its clock synchronised; 0: not at all.
    pub hold: Duration,
    /// A wall-clock step larger than this is not believed until it has stood for `confirm`.
    pub step_max: Duration,
    /// How long a large step must stand.
    pub confirm: Duration,
}

/// The buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSettings {
    /// Most disk the buffer may take, bytes.
    pub bytes_max: u64,
    /// Disk left free for others, bytes; below it the buffer counts as full.
    pub disk_free_bytes_min: u64,
    /// Policy at either bound.
    pub when_full: WhenFull,
    /// Smallest gap between two commits.
    pub commit_gap_ms_min: u64,
    /// Uploaded records kept for training, bytes.
    pub replay_bytes_max: u64,
    /// Uploaded records kept for training, age; `None`: bytes decide alone.
    pub replay_age_s_max: Option<u64>,
}

/// The upstream and how it is fed.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    /// `tdengine://...`, `tdengines://...` or `sqlite:path`; may hold a password.
    pub url: Secret,
    /// Bound on every call.
    pub timeout: Duration,
    /// Options for CREATE DATABASE.
    pub database_options: BTreeMap<String, String>,
    /// TLS files for `tdengines://`.
    pub tls: TlsFiles,
    /// Most rows in one write.
    pub batch_rows_max: usize,
    /// Writes under way at once.
    pub in_flight_max: usize,
    /// Order.
    pub order: UploadOrder,
    /// First wait after a failure.
    pub backoff_ms_min: u64,
    /// Longest wait between attempts.
    pub backoff_ms_max: u64,
}

/// Learning on this device.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnSettings {
    /// What is learnt, from which streams; none: nothing is.
    pub recipes: Vec<RecipeRule>,
    /// Between two looks for something to learn.
    pub scan: Duration,
    /// Tasks under way at once.
    pub workers: usize,
    /// Share of one core that a task may take, 0..=1.
    pub cpu_share: f64,
    /// Above this a task waits, degrees Celsius.
    pub temperature_c_max: f64,
    /// Age at which a task that is still at work counts as dead.
    pub limit: Duration,
    /// Rows of a data set in memory at once.
    pub rows_per_chunk_max: usize,
    /// Versions kept of each model.
    pub versions_max: usize,
    /// The words for what a task or version is at.
    pub status: StatusWords,
    /// Statuses of a task that is at work: past the limit it is dead.
    pub working_status: Vec<String>,
}

/// The user's words for the states of tasks and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWords {
    /// A task waits for its turn.
    pub queued: String,
    /// A task trains.
    pub training: String,
    /// A version serves, or may.
    pub available: String,
    /// A task's model did not pass the gate.
    pub rejected: String,
    /// A version served before.
    pub retired: String,
    /// A version served and was worse.
    pub rolled_back: String,
    /// A task has failed.
    pub failed: String,
    /// A task was given up.
    pub dead: String,
}

/// One `[[recipe]]`: what to learn from which streams, one model a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipeRule {
    /// Its name.
    pub name: String,
    /// Streams it watches, as a glob over their names.
    pub streams: String,
    /// The recipe and its settings.
    pub recipe: ChosenRecipe,
    /// Fields to learn from; none: every number.
    pub features: Vec<String>,
    /// The field that says what is right.
    pub label: Option<String>,
    /// Which records count.
    pub condition: Option<String>,
    /// Records before a first model is trained.
    pub min_start_count: u64,
    /// New records before it is fine-tuned.
    pub min_update_count: u64,
    /// Newest records of the stream that a training sees.
    pub rows_max: u64,
    /// Retained old records in a fine-tuning, beside the new ones, as a share of these.
    pub replay_share: f64,
    /// A larger gap between two records ends a window; `None`: no gap does.
    pub gap_ns_max: Option<i64>,
    /// What a new version must show.
    pub gate: GateSettings,
    /// Versions that may answer, by status.
    pub available_status: Vec<String>,
    /// Whether the answers themselves are kept beside score and flag.
    pub outputs: bool,
    /// Where answers are published too.
    pub publish: Option<PublishTopic>,
}

impl RecipeRule {
    /// What it means by its data on one stream, up to `to_ts` (nanoseconds UTC).
    ///
    /// # Errors
    /// What is wrong with the condition.
    pub fn query(
        &self,
        stream: &str,
        to_ts: i64,
        rows_per_chunk_max: usize,
    ) -> Result<CohortQuery, String> {
        let condition = self.condition.as_deref().map(Condition::parse).transpose();
        Ok(CohortQuery {
            streams: stream.to_owned(),
            features: self.features.clone(),
            label: self.label.clone(),
            last: Some(self.rows_max),
            to: Some(to_ts),
            classify: self.recipe.task() == Task::Classify,
            condition: condition.map_err(|error| error.to_string())?,
            gap_ns_max: self.gap_ns_max,
            rows_per_chunk_max,
            ..CohortQuery::default()
        })
    }
}

/// Log output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level or a filter such as `info,dunlin_sync=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}
