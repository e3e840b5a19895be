//! What the agent runs on: configuration after checking. Nothing here can be out of range.
//!
//! `config` makes these from a file, flags and the environment; everything else only reads them.

pub(in crate::config) mod choice;
#[cfg(feature = "learning")]
mod fleet;
#[cfg(feature = "learning")]
mod learn;
mod stream;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use dunlin_sync::tls::TlsFiles;
pub use dunlin_sync::{buffer::WhenFull, uploader::UploadOrder};

use self::choice::Choice;
#[cfg(feature = "learning")]
pub use self::fleet::FleetSettings;
#[cfg(feature = "learning")]
pub use self::learn::{LearnSettings, RecipeRule, Sampling, StatusWords};
pub use self::stream::*;
use crate::own::OwnUpstream;

/// Most streams of one device, its own tables apart.
pub const DEVICE_STREAMS_MAX: usize = 20_000;

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
    /// Nobody has configured it: it is the host's name, and changes with that.
    pub device_is_host_name: bool,
    /// The data directory was moved here from another machine, with its disk.
    pub adopt_identity: bool,
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
    #[cfg(feature = "learning")]
    pub learn: LearnSettings,
    /// Models that are released to this device.
    #[cfg(feature = "learning")]
    pub fleet: FleetSettings,
    /// Between two rows that say how this device is; `None`: it says nothing.
    pub heartbeat: Option<Duration>,
    /// Metrics and health over HTTP; `None`: off.
    pub http_listen: Option<SocketAddr>,
    /// Names under which metrics are given out, besides addresses, `localhost` and the device's own.
    pub http_hosts: Vec<String>,
    /// Logging.
    pub log: LogSettings,
    /// Bound on draining at shutdown.
    pub shutdown_ms_max: u64,
    /// SHA-256 of the file all this came from, in hexadecimal; `None` without a file.
    pub file_sha256: Option<String>,
    /// A disk that does not answer for so long ends the agent; `None`: never.
    pub stall_max: Option<Duration>,
}

/// Protocol version spoken to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// `None`: whichever the broker takes.
impl Choice for Option<MqttVersion> {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("auto", None),
        ("5", Some(MqttVersion::V5)),
        ("3.1.1", Some(MqttVersion::V311)),
    ];
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
    /// Protocol version; `None`: MQTT 5 where the broker takes it, otherwise 3.1.1.
    pub version: Option<MqttVersion>,
    /// Stable client id: names the persistent session.
    pub client_id: String,
    /// Nobody has configured it: the data directory may have another one, which lasts.
    pub client_id_is_default: bool,
    /// User name.
    pub user: Option<String>,
    /// Password, from the file, the environment or a secret file.
    pub password: Option<Secret>,
    /// The secret file it is from; read again for each connection.
    pub password_file: Option<PathBuf>,
    /// How long the broker keeps the session without us, seconds.
    pub session_expiry_s: u32,
    /// The session outlives the agent; otherwise it ends with an orderly stop.
    pub keeps_session: bool,
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

impl SplitRule {
    pub(in crate::config) const DEFAULT: Self = Self::Random {
        train: Self::TRAIN_DEFAULT,
        seed: None,
    };
    /// Probability of train unless set.
    pub(in crate::config) const TRAIN_DEFAULT: f64 = 0.8;
}

/// Each method as it is unless more is said about it.
impl Choice for SplitRule {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("random", Self::DEFAULT),
        (
            "hash",
            Self::Hash {
                train: Self::TRAIN_DEFAULT,
            },
        ),
        (
            "block",
            Self::Block {
                train: Self::TRAIN_DEFAULT,
                run_ms: 60_000,
            },
        ),
        ("kfold", Self::KFold { k: 5, seed: None }),
    ];
}

/// `[clock]`: when the wall clock is believed, and how long uploads wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSettings {
    /// How long uploads wait for the kernel to call its clock synchronised; 0: not at all.
    pub hold: Duration,
    /// A wall-clock step larger than this is not believed until it has stood for `confirm`.
    pub step_max: Duration,
    /// How long a large step must stand.
    pub confirm: Duration,
}

/// `[buffer]`: its bounds, and what it keeps of what is uploaded.
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
    /// A stream without a record for so long, of which nothing is in the buffer, is forgotten, seconds.
    pub streams_idle_s_max: u64,
}

/// The upstream and how it is fed.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    /// `tdengine://...`, `tdengines://...`, `postgres://...`, `sqlite:path` or `custom:name`; may hold a
    /// password.
    pub url: Secret,
    /// The program's own upstream that the URL names.
    pub own: Option<OwnUpstream>,
    /// Bound on every call.
    pub timeout: Duration,
    /// Options for CREATE DATABASE.
    pub database_options: BTreeMap<String, String>,
    /// The secret file that the URL's password is from; read again for each connection.
    pub password_file: Option<PathBuf>,
    /// TLS files for `tdengines://` and `postgres://`.
    pub tls: TlsFiles,
    /// Most rows in one write.
    pub batch_rows_max: usize,
    /// Writes under way at once.
    pub in_flight_max: usize,
    /// Which blocks go first.
    pub order: UploadOrder,
    /// First wait after a failure.
    pub backoff_ms_min: u64,
    /// Longest wait between attempts.
    pub backoff_ms_max: u64,
}

/// Log output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level or a filter such as `info,dunlin_sync=debug`.
    pub filter: String,
    /// What the lines look like.
    pub format: LogFormat,
}

/// What lines of the log look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// JSON for collectors.
    Json,
}

impl Choice for LogFormat {
    const CHOICES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// The MQTT client id of a device whose configuration names none.
pub fn default_client_id(device: &str) -> String {
    format!("dunlin-{device}")
}
