//! What the agent is doing, in one place: for `dunlin status`, for metrics, for the demo.

mod configuration;
mod disk;
mod learn;
mod metrics;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use dunlin_sync::{
    buffer::{Buffer, BufferShape},
    quarantine::Quarantine,
    sample::Catalog,
    uploader::UploadStats,
    upstream::Upstream,
};
use serde::{Deserialize, Serialize};

pub use self::{
    configuration::{Configuration, ConfigurationStatus},
    disk::DiskStatus,
    learn::LearnStatus,
};
use crate::{
    base::wall::wall_ns,
    config::settings::Settings,
    ingest::IngestStats,
    mqtt::outgoing::Publisher,
    observe::http::{Endpoint, EndpointState},
    record::{
        held,
        writer::{WriterStats, streams_percent_used},
    },
    store::Identity,
};

/// Writes that a small memory card is commonly rated for, bytes: 32 GB, 1,000 times over.
const CARD_RATED_BYTES: f64 = 32e12;

/// A commit that takes longer is a disk that hangs.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// Every part's counters, readable at any time.
pub struct View {
    /// When the agent started.
    pub started: Instant,
    /// The configuration it runs on, and what became of the last one that was read.
    pub configuration: Configuration,
    /// Whose data directory it is.
    pub identity: Identity,
    /// Committed records.
    pub buffer: Arc<Buffer>,
    /// What could not be decoded or delivered.
    pub quarantine: Arc<Quarantine>,
    /// Versions of models.
    #[cfg(feature = "learning")]
    pub models: Arc<dunlin_models::registry::Registry>,
    /// What the fleet has released to this device.
    #[cfg(feature = "learning")]
    pub released: Arc<crate::learn::released::Released>,
    /// The way out.
    pub upstream: Arc<dyn Upstream>,
    /// MQTT counters.
    pub ingest: Arc<IngestStats>,
    /// Publishes of our own.
    pub publisher: Publisher,
    /// Writer counters.
    pub writer: Arc<WriterStats>,
    /// Upload counters.
    pub uploads: Arc<UploadStats>,
    /// Learning counters.
    #[cfg(feature = "learning")]
    pub learn: Arc<crate::learn::LearnStats>,
    /// Where metrics are served, if they are to be.
    pub endpoint: OnceLock<Arc<Endpoint>>,
    /// The first worker to end, by itself or because the agent stops.
    pub ended: OnceLock<&'static str>,
}

/// A snapshot; all counts are records and since the start unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of Dunlin.
    pub version: String,
    /// Name of the device.
    pub device: String,
    /// What it was called before, if it has been renamed.
    #[serde(default)]
    pub device_before: Option<String>,
    /// The configuration it runs on.
    #[serde(default)]
    pub configuration: ConfigurationStatus,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// MQTT side.
    pub mqtt: MqttStatus,
    /// Records on their way in.
    pub records: RecordStatus,
    /// Stream rules of which no record was ever taken, in the order of the configuration.
    #[serde(default)]
    pub rules_silent: Vec<String>,
    /// Fields that are held otherwise than is declared, or as several types, in words.
    #[serde(default)]
    pub fields_held: Vec<String>,
    /// Why there are no metrics at present although there should be.
    #[serde(default)]
    pub http_problem: Option<String>,
    /// The buffer.
    pub buffer: BufferStatus,
    /// The way out.
    pub upstream: UpstreamStatus,
    /// The clock.
    pub clock: ClockStatus,
    /// Disk taken by everything that grows.
    #[serde(default)]
    pub disk: DiskStatus,
    /// Bytes this process has written to disk a day at the present rate, and what that means.
    pub flash: FlashStatus,
    /// Learning on this device; nothing of it if the agent is older than that.
    #[serde(default)]
    pub learn: LearnStatus,
}

/// MQTT side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MqttStatus {
    /// Broker address.
    pub broker: String,
    /// The client id that names the session there.
    #[serde(default)]
    pub client_id: String,
    /// Connected now.
    pub connected: bool,
    /// Connections made.
    pub connections: u64,
    /// Publishes received.
    pub publishes: u64,
    /// PUBACKs sent.
    pub acknowledged: u64,
    /// Publishes that the broker sent again and that were stored already.
    pub duplicates: u64,
    /// Retained publishes that the broker sent again, or that are ignored.
    #[serde(default)]
    pub retained_known: u64,
    /// Publishes stored that may have been stored already: nothing tells.
    #[serde(default)]
    pub possible_duplicates: u64,
    /// Requests to edge nodes of Sparkplug B that they announce themselves again.
    #[serde(default)]
    pub rebirths_asked: u64,
    /// Last trouble, in words.
    pub last_error: Option<String>,
    /// What is wrong at present although the connection may stand, in words.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// Records on their way in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// Received: committed, quarantined or about to be either.
    pub received: u64,
    /// Durable in the buffer.
    pub committed: u64,
    /// In publishes that went to quarantine.
    pub quarantined: u64,
    /// The same, by reason.
    pub quarantined_by_reason: BTreeMap<String, u64>,
    /// Values missing from those committed, as they do not fit their fields or say that they are bad; by
    /// reason and field.
    #[serde(default)]
    pub values_missing: BTreeMap<String, BTreeMap<String, u64>>,
    /// Publishes of which nothing is to be stored: their rule excludes the topic, or they are no data.
    #[serde(default)]
    pub excluded: u64,
    /// Records of which their rule leaves out all fields, of these publishes and of those that are stored.
    #[serde(default)]
    pub records_excluded: u64,
    /// Of those committed, with a source's time that cannot be one and was left out.
    #[serde(default)]
    pub times_implausible: u64,
    /// Lost: deleted before upload because the buffer was full and told to drop, or out of a quarantine
    /// that was full.
    pub dropped: u64,
}

/// The buffer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BufferStatus {
    /// Sizes and positions.
    #[serde(flatten)]
    pub shape: BufferShape,
    /// Most disk it may take.
    pub bytes_max: u64,
    /// Takes nothing at present.
    pub full: bool,
    /// Streams known.
    pub streams: usize,
    /// Those of other devices among them: this one was called so before.
    #[serde(default)]
    pub streams_elsewhere: usize,
    /// Those of this device whose tags have changed since they began.
    #[serde(default)]
    pub streams_retagged: usize,
    /// How much of the room for streams is used, percent.
    #[serde(default)]
    pub streams_percent: u64,
    /// Commits.
    pub commits: u64,
    /// Blocks that could not be read.
    pub blocks_corrupt: u64,
    /// Generations or files set aside.
    pub set_aside: u64,
    /// Disk taken by the quarantine.
    pub quarantine_bytes: u64,
}

/// The way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Where, without secrets.
    pub location: String,
    /// Whether the last call succeeded.
    pub connected: bool,
    /// Rows the upstream took.
    pub uploaded: u64,
    /// Rows it will never take; they are in quarantine.
    pub rejected: u64,
    /// Rows committed and not upstream yet, those of held streams among them.
    pub lag_rows: u64,
    /// Age of the oldest of these, seconds.
    pub lag_s: f64,
    /// Calls that failed and were made again.
    pub retries: u64,
    /// Streams the upstream refuses for a reason somebody must mend.
    pub streams_held: u64,
    /// Rows of these, held in the buffer.
    #[serde(default)]
    pub rows_held: u64,
    /// One of these, with the upstream's words.
    #[serde(default)]
    pub held_stream: Option<String>,
    /// How often since the start the database was found to be another, which may lack rows that were
    /// uploaded.
    #[serde(default)]
    pub times_replaced: u64,
    /// Uploads wait for the clock.
    pub held_for_clock: bool,
    /// Last trouble, in words.
    pub last_error: Option<String>,
}

/// The clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Timestamps minus wall clock, seconds.
    pub skew_s: f64,
    /// Steps of the wall clock that were believed.
    pub steps: u64,
    /// Steps that went away before they were believed.
    pub withdrawn: u64,
    /// The kernel (or the clock itself) says that it is not synchronised.
    pub unsynchronised: bool,
}

/// Wear of the flash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlashStatus {
    /// Bytes this process has had written to disk.
    pub written_bytes: u64,
    /// A day at the mean rate so far; `None` in the first minute.
    pub bytes_per_day: Option<f64>,
    /// Years until 32 TB are written at that rate: a 32 GB card a thousand times over.
    pub years_to_32_tb: Option<f64>,
}

impl View {
    /// What the agent runs on now.
    pub fn settings(&self) -> Arc<Settings> {
        self.configuration.settings()
    }

    /// The snapshot.
    pub fn status(&self) -> Status {
        let (ingest, writer, uploads) = (&self.ingest, &self.writer, &self.uploads);
        let (buffer, clock) = (self.buffer.stats(), writer.clock());
        let catalog = self.buffer.catalog();
        let uptime = self.started.elapsed();
        let settings = self.settings();
        let mqtt = &settings.mqtt;
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            device: settings.device.clone(),
            device_before: self.identity.device_before.clone(),
            configuration: self.configuration.status(),
            uptime_s: uptime.as_secs(),
            mqtt: MqttStatus {
                broker: format!("{}:{}", mqtt.host, mqtt.port),
                client_id: mqtt.client_id.clone(),
                connected: ingest.connected.load(Relaxed),
                connections: ingest.connections.load(Relaxed),
                publishes: ingest.publishes.load(Relaxed),
                acknowledged: ingest.acks.load(Relaxed),
                duplicates: writer.duplicates.load(Relaxed),
                retained_known: writer.retained_known.load(Relaxed),
                possible_duplicates: writer.possible_duplicates.load(Relaxed),
                rebirths_asked: writer.rebirths_asked.load(Relaxed),
                last_error: ingest.last_error(),
                troubles: ingest.troubles(),
            },
            records: RecordStatus {
                received: writer.records_received.load(Relaxed),
                committed: buffer.rows_committed.load(Relaxed),
                quarantined: writer.records_quarantined.load(Relaxed),
                quarantined_by_reason: writer.quarantined_by_reason(),
                values_missing: writer.missing_by_field(),
                excluded: writer.excluded.load(Relaxed),
                records_excluded: writer.records_excluded.load(Relaxed),
                times_implausible: writer.times_implausible.load(Relaxed),
                dropped: buffer.rows_dropped.load(Relaxed)
                    + self.quarantine.records_dropped.load(Relaxed),
            },
            rules_silent: self.rules_silent(),
            fields_held: held::told(catalog.schemas(), &settings.streams),
            http_problem: self
                .endpoint
                .get()
                .and_then(|endpoint| match endpoint.state() {
                    EndpointState::Listens(_) => None,
                    EndpointState::Waits(why) => Some(why),
                }),
            buffer: BufferStatus {
                shape: self.buffer.shape(),
                bytes_max: settings.buffer.bytes_max,
                full: writer.stalled.load(Relaxed),
                streams: catalog.streams().len(),
                streams_elsewhere: elsewhere(&catalog),
                streams_retagged: retagged(&catalog),
                streams_percent: streams_percent_used(&catalog, settings.buffer.bytes_max),
                commits: buffer.commits.load(Relaxed),
                blocks_corrupt: buffer.blocks_corrupt.load(Relaxed),
                set_aside: buffer.generations_set_aside.load(Relaxed),
                quarantine_bytes: self.quarantine.bytes(),
            },
            upstream: UpstreamStatus {
                location: self.upstream.location(),
                connected: uploads.connected.load(Relaxed),
                uploaded: uploads.rows_uploaded.load(Relaxed),
                rejected: uploads.rows_rejected.load(Relaxed),
                lag_rows: uploads.lag_rows.load(Relaxed),
                lag_s: uploads.lag_ns(wall_ns()) as f64 / 1e9,
                retries: uploads.retries.load(Relaxed),
                streams_held: uploads.streams_held.load(Relaxed),
                rows_held: uploads.rows_held.load(Relaxed),
                held_stream: uploads
                    .held_stream()
                    .map(|held| format!("{}: {}", held.name, held.reason)),
                times_replaced: self.upstream.times_replaced(),
                held_for_clock: clock.uploads_held,
                last_error: uploads.last_error(),
            },
            clock: ClockStatus {
                skew_s: clock.skew_ns as f64 / 1e9,
                steps: clock.steps,
                withdrawn: clock.withdrawn,
                unsynchronised: clock.unsynchronised,
            },
            disk: self.disk_status(),
            flash: flash(uptime.as_secs_f64()),
            #[cfg(feature = "learning")]
            learn: self.learn_status(),
            #[cfg(not(feature = "learning"))]
            learn: LearnStatus::default(),
        }
    }

    fn rules_silent(&self) -> Vec<String> {
        let catalog = self.buffer.catalog();
        let settings = self.settings();
        let rules = settings.streams.iter();
        rules
            .filter(|rule| catalog.schema_named(&rule.name).is_none())
            .map(|rule| rule.name.clone())
            .collect()
    }

    /// Whether every worker is at work at `now`, or why not: for a watchdog, since only a restart
    /// helps.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn working(&self, now: Instant) -> Result<(), String> {
        let ended = self.ended.get().copied();
        working(ended, self.writer.waiting_for_disk(now))
    }

    /// Healthy, or why not: for a supervisor that alarms.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn health(&self) -> Result<(), String> {
        self.working(Instant::now())?;
        if let Some(why) = self.writer.stalled_because() {
            return Err(format!("nothing is acknowledged: {why}"));
        }
        if !self.ingest.connected.load(Relaxed) {
            let why = self.ingest.last_error().unwrap_or_else(|| "not yet".into());
            return Err(format!("not connected to the broker: {why}"));
        }
        let refused = self.ingest.filters_refused.load(Relaxed);
        if refused > 0 {
            return Err(format!("the broker refuses {refused} of the subscriptions"));
        }
        Ok(())
    }
}

/// Streams of other devices than the one that the directory works for.
pub fn elsewhere(catalog: &Catalog) -> usize {
    let all = catalog.streams();
    all.filter(|stream| !catalog.is_here(stream)).count()
}

/// Streams of this device whose tags have changed since they began.
pub fn retagged(catalog: &Catalog) -> usize {
    let all = catalog.streams();
    all.filter(|stream| catalog.is_here(stream) && stream.first_tags.is_some())
        .count()
}

fn working(ended: Option<&str>, committing: Option<Duration>) -> Result<(), String> {
    if let Some(worker) = ended {
        return Err(format!("{worker} has ended"));
    }
    match committing {
        Some(took) if took >= COMMIT_MAX => Err(format!(
            "nothing is acknowledged: the disk has not finished a commit for {} s",
            took.as_secs()
        )),
        _ => Ok(()),
    }
}

fn flash(uptime_s: f64) -> FlashStatus {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    let written_bytes = line
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or_default();
    let bytes_per_day = (uptime_s >= 60.0).then(|| written_bytes as f64 / uptime_s * 86_400.0);
    FlashStatus {
        written_bytes,
        bytes_per_day,
        years_to_32_tb: bytes_per_day
            .filter(|bytes| *bytes > 0.0)
            .map(|bytes| CARD_RATED_BYTES / bytes / 365.25),
    }
}

#[cfg(test)]
mod tests;
