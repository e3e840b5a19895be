//! One connection, from its CONNACK to its end.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tokio::{
    select,
    sync::watch,
    time::{timeout, timeout_at},
};
use tracing::{error, info, warn};

use super::{
    Ack, Incoming, Ingest,
    stats::add,
    stopped,
    subscriptions::{SubscriptionChange, Subscriptions},
};
use crate::{
    config::settings::MqttVersion,
    mqtt::{
        KeepAlive, Link, LinkProblem, ReadPacing,
        wire::{self, Own, Packet},
    },
};

const SUBSCRIBE_ID: u16 = 1;
const UNSUBSCRIBE_ID: u16 = 4;
const SUBSCRIBE_OTHER_ID: u16 = 5;
const ONLINE_ID: u16 = 2;
const OFFLINE_ID: u16 = 3;
/// Reading stops while this much waits to be written, bytes.
const OUT_BYTES_MAX: usize = 256 * 1024;
/// Bound on saying good-bye, once the PUBACKs are out.
const PART_MAX: Duration = Duration::from_secs(2);

/// State of one connection.
pub(super) struct Session<'a> {
    pub(super) ingest: &'a mut Ingest,
    pub(super) link: Link,
    /// Its number, from 1.
    number: u64,
    pub(super) batch: Vec<Incoming>,
    /// Room in the inbox.
    room: bool,
    /// `QoS` 1 publishes handed to the consumer and not acknowledged yet.
    pub(super) unacked: u64,
    ackers_gone: bool,
    /// Publishes are thrown away: we are leaving, the broker keeps them.
    leaving: bool,
    offline_acked: bool,
    /// How long the broker keeps the session when the connection is gone, seconds.
    pub(super) kept_s: u32,
    /// It says that there is no session where there was one of this version, which it may always say.
    pub(super) maybe_lost: Option<MqttVersion>,
    /// It has answered our SUBSCRIBE.
    pub(super) is_subscribed: bool,
    subscriptions: Subscriptions,
    /// Packet id of the SUBSCRIBE whose answer counts.
    subscribe_id: u16,
    keep_alive: KeepAlive,
    pacing: ReadPacing,
}

impl<'a> Session<'a> {
    pub(super) fn new(ingest: &'a mut Ingest, link: Link) -> Self {
        let number = ingest.stats.connections.fetch_add(1, Relaxed) + 1;
        ingest.stats.connected.store(true, Relaxed);
        ingest.outbox.open();
        ingest.wanted.take();
        let subscriptions = Subscriptions::new(ingest.wanted.filters.len(), ingest.new_backoff());
        let keep_alive_s = link
            .connack
            .keep_alive_s
            .unwrap_or(ingest.link.keep_alive_s);
        Self {
            ingest,
            link,
            number,
            batch: Vec::new(),
            room: true,
            unacked: 0,
            ackers_gone: false,
            leaving: false,
            offline_acked: false,
            kept_s: 0,
            maybe_lost: None,
            is_subscribed: false,
            subscriptions,
            subscribe_id: SUBSCRIBE_ID,
            keep_alive: KeepAlive::new(keep_alive_s),
            pacing: ReadPacing::new(),
        }
    }

    /// Serves the connection. `Ok`: stopped and parted in good order (or as good as the deadline
    /// allowed). `Err`: why the connection is gone.
    pub(super) async fn run(
        mut self,
        stop: &mut watch::Receiver<Option<Instant>>,
    ) -> Result<(), LinkProblem> {
        self.greet()?;
        let deadline = loop {
            select! {
                biased;
                deadline = stopped(stop) => break deadline,
                done = self.step() => done?,
            }
        };
        self.leave(deadline).await;
        Ok(())
    }

    /// Says what is worth saying and subscribes.
    fn greet(&mut self) -> Result<(), LinkProblem> {
        let ack = &self.link.connack;
        let kept_s = ack
            .session_expiry_s
            .unwrap_or(self.ingest.link.session_expiry_s);
        let (resumed, retains) = (ack.session_present, self.ingest.link.retains);
        let address = self.ingest.link.address();
        if self.ingest.first_time("connected") {
            let session = if resumed { "resumed" } else { "new" };
            info!("MQTT broker {address}: connected, session {session}");
        }
        if kept_s < self.ingest.link.session_expiry_s && self.ingest.first_time("expiry") {
            warn!("MQTT broker {address}: keeps the session for only {kept_s} s without us");
        }
        if !retains && self.ingest.status.is_some() && self.ingest.first_time("retain") {
            warn!(
                "MQTT broker {address}: keeps no retained publishes: whoever subscribes to our status \
                 later sees it only when it changes"
            );
        }
        self.kept_s = kept_s;
        self.look_for_loss(resumed);
        let version = self.ingest.link.version;
        // In this order nothing falls in between.
        self.subscribe()?;
        self.unsubscribe()?;
        if let Some(status) = &self.ingest.status {
            let payload = status.online.as_bytes();
            wire::publish(
                version,
                &status.topic,
                payload,
                ONLINE_ID,
                retains,
                &mut self.link.writer.out,
            );
        }
        self.take_in()
    }

    /// Something else is wanted: the broker is told, and grants anew.
    fn change_subscriptions(&mut self) -> Result<(), LinkProblem> {
        let backoff = self.ingest.new_backoff();
        self.subscriptions = Subscriptions::new(self.ingest.wanted.filters.len(), backoff);
        // An answer to what was asked before says nothing about this.
        self.subscribe_id = match self.subscribe_id {
            SUBSCRIBE_ID => SUBSCRIBE_OTHER_ID,
            _ => SUBSCRIBE_ID,
        };
        self.subscribe()?;
        self.unsubscribe()
    }

    /// Ends what is not wanted any more.
    fn unsubscribe(&mut self) -> Result<(), LinkProblem> {
        let (retired, out) = (&self.ingest.wanted.retired, &mut self.link.writer.out);
        if !retired.is_empty() {
            wire::unsubscribe(self.ingest.link.version, retired, UNSUBSCRIBE_ID, out)?;
        }
        Ok(())
    }

    /// Waits for the next thing to do and does it. Cancel-safe: nothing is lost between two awaits.
    async fn step(&mut self) -> Result<(), LinkProblem> {
        let may_read = self.leaving || self.room && self.link.writer.out.len() < OUT_BYTES_MAX;
        let may_publish = !self.leaving && self.link.writer.out.len() < OUT_BYTES_MAX;
        if !may_read {
            self.keep_alive.heard();
        }
        select! {
            biased;
            () = self.ingest.wanted.changed(), if !self.leaving => if self.ingest.wanted.take() {
                self.change_subscriptions()?;
            },
            acks = self.ingest.acks.recv(), if !self.ackers_gone => match acks {
                Some(acks) => self.send_acks(&acks),
                None => self.ackers_gone = true,
            },
            written = self.link.writer.drain(), if self.link.writer.pending() => {
                written?;
                self.keep_alive.wrote();
            }
            due = self.keep_alive.beat() => {
                due?;
                wire::pingreq(&mut self.link.writer.out);
            }
            read = self.pacing.read(&mut self.link.reader), if may_read => {
                read?;
                self.keep_alive.heard();
                self.take_in()?;
            }
            (publish, stats) = self.ingest.outbox.next(), if may_publish => {
                let out = &mut self.link.writer.out;
                let version = self.ingest.link.version;
                wire::publish_qos0(version, &publish.topic, &publish.payload, out);
                add(&stats.written, 1);
            }
            () = self.ingest.outlet.room(), if !self.room => self.room = true,
            () = self.subscriptions.due(), if may_publish && may_read => self.subscribe()?,
        }
        Ok(())
    }

    /// Decodes what has been read and hands the publishes on, as one batch.
    fn take_in(&mut self) -> Result<(), LinkProblem> {
        let mut failed = None;
        loop {
            match self.link.reader.decoder.next() {
                Ok(Some(Packet::Publish(publish))) => {
                    if !self.leaving {
                        let is_known = self.link.connack.session_present;
                        self.batch
                            .push(Incoming::new(self.number, is_known, publish));
                    }
                }
                Ok(Some(other)) => failed = self.control(other).err(),
                Ok(None) => break,
                Err(e) => failed = Some(e.into()),
            }
            if failed.is_some() {
                break;
            }
        }
        self.hand_on();
        failed.map_or(Ok(()), Err)
    }

    fn hand_on(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.look_for_old();
        let (mut bytes, mut qos1, mut redelivered) = (0, 0, 0);
        for publish in &self.batch {
            bytes += (publish.topic.len() + publish.payload.len()) as u64;
            qos1 += u64::from(!publish.qos0);
            redelivered += u64::from(publish.dup);
        }
        let stats = &self.ingest.stats;
        add(&stats.publishes, self.batch.len() as u64);
        add(&stats.bytes, bytes);
        add(&stats.redelivered, redelivered);
        self.unacked += qos1;
        self.room = self.ingest.outlet.push(&mut self.batch);
        if !self.room {
            add(&stats.pauses, 1);
        }
    }

    fn send_acks(&mut self, acks: &[Ack]) {
        let before = self.link.writer.out.len();
        self.link.writer.out.reserve(acks.len() * 4);
        for ack in acks.iter().filter(|ack| ack.connection == self.number) {
            wire::puback(ack.packet_id, &mut self.link.writer.out);
        }
        let sent = ((self.link.writer.out.len() - before) / 4) as u64;
        self.unacked = self.unacked.saturating_sub(sent);
        add(&self.ingest.stats.acks, sent);
        add(&self.ingest.stats.stale_acks, acks.len() as u64 - sent);
    }

    fn control(&mut self, packet: Packet) -> Result<(), LinkProblem> {
        match packet {
            Packet::SubAck {
                packet_id,
                outcomes,
            } if packet_id == self.subscribe_id => self.subscribed(&outcomes),
            Packet::PubAck { packet_id, reason } => {
                self.offline_acked |= packet_id == OFFLINE_ID;
                if reason >= 0x80 && self.ingest.first_time("status") {
                    warn!("MQTT: the broker refuses our status (reason {reason:#x})");
                }
            }
            Packet::TakenOver => return Err(LinkProblem::TakenOver),
            Packet::UnsubAck(UNSUBSCRIBE_ID) => self.ingest.wanted.retired.clear(),
            Packet::Disconnect(reason) => return Err(LinkProblem::Disconnected(reason)),
            _ => {}
        }
        Ok(())
    }

    /// Asks for what is not granted yet.
    fn subscribe(&mut self) -> Result<(), LinkProblem> {
        let filters = &self.ingest.wanted.filters;
        let open = self.subscriptions.ask(Instant::now().into()).iter();
        let open: Vec<String> = open.map(|place| filters[*place].clone()).collect();
        if !open.is_empty() {
            let (version, out) = (self.ingest.link.version, &mut self.link.writer.out);
            // Our own status never comes back to us.
            wire::subscribe(version, &open, self.subscribe_id, Own::Unwanted, out)?;
        }
        Ok(())
    }

    fn subscribed(&mut self, outcomes: &[Result<u8, String>]) {
        self.hand_on();
        self.is_subscribed = true;
        if outcomes.iter().any(Result::is_ok) {
            self.session_stands();
        }
        for (place, change) in self.subscriptions.answered(outcomes, Instant::now().into()) {
            let filter = &self.ingest.wanted.filters[place];
            let text = match change {
                SubscriptionChange::Granted => continue,
                SubscriptionChange::GrantedAtLast => {
                    info!("MQTT: the broker grants the subscription to {filter} now");
                    continue;
                }
                SubscriptionChange::WithoutAcks => format!(
                    "MQTT: {filter} is granted with QoS 0 only: publishes are lost while we are away"
                ),
                SubscriptionChange::Refused(reason) => format!(
                    "MQTT: the broker refuses the subscription to {filter} ({reason}); check its \
                     access list and the filter; asked again from time to time"
                ),
            };
            self.ingest.stats.set_last_error(text.clone());
            if self.ingest.first_time(&text) {
                error!("{text}");
            }
        }
        let refused = self.subscriptions.refused().map(|(place, reason)| {
            let filter = &self.ingest.wanted.filters[place];
            format!("the broker refuses the subscription to {filter} ({reason})")
        });
        self.ingest.stats.set_refused(refused.collect());
        add(&self.ingest.stats.subscriptions, 1);
    }

    /// Lets the remaining PUBACKs out, goes offline and parts, all before `deadline` or little later.
    async fn leave(&mut self, deadline: Instant) {
        self.leaving = true;
        self.ingest.outbox.close();
        self.ingest.outlet.close();
        let flushed = timeout_at(deadline.into(), async {
            while self.unacked > 0 && !self.ackers_gone || self.link.writer.pending() {
                self.step().await?;
            }
            Ok::<_, LinkProblem>(())
        });
        if !matches!(flushed.await, Ok(Ok(()))) {
            let unacked = self.unacked;
            warn!("MQTT: left {unacked} publishes unacknowledged; the broker will send them again");
        }
        let parted = timeout(PART_MAX, async {
            if let Some(status) = &self.ingest.status {
                let (version, retain) = (self.ingest.link.version, self.ingest.link.retains);
                let payload = status.offline.as_bytes();
                wire::publish(
                    version,
                    &status.topic,
                    payload,
                    OFFLINE_ID,
                    retain,
                    &mut self.link.writer.out,
                );
                while !self.offline_acked {
                    self.step().await?;
                }
            }
            self.part().await
        });
        match parted.await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => warn!("MQTT: the connection broke at the very end: {problem}"),
            Err(_) => warn!("MQTT: the broker does not answer our leaving"),
        }
    }
}
