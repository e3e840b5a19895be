//! Publishes at a rate, with a bounded number under way, over as many connections as it takes.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::BytesMut;
use dunlin_sync::{backoff::Backoff, files::secret_file::FollowedPassword, tls::FollowedTls};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{Report, SimulateError, SimulateOptions, fleet::Fleet};
use crate::{
    config::settings::MqttVersion,
    mqtt::{
        KeepAlive, Link, LinkOptions, LinkProblem, ReadPacing,
        link::Reader,
        wire::{self, Packet},
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_S: u16 = 30;
/// Kept by the broker while we reconnect, seconds.
const SESSION_EXPIRY_S: u32 = 300;
/// Bytes waiting to be written before new publishes wait too.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// Shortest pause between two groups of publishes when there is a rate.
const TICK: Duration = Duration::from_millis(1);
/// A late start is caught up with at most this much of the past.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Smallest window in which PUBACKs may be collected for a millisecond.
const REST_WINDOW_MIN: usize = 500;
const PART_MAX: Duration = Duration::from_secs(2);

/// A publish under way: its packet id is its place in the table, plus one.
#[derive(Debug, Default)]
struct Slot {
    /// As sent, for sending it again; kept to be reused.
    encoded: BytesMut,
    /// Order of first sending; `None`: free.
    order: Option<u64>,
    truth: bool,
}

impl Slot {
    fn send(
        &mut self,
        version: MqttVersion,
        topic: &str,
        payload: &[u8],
        id: u16,
        out: &mut BytesMut,
    ) {
        self.encoded.clear();
        wire::publish(version, topic, payload, id, false, &mut self.encoded);
        out.extend_from_slice(&self.encoded);
    }
}

pub(super) struct Publisher<'a> {
    options: &'a SimulateOptions,
    link: LinkOptions,
    fleet: Fleet,
    report: Report,
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Packet ids to be sent again on this connection, in order.
    resend: VecDeque<u16>,
    /// Sent on this connection and not acknowledged.
    in_flight: usize,
    /// What the broker allows on this connection.
    window: usize,
    order: u64,
    /// When the first publish was due.
    start: Instant,
    stopping: bool,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(options: &'a SimulateOptions) -> Result<Self, SimulateError> {
        let broker = &options.broker;
        let link = LinkOptions {
            host: broker.host.clone(),
            port: broker.port,
            tls: broker
                .tls
                .then(|| FollowedTls::new(options.tls.clone()))
                .transpose()?
                .map(Arc::new),
            version: options.version,
            any_version: false,
            retains: true,
            client_id: options.client_id.clone(),
            user: broker.user.clone(),
            password: (broker.password.as_ref())
                .map(|password| FollowedPassword::new(password.reveal().to_owned(), None)),
            clean_start: true,
            session_expiry_s: SESSION_EXPIRY_S,
            keep_alive_s: KEEP_ALIVE_S,
            receive_maximum: u16::MAX,
            payload_bytes_max: 1024,
            last_will: None,
            connect_timeout: CONNECT_TIMEOUT,
        };
        let slots = usize::from(options.in_flight_max.max(1));
        Ok(Self {
            options,
            link,
            fleet: Fleet::new(options),
            report: Report::default(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            free: (1..=slots as u16).rev().collect(),
            resend: VecDeque::new(),
            in_flight: 0,
            window: 0,
            order: 0,
            start: Instant::now(),
            stopping: false,
        })
    }

    pub(super) async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Report, SimulateError> {
        let (wait_min, wait_max) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new(wait_min, wait_max, self.options.seed);
        let mut link = self
            .link
            .connect()
            .await
            .map_err(|p| p.at(self.link.address()))?;
        self.link.clean_start = false;
        self.start = Instant::now();
        let started = self.start;
        let mut deadline = None;
        loop {
            let lost = match self.serve(&mut link, &mut stop, &mut deadline).await {
                Ok(()) => {
                    self.report.seconds = started.elapsed().as_secs_f64();
                    // All PUBACKs are here (or given up): a failure to part changes nothing.
                    let _parted = timeout(PART_MAX, link.part()).await;
                    break;
                }
                Err(problem) => problem.at(self.link.address()),
            };
            warn!("{lost}; trying again");
            link = loop {
                let next = async {
                    sleep(backoff.after_failure()).await;
                    self.link.connect().await
                };
                select! {
                    biased;
                    () = stop_asked(&mut stop), if deadline.is_none() => {
                        deadline = Some(Instant::now() + self.options.drain_max);
                    }
                    () = until(deadline) => {
                        self.report.seconds = started.elapsed().as_secs_f64();
                        return Ok(self.finish());
                    }
                    link = next => if let Ok(link) = link { break link },
                }
            };
            info!("{}: connected again", self.link.address());
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Report {
        self.fleet.report(&mut self.report);
        self.report
    }

    /// Publishes over one connection until everything is published and acknowledged, or the
    /// deadline after a stop has passed.
    async fn serve(
        &mut self,
        link: &mut Link,
        stop: &mut watch::Receiver<bool>,
        deadline: &mut Option<Instant>,
    ) -> Result<(), LinkProblem> {
        self.window = usize::from(link.connack.receive_maximum.unwrap_or(u16::MAX));
        self.in_flight = 0;
        self.plan_resend();
        // With a small window every PUBACK is urgent.
        let mut pacing =
            (self.window.min(self.slots.len()) >= REST_WINDOW_MIN).then(ReadPacing::new);
        let mut keep_alive = KeepAlive::new(link.connack.keep_alive_s.unwrap_or(KEEP_ALIVE_S));
        loop {
            let next = self.fill(&mut link.writer.out);
            if self.free.len() == self.slots.len() && self.all_made() {
                return Ok(());
            }
            select! {
                biased;
                () = stop_asked(stop), if !self.stopping => {
                    self.stopping = true;
                    deadline.get_or_insert_with(|| Instant::now() + self.options.drain_max);
                }
                () = until(*deadline) => return Ok(()),
                written = link.writer.drain(), if link.writer.pending() => {
                    written?;
                    keep_alive.wrote();
                }
                read = fill(&mut link.reader, &mut pacing) => {
                    read?;
                    keep_alive.heard();
                    while let Some(packet) = link.reader.decoder.next()? {
                        match packet {
                            Packet::PubAck { packet_id, reason } => self.acked(packet_id, reason),
                            Packet::Disconnect(reason) => {
                                return Err(LinkProblem::Disconnected(reason));
                            }
                            _ => {}
                        }
                    }
                }
                due = keep_alive.beat() => {
                    due?;
                    wire::pingreq(&mut link.writer.out);
                }
                () = until(next), if next.is_some() => {}
            }
        }
    }

    /// Everything without a PUBACK goes out again, oldest first, marked DUP.
    fn plan_resend(&mut self) {
        let under_way = self
            .slots
            .iter()
            .zip(1..)
            .filter_map(|(s, id)| Some((s.order?, id)));
        let mut under_way: Vec<(u64, u16)> = under_way.collect();
        under_way.sort_unstable();
        self.resend = under_way.into_iter().map(|(_, id)| id).collect();
    }

    fn all_made(&self) -> bool {
        let count = self.options.count;
        self.stopping || count > 0 && self.fleet.made() >= count
    }

    /// Queues what may go out now. Returns when more may be due, if only the rate or
    /// the lead holds it back.
    fn fill(&mut self, out: &mut BytesMut) -> Option<Instant> {
        while self.in_flight < self.window && out.len() < OUT_BYTES_MAX {
            let Some(id) = self.resend.pop_front() else {
                break;
            };
            let encoded = &mut self.slots[usize::from(id) - 1].encoded;
            wire::mark_dup(encoded);
            out.extend_from_slice(encoded);
            self.in_flight += 1;
            self.report.resent += 1;
        }
        let mut due = self.due().min(self.lead_left());
        let time_ms = now_ms();
        while self.in_flight < self.window && out.len() < OUT_BYTES_MAX && !self.free.is_empty() {
            if !self.publish_truth(out) {
                if due == 0 || self.all_made() {
                    break;
                }
                self.publish_reading(time_ms, out);
                due -= 1;
            }
        }
        let rate = self.options.rate;
        (due == 0 && !self.all_made()).then(|| {
            let soon = Instant::now() + TICK;
            if rate <= 0.0 {
                return soon;
            }
            let made = self.fleet.made() + 1;
            let next = self.start + Duration::from_secs_f64(made as f64 / rate);
            next.max(soon)
        })
    }

    /// How many more the consumer can be left with.
    fn lead_left(&self) -> u64 {
        let Some(lead) = &self.options.lead else {
            return u64::MAX;
        };
        let received = lead.consumer.publishes.load(Relaxed);
        (received + lead.publishes_max).saturating_sub(self.fleet.made())
    }

    /// How many readings should be out by now and are not.
    fn due(&mut self) -> u64 {
        let rate = self.options.rate;
        if rate <= 0.0 {
            return u64::MAX;
        }
        let made = self.fleet.made() as f64;
        let behind = self.start.elapsed().as_secs_f64() - made / rate;
        let forgotten = behind - CATCH_UP.as_secs_f64();
        if forgotten > 0.0 {
            self.start += Duration::from_secs_f64(forgotten);
        }
        ((self.start.elapsed().as_secs_f64() * rate) - made).max(0.0) as u64
    }

    fn publish_reading(&mut self, time_ms: i64, out: &mut BytesMut) {
        let Some(id) = self.free.pop() else { return };
        let slot = &mut self.slots[usize::from(id) - 1];
        let words = self.fleet.reading(time_ms);
        slot.send(self.options.version, words.topic, words.payload, id, out);
        slot.truth = false;
        self.options.progress.published.fetch_add(1, Relaxed);
        self.sent(id);
    }

    /// Publishes the truth about a fault, if it has changed with the last reading.
    fn publish_truth(&mut self, out: &mut BytesMut) -> bool {
        let Some((topic, payload)) = self.fleet.truth() else {
            return false;
        };
        let Some(id) = self.free.pop() else {
            return false;
        };
        let slot = &mut self.slots[usize::from(id) - 1];
        slot.send(self.options.version, topic, payload.as_bytes(), id, out);
        slot.truth = true;
        self.report.truth_published += 1;
        self.sent(id);
        true
    }

    fn sent(&mut self, id: u16) {
        self.slots[usize::from(id) - 1].order = Some(self.order);
        self.order += 1;
        self.in_flight += 1;
    }

    fn acked(&mut self, packet_id: u16, reason: u8) {
        let Some(slot) = self.slots.get_mut(usize::from(packet_id).wrapping_sub(1)) else {
            return;
        };
        // A PUBACK for nothing: the broker is confused, we are not.
        if slot.order.take().is_none() {
            return;
        }
        self.free.push(packet_id);
        self.in_flight = self.in_flight.saturating_sub(1);
        if slot.truth {
            return;
        }
        if reason >= 0x80 {
            self.report.refused += 1;
        } else {
            self.report.acked += 1;
            self.options.progress.acked.fetch_add(1, Relaxed);
        }
    }
}

async fn fill(reader: &mut Reader, pacing: &mut Option<ReadPacing>) -> Result<(), LinkProblem> {
    match pacing {
        Some(pacing) => pacing.read(reader).await,
        None => reader.fill().await,
    }
}

async fn stop_asked(stop: &mut watch::Receiver<bool>) {
    let asked = stop.wait_for(|stop| *stop).await.is_ok();
    if !asked {
        std::future::pending::<()>().await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as i64
}
