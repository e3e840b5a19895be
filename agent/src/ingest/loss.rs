//! Whether the session that the broker kept for us is gone, and what waited in it.
//!
//! A broker says so in its CONNACK, but some never say that a session is present and deliver what
//! waited all the same. So "new" means a loss only where there was a session, in this run or an earlier
//! one, and the broker either has said "present" before or delivers nothing that can be old.

use tracing::warn;

use super::{Incoming, memory::Presence, session::Session, stats::add};
use crate::config::settings::MqttVersion;

impl Session<'_> {
    /// What the CONNACK says.
    pub(super) fn look_for_loss(&mut self, is_present: bool) {
        let memory = &mut self.ingest.memory;
        if is_present {
            return memory.set_presence(Presence::Said);
        }
        let Some(made_with) = memory.session() else {
            return;
        };
        match memory.presence() {
            Presence::Said => self.tell_loss(made_with, "is gone"),
            Presence::Unknown | Presence::Doubted => self.maybe_lost = Some(made_with),
            Presence::Unsaid => {}
        }
    }

    /// What comes before the broker has answered our SUBSCRIBE, or comes again, has waited in the
    /// session.
    pub(super) fn look_for_old(&mut self) {
        let has_waited = |publish: &Incoming| {
            !publish.qos0 && (publish.dup || !self.is_subscribed && !publish.retain)
        };
        if self.maybe_lost.is_some() && self.batch.iter().any(has_waited) {
            self.maybe_lost = None;
            self.ingest.memory.set_presence(Presence::Unsaid);
        }
    }

    /// The broker has granted us something, so that it keeps a session from now on, if it keeps any.
    pub(super) fn session_stands(&mut self) {
        let memory = &mut self.ingest.memory;
        if let Some(made_with) = self.maybe_lost
            && memory.presence() == Presence::Unknown
        {
            memory.set_presence(Presence::Doubted);
            self.tell_loss(
                made_with,
                "is gone, unless this broker keeps sessions without saying so",
            );
        }
        let version = self.ingest.link.version;
        let memory = &mut self.ingest.memory;
        memory.set_session((self.kept_s > 0).then_some(version));
    }

    fn tell_loss(&mut self, made_with: MqttVersion, what: &str) {
        let ingest = &mut *self.ingest;
        add(&ingest.stats.sessions_lost, 1);
        let address = ingest.link.address();
        let otherwise = if made_with == ingest.link.version {
            ""
        } else {
            " (it was made with another version of MQTT)"
        };
        let text = format!(
            "MQTT broker {address}: the broker has lost the session{otherwise}; what it held for us \
             {what}"
        );
        if ingest.first_time(&text) {
            warn!("{text}");
        }
        ingest.stats.set_last_error(text);
    }
}
