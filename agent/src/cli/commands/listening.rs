//! A session of a command's own at the broker: it begins clean, and ends with the command.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use super::Exit;
use crate::{
    config::settings::{MqttSettings, MqttVersion},
    mqtt::{
        KeepAlive, Link, LinkOptions, LinkProblem,
        wire::{self, Packet},
    },
};

/// Bound on saying good-bye.
const PART_MAX: Duration = Duration::from_secs(2);

/// Such a session.
pub(super) struct Listening {
    options: LinkOptions,
    link: Link,
    keep_alive: KeepAlive,
    /// What to look at where it fails.
    advice: &'static str,
}

impl Listening {
    /// Connects as `client_id`, which must be nobody else's.
    ///
    /// # Errors
    /// [`Exit::Failed`], with `advice`.
    pub(super) async fn open(
        settings: &MqttSettings,
        client_id: String,
        advice: &'static str,
    ) -> Result<Self, Exit> {
        let options = LinkOptions::new(settings);
        let mut options = options.map_err(|error| Exit::Failed(error.to_string()))?;
        options.client_id = client_id;
        options.clean_start = true;
        options.session_expiry_s = 0;
        options.last_will = None;
        let link = options.approach(false).await;
        let link = link.map_err(|problem| failed(&options.address(), &problem, advice))?;
        let keep_alive_s = link.connack.keep_alive_s.unwrap_or(options.keep_alive_s);
        Ok(Self {
            keep_alive: KeepAlive::new(keep_alive_s),
            options,
            link,
            advice,
        })
    }

    pub(super) fn address(&self) -> String {
        self.options.address()
    }

    pub(super) fn version(&self) -> MqttVersion {
        self.options.version
    }

    /// What is sent next.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.link.writer.out
    }

    /// The next packet; what there is to send is sent meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkProblem`] when the connection has ended.
    pub(super) async fn next(&mut self) -> Result<Packet, LinkProblem> {
        let Self {
            link, keep_alive, ..
        } = self;
        loop {
            match link.reader.decoder.next()? {
                Some(Packet::Disconnect(reason)) => return Err(LinkProblem::Disconnected(reason)),
                Some(packet) => return Ok(packet),
                None => {}
            }
            tokio::select! {
                written = link.writer.drain(), if link.writer.pending() => {
                    written?;
                    keep_alive.wrote();
                }
                due = keep_alive.beat() => {
                    due?;
                    wire::pingreq(&mut link.writer.out);
                }
                read = link.reader.fill() => {
                    read?;
                    keep_alive.heard();
                }
            }
        }
    }

    /// Says good-bye.
    pub(super) async fn end(&mut self) {
        let _parted = timeout(PART_MAX, self.link.part_for_good(self.options.version)).await;
    }

    /// How the command ends for this.
    pub(super) fn failed(&self, problem: &LinkProblem) -> Exit {
        failed(&self.address(), problem, self.advice)
    }
}

fn failed(address: &str, problem: &LinkProblem, advice: &str) -> Exit {
    Exit::Failed(format!("{address}: {problem}: {advice}"))
}
