//! MQTT in: one persistent session, kept up for ever.
//!
//! Promises:
//! - A publish is acknowledged only by [`Acker::ack`], which the consumer calls once it is durable.
//! - A PUBACK goes out on the connection its publish came over, or not at all: after a reconnect the
//!   broker sends the publish again, and an old PUBACK could hit a new publish with the same id.
//! - Memory is bounded by [`Inbox`]'s bounds whatever the broker sends (mosquitto 2.0.11 ignores the
//!   in-flight limit under backlog): a full inbox stops reading, while pings and PUBACKs go on.
//! - It speaks to the broker in the version of MQTT that it takes, and remembers that (`memory`).
//! - It subscribes after every connect, waits with jitter between attempts, and says every cause
//!   of trouble once, not once per attempt.
//! - [`Stopper::stop`] keeps session and subscriptions, unless they are to end with the agent: what
//!   arrives meanwhile waits at the broker. What is left there is said.
//!
//! `QoS` 1 throughout: `QoS` 0 publishes arrive but are not acknowledged, `QoS` 2 ones are sent to
//! us as `QoS` 1.

pub(crate) mod inbox;
mod loss;
pub(crate) mod memory;
mod parting;
mod rivals;
mod session;
mod stats;
mod subscriber;
mod subscriptions;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use dunlin_sync::{backoff::Backoff, tls::TlsError};
use tokio::{
    runtime, select,
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::{debug, info, warn};

use self::{
    inbox::Outlet,
    memory::Memory,
    rivals::{Rivals, Suspicion},
    session::Session,
    subscriber::Wanted,
};
pub use self::{
    inbox::{Inbox, Incoming, Received, Waker},
    stats::IngestStats,
    subscriber::Subscriber,
};
use crate::{
    config::settings::{MqttSettings, MqttVersion},
    mqtt::{
        LinkOptions, LinkProblem,
        outgoing::{self, Outbox, Publisher},
    },
};

/// A connection that has stood this long (or the longest back-off, if shorter) is a good one.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Fewest publishes the inbox holds, however small the broker's window.
const INBOX_PUBLISHES_MIN: usize = 4096;
/// Bytes of topics and payloads the inbox holds.
const INBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest life of a session that is to end with the agent, should the agent be killed, seconds.
const TRIAL_SESSION_S: u32 = 3_600;
/// What the user may do about a session that is left.
const HOW_TO_END: &str = "dunlin session end removes it";
/// Lines remembered so as not to say them twice.
const SAID_MAX: usize = 32;

/// Names one publish to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Number of the connection it came over.
    pub connection: u64,
    /// Its packet id on that connection.
    pub packet_id: u16,
}

/// Acknowledges publishes, from any thread. Never blocks, never fails.
#[derive(Clone, Debug)]
pub struct Acker(mpsc::UnboundedSender<Vec<Ack>>);

impl Acker {
    /// One whose PUBACKs go to the receiver.
    pub(crate) fn observed() -> (Self, mpsc::UnboundedReceiver<Vec<Ack>>) {
        let (sender, acks) = mpsc::unbounded_channel();
        (Self(sender), acks)
    }

    /// Sends the PUBACKs in this order, as one group. Hand in each publish once, oldest first.
    ///
    /// Those of an older connection are forgotten: the broker sends their publishes again. The queue
    /// behind holds at most one entry for each publish handed out, so it is bounded with them.
    pub fn ack(&self, acks: &[Ack]) {
        if !acks.is_empty() {
            // Fails only when the connection is gone for good; the broker will send again.
            let _gone = self.0.send(acks.to_vec());
        }
    }
}

/// Ends an [`Ingest`].
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

impl Stopper {
    /// Stops taking publishes at once and closes the inbox. PUBACKs may follow until every publish
    /// handed out is acknowledged, all [`Acker`]s are dropped or `flush_max` has passed; then comes
    /// the offline status and a DISCONNECT that keeps the session.
    pub fn stop(&self, flush_max: Duration) {
        self.0.send_replace(Some(Instant::now() + flush_max));
    }
}

/// The MQTT side of the agent.
#[derive(Debug)]
pub struct Ingest {
    link: LinkOptions,
    /// The session outlives us.
    keeps_session: bool,
    memory: Memory,
    subscriber: Subscriber,
    wanted: Wanted,
    status: Option<Status>,
    outlet: Outlet,
    acks: mpsc::UnboundedReceiver<Vec<Ack>>,
    stop: watch::Receiver<Option<Instant>>,
    stats: Arc<IngestStats>,
    outbox: Outbox,
    publisher: Publisher,
    /// Stopped while connected, and what is left at the broker is said.
    is_parted: bool,
    rivals: Rivals,
    backoff: Backoff,
    /// Shortest and longest wait of a back-off, and what draws the next one's jitter.
    waits: (Duration, Duration, u64),
    stable_after: Duration,
    said: Vec<String>,
}

#[derive(Debug)]
struct Status {
    topic: String,
    online: String,
    offline: String,
}

impl Status {
    fn new(topic: String, device: &str) -> Self {
        let payload = |status| {
            let version = env!("CARGO_PKG_VERSION");
            serde_json::json!({"status": status, "device": device, "version": version}).to_string()
        };
        Self {
            topic,
            online: payload("online"),
            offline: payload("offline"),
        }
    }
}

impl Ingest {
    /// Prepares a client that subscribes to `filters` (MQTT syntax) and calls itself `device` in
    /// its status. `seed` draws the jitter. Nothing is connected before [`Ingest::run`].
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or key file cannot be used.
    pub fn new(
        settings: &MqttSettings,
        filters: Vec<String>,
        device: &str,
        seed: u64,
    ) -> Result<(Self, Inbox, Acker, Stopper), TlsError> {
        let status = settings
            .status_topic
            .clone()
            .map(|topic| Status::new(topic, device));
        let mut link = LinkOptions {
            last_will: status
                .as_ref()
                .map(|s| (s.topic.clone(), s.offline.clone())),
            ..LinkOptions::new(settings)?
        };
        if !settings.keeps_session {
            link.session_expiry_s = link.session_expiry_s.min(TRIAL_SESSION_S);
        }
        let window = usize::from(settings.receive_maximum).max(INBOX_PUBLISHES_MIN);
        let (outlet, inbox) = inbox::channel(window, INBOX_BYTES_MAX);
        let (ack_sender, acks) = mpsc::unbounded_channel();
        let (stop_sender, stop) = watch::channel(None);
        let wait_min = Duration::from_millis(settings.backoff_ms_min);
        let wait_max = Duration::from_millis(settings.backoff_ms_max);
        let (publisher, outbox) = outgoing::channel();
        let (subscriber, wanted) = subscriber::channel(filters);
        let ingest = Self {
            keeps_session: settings.keeps_session,
            memory: Memory::none(&link),
            subscriber,
            wanted,
            outbox,
            publisher,
            link,
            status,
            outlet,
            acks,
            stop,
            stats: Arc::default(),
            is_parted: false,
            rivals: Rivals::default(),
            backoff: Backoff::new(wait_min, wait_max, seed),
            waits: (wait_min, wait_max, seed),
            stable_after: STABLE_AFTER.min(wait_max),
            said: Vec::new(),
        };
        Ok((ingest, inbox, Acker(ack_sender), Stopper(stop_sender)))
    }

    /// Begins with what earlier runs in `data_dir` have found out about the broker, and keeps there
    /// what this one does.
    pub fn remember_in(&mut self, data_dir: &Path) {
        self.memory = Memory::read(memory::path(data_dir), &self.link);
        self.memory.apply(&mut self.link);
    }

    /// The counters.
    pub fn stats(&self) -> Arc<IngestStats> {
        self.stats.clone()
    }

    /// Publishes on this connection.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Changes what it subscribes to.
    pub fn subscriber(&self) -> Subscriber {
        self.subscriber.clone()
    }

    /// Connects, and connects again, until stopped. Never gives up by itself: a wrong password may
    /// be mended at the broker. Blocks its thread, which is its own: see `ReadPacing`.
    ///
    /// # Errors
    /// If the operating system refuses what an event loop needs.
    pub fn run(self) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.keep_up());
        Ok(())
    }

    async fn keep_up(mut self) {
        let mut stop = self.stop.clone();
        loop {
            let (version, v5_anew) = (self.link.version, self.memory.v5_is_due());
            let attempt = select! {
                biased;
                _ = stopped(&mut stop) => break,
                attempt = self.link.approach(v5_anew) => attempt,
            };
            let problem = match attempt {
                Err(problem) => {
                    self.rivals.turned_away();
                    problem
                }
                Ok(link) => {
                    let since = Instant::now();
                    if version != self.link.version {
                        self.report_version();
                    }
                    self.memory.let_in(&self.link);
                    let end = Session::new(&mut self, link).run(&mut stop).await;
                    self.stats.connected.store(false, Relaxed);
                    self.outbox.close();
                    let Err(problem) = end else {
                        self.is_parted = true;
                        break;
                    };
                    self.judge(&problem, since.elapsed());
                    problem
                }
            };
            self.report(problem);
            select! {
                biased;
                _ = stopped(&mut stop) => break,
                () = sleep(self.backoff.after_failure()) => {}
            }
        }
        self.outlet.close();
        if !self.is_parted && self.memory.session().is_some() {
            let (address, client_id) = (self.link.address(), &self.link.client_id);
            info!(
                "MQTT broker {address}: not connected at the end; it may still keep the session \
                 {client_id} and what is published meanwhile ({HOW_TO_END})"
            );
        }
        info!("MQTT: stopped");
    }

    /// What the end of a connection that has stood for `lasted` means for the next ones.
    fn judge(&mut self, problem: &LinkProblem, lasted: Duration) {
        let now = Instant::now();
        let suspicion = self.rivals.ended(problem, lasted, now);
        if let Some(suspicion) = suspicion {
            self.report_rival(suspicion, now);
        } else if lasted >= self.stable_after && !self.rivals.are_about(now) {
            self.backoff.reset();
            self.said.clear();
        }
    }

    fn report_rival(&mut self, suspicion: Suspicion, now: Instant) {
        let (address, client_id) = (self.link.address(), &self.link.client_id);
        let what = match suspicion {
            Suspicion::Sure => format!("another client uses the client id {client_id}, too"),
            Suspicion::Likely => format!(
                "closes each connection soon after letting us in, as if another client used the \
                 client id {client_id}, too (its log knows)"
            ),
        };
        let text = format!(
            "MQTT broker {address}: {what}: two of one name push each other off, and each gets a part \
             of the records; give this one an mqtt.client_id (or a device name) of its own"
        );
        self.stats.set_rival(text.clone());
        if self.rivals.may_say(now) {
            tracing::error!("{text}");
        }
    }

    /// A back-off of its own for something else that is asked again.
    fn new_backoff(&mut self) -> Backoff {
        let (wait_min, wait_max, seed) = &mut self.waits;
        *seed = seed.wrapping_add(1);
        Backoff::new(*wait_min, *wait_max, *seed)
    }

    fn report_version(&self) {
        let address = self.link.address();
        match self.link.version {
            MqttVersion::V5 => info!("MQTT broker {address}: takes MQTT 5 now"),
            MqttVersion::V311 => info!(
                "MQTT broker {address}: does not take MQTT 5; spoken to with 3.1.1 from now on \
                 (mqtt.version = \"3.1.1\" spares the attempt)"
            ),
        }
    }

    fn report(&mut self, problem: LinkProblem) {
        let text = problem.at(self.link.address()).to_string();
        self.stats.set_last_error(text.clone());
        if self.first_time(&text) {
            warn!("{text}; trying again");
        } else {
            debug!("{text}");
        }
    }

    /// Whether a line has not been said since the last connection that stood.
    fn first_time(&mut self, line: &str) -> bool {
        if self.said.iter().any(|said| said == line) {
            return false;
        }
        if self.said.len() == SAID_MAX {
            self.said.remove(0);
        }
        self.said.push(line.to_owned());
        true
    }
}

/// Has the broker forget the session that an agent on `data_dir`, which must not run, has left.
///
/// # Errors
/// Which file cannot be used, or why the broker does not let us in, in words.
pub async fn end_session(settings: &MqttSettings, data_dir: &Path) -> Result<(), String> {
    let mut link = LinkOptions::new(settings).map_err(|error| error.to_string())?;
    let mut memory = Memory::read(memory::path(data_dir), &link);
    memory.apply(&mut link);
    let ended = link.end_session().await;
    ended.map_err(|problem| problem.at(link.address()).to_string())?;
    if memory.session().is_some() {
        memory.set_session(None);
    }
    Ok(())
}

/// Resolves with the deadline once stopped; never without a stop.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let deadline = stop
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|deadline| *deadline);
    match deadline {
        Some(deadline) => deadline,
        None => std::future::pending().await,
    }
}
