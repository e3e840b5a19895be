//! What a broker really does, asked and measured with publishes to ourselves: what it lets us
//! subscribe to, how many publishes it has under way without a PUBACK, and whether it keeps what is
//! published while we are away.
//!
//! Promises: on a topic and under a client id of the doctor's own; nothing is left at the broker;
//! bounded in publishes, bytes and time.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    config::settings::MqttVersion,
    mqtt::{
        Link, LinkOptions, LinkProblem,
        wire::{self, Packet},
    },
};

/// Most publishes made: a larger window is as good as none.
const PUBLISHES_MAX: u16 = 4_000;
/// Publishes of ours without a PUBACK at most.
const OURS_MAX: u16 = 20;
/// Nothing more comes after a silence this long.
const QUIET: Duration = Duration::from_millis(700);
const MEASURE_MAX: Duration = Duration::from_secs(15);
/// Bound on saying good-bye.
const PART_MAX: Duration = Duration::from_secs(2);
/// How long the broker is to keep the doctor's session between two connections, seconds.
const AWAY_S: u32 = 60;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmeasured {
    /// It does not let us publish to ourselves.
    #[error("{0}")]
    NotAllowed(String),
    #[error(transparent)]
    Link(#[from] LinkProblem),
    #[error("no end within {MEASURE_MAX:?}")]
    TimedOut,
}

/// Publishes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Publishes that came while none was acknowledged.
    pub(super) publishes: u16,
    /// Every one that was made came: there may be no limit.
    pub(super) is_all: bool,
}

/// Counts what comes without a PUBACK when more is published than `asked_for`; in a session that lasts, as the
/// agent's: some brokers have more under way in others.
pub(super) async fn measure(
    link: &LinkOptions,
    topic: &str,
    asked_for: u16,
) -> Result<Window, Unmeasured> {
    let count = asked_for.saturating_add(100).min(PUBLISHES_MAX);
    let measured = timeout(MEASURE_MAX, async {
        // With 3.1.1 what begins clean does not last.
        link.end_session().await?;
        let mut talk = Talk::begin(link, false, AWAY_S).await?;
        talk.subscribe(topic).await?;
        talk.publish(topic, count).await?;
        let window = Window {
            publishes: talk.held.len() as u16,
            is_all: talk.held.len() >= usize::from(count),
        };
        talk.end().await;
        Ok(window)
    });
    let measured = measured.await.unwrap_or(Err(Unmeasured::TimedOut));
    let _gone = timeout(PART_MAX, link.end_session()).await;
    measured
}

/// Whether what is published while we are away waits for us.
pub(super) async fn keeps_what_waits(link: &LinkOptions, topic: &str) -> Result<bool, Unmeasured> {
    let kept = timeout(MEASURE_MAX, async {
        // With 3.1.1 what begins clean does not last.
        link.end_session().await?;
        let mut talk = Talk::begin(link, false, AWAY_S).await?;
        talk.subscribe(topic).await?;
        talk.leave().await;
        let mut other = link.clone();
        other.client_id.push('2');
        let mut other = Talk::begin(&other, true, 0).await?;
        let published = other.publish(topic, 1).await;
        other.end().await;
        published?;
        let mut talk = Talk::begin(link, false, AWAY_S).await?;
        // Some deliver only to whoever has subscribed on this connection.
        talk.subscribe(topic).await?;
        talk.listen().await?;
        let kept = !talk.held.is_empty();
        talk.end().await;
        Ok(kept)
    })
    .await
    .unwrap_or(Err(Unmeasured::TimedOut));
    // With 3.1.1 a session that was to last ends only so; and whatever went wrong above.
    let _gone = timeout(PART_MAX, link.end_session()).await;
    kept
}

/// The filters that the broker refuses, each with its reason. Shared ones are not asked for: what comes
/// to us would not come to whoever shares them.
pub(super) async fn refused(
    link: &LinkOptions,
    filters: &[String],
) -> Result<Vec<(String, String)>, Unmeasured> {
    let asked: Vec<String> = filters
        .iter()
        .filter(|filter| !filter.starts_with("$share/"))
        .cloned()
        .collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let mut talk = Talk::begin(link, true, 0).await?;
    let answered = timeout(MEASURE_MAX, talk.ask_for(&asked, wire::Own::Unwanted)).await;
    talk.end().await;
    let outcomes = answered.map_err(|_| Unmeasured::TimedOut)??;
    let refused = asked.into_iter().zip(outcomes);
    Ok(refused
        .filter_map(|(filter, outcome)| Some((filter, outcome.err()?)))
        .collect())
}

/// A connection that acknowledges nothing until it ends.
struct Talk {
    link: Link,
    version: MqttVersion,
    /// Packet ids of the publishes that came.
    held: Vec<u16>,
    /// PUBACKs that came.
    acked: u16,
    /// Of these, refusals.
    refused: Option<u8>,
    suback: Option<Vec<Result<u8, String>>>,
}

impl Talk {
    async fn begin(
        link: &LinkOptions,
        clean_start: bool,
        session_expiry_s: u32,
    ) -> Result<Self, LinkProblem> {
        let options = LinkOptions {
            clean_start,
            session_expiry_s,
            last_will: None,
            ..link.clone()
        };
        Ok(Self {
            version: options.version,
            link: options.connect().await?,
            held: Vec::new(),
            acked: 0,
            refused: None,
            suback: None,
        })
    }

    async fn subscribe(&mut self, topic: &str) -> Result<(), Unmeasured> {
        let outcomes = self.ask_for(&[topic.to_owned()], wire::Own::Wanted).await?;
        match outcomes.into_iter().next() {
            Some(Err(reason)) => {
                let text = format!("it refuses a subscription to {topic} ({reason})");
                Err(Unmeasured::NotAllowed(text))
            }
            _ => Ok(()),
        }
    }

    /// Subscribes; what the broker says to each filter.
    async fn ask_for(
        &mut self,
        filters: &[String],
        own: wire::Own,
    ) -> Result<Vec<Result<u8, String>>, LinkProblem> {
        wire::subscribe(self.version, filters, 1, own, &mut self.link.writer.out)?;
        loop {
            if let Some(outcomes) = self.suback.take() {
                return Ok(outcomes);
            }
            self.turn().await?;
        }
    }

    /// Publishes and reads until nothing more comes.
    async fn publish(&mut self, topic: &str, count: u16) -> Result<(), Unmeasured> {
        let window = self.link.connack.receive_maximum.unwrap_or(OURS_MAX);
        let (mut made, window) = (0, window.clamp(1, OURS_MAX));
        while made < count || self.acked < count {
            while made < count && made.saturating_sub(self.acked) < window {
                made += 1;
                let payload = made.to_string();
                let out = &mut self.link.writer.out;
                wire::publish(self.version, topic, payload.as_bytes(), made, false, out);
            }
            let Ok(turned) = timeout(QUIET, self.turn()).await else {
                // Some acknowledge nothing more while we do not.
                break;
            };
            turned?;
            if let Some(reason) = self.refused {
                let text = format!("it lets us not publish to {topic} (reason {reason:#x})");
                return Err(Unmeasured::NotAllowed(text));
            }
        }
        self.listen().await?;
        if self.acked == 0 {
            let text = format!("it does not acknowledge a publish to {topic}");
            return Err(Unmeasured::NotAllowed(text));
        }
        Ok(())
    }

    /// Reads until nothing more comes.
    async fn listen(&mut self) -> Result<(), LinkProblem> {
        let mut before = usize::MAX;
        while before != self.held.len() {
            before = self.held.len();
            let quiet_at = Instant::now() + QUIET;
            while let Ok(turned) = timeout_at(quiet_at, self.turn()).await {
                turned?;
            }
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), LinkProblem> {
        tokio::select! {
            written = self.link.writer.drain(), if self.link.writer.pending() => written?,
            read = self.link.reader.fill() => read?,
        }
        while let Some(packet) = self.link.reader.decoder.next()? {
            match packet {
                Packet::Publish(publish) if publish.packet_id > 0 => {
                    self.held.push(publish.packet_id);
                }
                Packet::PubAck { reason, .. } => {
                    self.acked += 1;
                    if reason >= 0x80 {
                        self.refused = Some(reason);
                    }
                }
                Packet::SubAck { outcomes, .. } => self.suback = Some(outcomes),
                Packet::Disconnect(reason) => return Err(LinkProblem::Disconnected(reason)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Acknowledges what came and leaves no session. How it takes that does not matter any more.
    async fn end(mut self) {
        self.acknowledge();
        let _parted = timeout(PART_MAX, self.link.part_for_good(self.version)).await;
    }

    /// Leaves, and the session stays.
    async fn leave(mut self) {
        let _parted = timeout(PART_MAX, self.link.part()).await;
    }

    fn acknowledge(&mut self) {
        let mut acks = BytesMut::with_capacity(self.held.len() * 4);
        for id in self.held.drain(..) {
            wire::puback(id, &mut acks);
        }
        self.link.writer.out.extend_from_slice(&acks);
    }
}
