//! What is known of the broker from earlier connections and runs: how to speak to it, and whether it
//! holds anything for us.
//!
//! Promises: written when something changes and only then, which is a few times in the life of a
//! broker; of another broker or client id as good as none; a file that cannot be read or written
//! costs a question asked again, never a record.

use std::path::{Path, PathBuf};

use dunlin_sync::files::state_file;
use serde::{Deserialize, Serialize};

use crate::{base::wall::wall_ns, config::settings::MqttVersion, mqtt::LinkOptions};

/// Format of [`Remembered`]; another one is as none.
const FORMAT: u8 = 1;
/// MQTT 5 is tried anew after this long with 3.1.1, at the next connection that is made anyway.
const V5_ANEW_S: i64 = 86_400;

/// What a broker has shown about "session present".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Presence {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It has said that a session is present: when it says the opposite, the session is gone.
    Said,
    /// It has delivered what waited without ever saying so.
    Unsaid,
    /// It did neither, and that was told.
    Doubted,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    format: u8,
    broker: String,
    client_id: String,
    speaks_311: bool,
    /// When MQTT 5 was tried last, nanoseconds UTC.
    v5_tried_ns: i64,
    retains: bool,
    /// The version of MQTT of the session that it keeps for us; `None`: it keeps none.
    session_is_311: Option<bool>,
    presence: Presence,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    /// `None`: kept for this run alone.
    path: Option<PathBuf>,
    known: Remembered,
    wall_ns: fn() -> i64,
}

pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("state").join("broker")
}

impl Memory {
    /// Nothing known, of the broker that `link` names; nothing is kept.
    pub(super) fn none(link: &LinkOptions) -> Self {
        Self {
            path: None,
            known: Remembered {
                format: FORMAT,
                broker: link.address(),
                client_id: link.client_id.clone(),
                retains: true,
                ..Remembered::default()
            },
            wall_ns,
        }
    }

    /// What is kept at `path`, if it is of the same broker and client id.
    pub(super) fn read(path: PathBuf, link: &LinkOptions) -> Self {
        let mut memory = Self::none(link);
        match state_file::read::<Remembered>(&path) {
            Ok(Some(known)) if memory.is_about_the_same(&known) => memory.known = known,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what was known of the broker is found out anew"),
        }
        memory.path = Some(path);
        memory
    }

    fn is_about_the_same(&self, other: &Remembered) -> bool {
        let ours = &self.known;
        (ours.format, &ours.broker, &ours.client_id)
            == (other.format, &other.broker, &other.client_id)
    }

    /// Has `link` begin with what was found before.
    pub(super) fn apply(&self, link: &mut LinkOptions) {
        if link.any_version && self.known.speaks_311 {
            link.version = MqttVersion::V311;
        }
        link.retains = self.known.retains;
    }

    /// Whether it is time to try MQTT 5 anew; if so, not again for a while. A wall clock that was set
    /// back makes it time.
    pub(super) fn v5_is_due(&mut self) -> bool {
        let (now, tried) = ((self.wall_ns)(), self.known.v5_tried_ns);
        let is_due =
            self.known.speaks_311 && !(0..V5_ANEW_S * 1_000_000_000).contains(&(now - tried));
        if is_due {
            self.known.v5_tried_ns = now;
        }
        is_due
    }

    /// How `link` has been let in.
    pub(super) fn let_in(&mut self, link: &LinkOptions) {
        let now = (self.wall_ns)();
        let retains = link.retains;
        let speaks_311 = link.any_version && link.version == MqttVersion::V311;
        self.change(|known| {
            if speaks_311 && !known.speaks_311 {
                known.v5_tried_ns = now;
            }
            (known.speaks_311, known.retains) = (speaks_311, retains);
        });
    }

    /// Whether the broker keeps a session for us, and with which version it was made.
    pub(super) fn session(&self) -> Option<MqttVersion> {
        self.known.session_is_311.map(|is_311| {
            if is_311 {
                MqttVersion::V311
            } else {
                MqttVersion::V5
            }
        })
    }

    /// The broker keeps a session made with `version` for us from now on, or none.
    pub(super) fn set_session(&mut self, version: Option<MqttVersion>) {
        self.change(|known| known.session_is_311 = version.map(|v| v == MqttVersion::V311));
    }

    /// What the broker has shown about "session present".
    pub(super) fn presence(&self) -> Presence {
        self.known.presence
    }

    /// It has shown more.
    pub(super) fn set_presence(&mut self, presence: Presence) {
        self.change(|known| known.presence = presence);
    }

    fn change(&mut self, change: impl FnOnce(&mut Remembered)) {
        let before = self.known.clone();
        change(&mut self.known);
        if let Some(path) = &self.path
            && before != self.known
            && let Err(error) = state_file::write(path, &self.known)
        {
            // Found out again after the next start.
            tracing::warn!(%error, path = %path.display(), "what is known of the broker is not kept");
        }
    }
}

#[cfg(test)]
mod tests;
