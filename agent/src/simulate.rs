//! Simulated machines that publish over MQTT: the load of the demo, the tests and the benchmarks.
//!
//! [`run`] publishes the readings of a number of machines at `QoS` 1 and knows of each publish whether
//! the broker has acknowledged it. Across reconnects nothing is lost and nothing counted twice; a
//! publish whose PUBACK was lost with a connection is sent again (DUP), which a subscriber may see
//! twice: `n` in the payload tells.

#[cfg(any(test, feature = "demo"))]
pub mod broker;
mod fleet;
mod machine;
mod publisher;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64},
    time::Duration,
};

use dunlin_sync::{
    lock::unpoisoned,
    tls::{TlsError, TlsFiles},
};
use serde::Serialize;
use tokio::{runtime, sync::watch};

#[cfg(all(test, feature = "demo"))]
pub(crate) use self::fleet::Fleet;
pub use self::machine::{Fault, FaultKind, Machine, Reading};
use crate::{
    config::settings::MqttVersion,
    ingest::IngestStats,
    mqtt::{LinkError, url::BrokerUrl},
};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// Where to publish.
    pub broker: BrokerUrl,
    /// CA and client certificate for `mqtts://`.
    pub tls: TlsFiles,
    /// Protocol version. 3.1.1 is the faster publisher: mosquitto grants an MQTT 5 client 20
    /// unacknowledged publishes.
    pub version: MqttVersion,
    /// Client id.
    pub client_id: String,
    /// Publishes a second over all streams; 0: as fast as possible.
    pub rate: f64,
    /// Machines, at least 1; each publishes on a topic of its own.
    pub streams: u32,
    /// Publishes to make; 0: until stopped.
    pub count: u64,
    /// Everything random follows from it.
    pub seed: u64,
    /// Every so many publishes one is broken on purpose; 0: none.
    pub bad_every: u64,
    /// Mean time between the faults of a machine, seconds of its own time; 0: no faults.
    pub fault_gap_s: f64,
    /// How long faults last, shortest and longest, seconds of a machine's own time.
    pub fault_s: (f64, f64),
    /// Seconds of a machine's own time in one second: with more, a short run sees more of a machine.
    pub speed: f64,
    /// No machine has a fault before this, seconds of its own time: there is something usual to learn.
    pub healthy_s: f64,
    /// Publishes under way without a PUBACK at most; the broker may allow fewer.
    pub in_flight_max: u16,
    /// How long to wait for the last PUBACKs after a stop.
    pub drain_max: Duration,
    /// Whom not to leave behind; `None`: publish regardless.
    pub lead: Option<Lead>,
    /// Counts along while the run goes on.
    pub progress: Arc<Progress>,
}

/// Keeps a run from leaving its consumer behind, for a broker that forgets what it cannot hold.
#[derive(Clone, Debug)]
pub struct Lead {
    /// What the consumer has received; of nobody else.
    pub consumer: Arc<IngestStats>,
    /// Most publishes made and not received.
    pub publishes_max: u64,
}

/// How far a run is, readable from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Publishes made.
    pub published: AtomicU64,
    /// Of these, acknowledged by the broker.
    pub acked: AtomicU64,
    faults: Mutex<BTreeMap<String, FaultKind>>,
}

impl Progress {
    /// What is wrong at present, by the topic on which that truth is published (`.../fault`).
    pub fn faults(&self) -> BTreeMap<String, FaultKind> {
        self.lock_faults().clone()
    }

    fn set_fault(&self, topic: &str, fault: Option<FaultKind>) {
        let mut faults = self.lock_faults();
        match fault {
            Some(kind) => faults.insert(topic.to_owned(), kind),
            None => faults.remove(topic),
        };
    }

    // The map is whole after every operation.
    fn lock_faults(&self) -> MutexGuard<'_, BTreeMap<String, FaultKind>> {
        unpoisoned(self.faults.lock())
    }
}

/// What a run did. Counts are publishes, each counted once however often it was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Readings published, bad ones included.
    pub published: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// Of these, refused by the broker in its PUBACK.
    pub refused: u64,
    /// Of these, broken on purpose.
    pub bad: u64,
    /// Sendings repeated after a reconnect.
    pub resent: u64,
    /// Changes of the truth about faults published (on topics `.../fault`), all acknowledged unless
    /// stopped early.
    pub truth_published: u64,
    /// Payload bytes of the readings.
    pub bytes: u64,
    /// From the first publish to the last PUBACK.
    pub seconds: f64,
    /// Good readings by topic.
    pub streams: BTreeMap<String, u64>,
    /// How each machine's state changed, by the topic of its readings: the number `n` of the reading
    /// from which it holds.
    #[serde(skip)]
    pub states: BTreeMap<String, Vec<(u64, MachineState)>>,
}

/// How a machine is, as far as anybody could tell from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Nothing is wrong.
    #[default]
    Healthy,
    /// A fault begins or ends: less than [`SEVERITY_SEEN`], nobody could expect it to be noticed, and
    /// nobody blame who does.
    Incipient,
    /// A fault.
    Faulty,
}

/// Severity from which a fault counts as one.
pub const SEVERITY_SEEN: f64 = 0.3;

impl MachineState {
    fn of(fault: Option<Fault>) -> Self {
        match fault {
            None => Self::Healthy,
            Some(fault) if fault.severity < SEVERITY_SEEN => Self::Incipient,
            Some(_) => Self::Faulty,
        }
    }
}

/// Why a run could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The broker cannot be reached or turns us away.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The operating system refuses what an event loop needs.
    #[error("simulate: {0}")]
    Io(#[from] io::Error),
    /// A certificate or key file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl SimulateOptions {
    /// Ten machines, 100 publishes a second, until stopped, against `broker`, over MQTT 3.1.1.
    pub fn new(broker: BrokerUrl) -> Self {
        Self {
            broker,
            tls: TlsFiles::default(),
            version: MqttVersion::V311,
            client_id: format!("dunlin-simulate-{}", std::process::id()),
            rate: 100.0,
            streams: 10,
            count: 0,
            seed: 0,
            bad_every: 0,
            fault_gap_s: 300.0,
            healthy_s: 0.0,
            speed: 1.0,
            fault_s: (10.0, 120.0),
            in_flight_max: 4_000,
            drain_max: Duration::from_secs(10),
            lead: None,
            progress: Arc::default(),
        }
    }
}

/// Publishes until `count` is reached or `stop` turns true, then waits for the PUBACKs: for ever
/// after a full count (reconnecting as needed), for `drain_max` after a stop. Blocks its thread; not for
/// a thread that drives async tasks.
///
/// # Errors
/// [`SimulateError`] if the first connection fails; later ones are tried again.
pub fn run(
    options: &SimulateOptions,
    stop: watch::Receiver<bool>,
) -> Result<Report, SimulateError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(publisher::Publisher::new(options)?.run(stop))
}

#[cfg(test)]
mod tests;
