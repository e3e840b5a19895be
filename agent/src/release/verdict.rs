//! What became of a release on a device, as it is told to the centre.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::FORMAT;

/// What became of a released model, from good to bad: of several the last is that of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It serves.
    Serves,
    /// The gate did not let it pass: what served before serves.
    Refused,
    /// It could not be had, verified or judged.
    Failed,
    /// It served, was worse than the version before, and was taken back.
    RolledBack,
}

impl Outcome {
    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
        }
    }
}

/// What a device says of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`FORMAT`]
    pub format: u32,
    /// The device.
    pub device: String,
    /// Which release of the line.
    pub serial: u64,
    /// The worst that became of it.
    pub outcome: Outcome,
    /// Why, in words, with the stream on which it was so.
    pub reason: String,
    /// What became of it on how many streams; none where it was not even tried.
    pub streams: BTreeMap<Outcome, u64>,
    /// When, nanoseconds UTC.
    pub at_ns: i64,
}

impl Verdict {
    /// Out of a document; `None` if it is none that this version can read.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let verdict: Self = serde_json::from_slice(bytes).ok()?;
        (verdict.format == FORMAT).then_some(verdict)
    }

    /// Whether both say the same, whenever they do.
    pub fn says_what(&self, other: &Self) -> bool {
        let at = |verdict: &Self| Self {
            at_ns: 0,
            ..verdict.clone()
        };
        at(self) == at(other)
    }
}

/// Where all devices say what became of the releases of a line.
pub fn channel(line: &str) -> String {
    format!("verdicts/{line}")
}
