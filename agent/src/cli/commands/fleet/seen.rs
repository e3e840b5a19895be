//! A device by what it has said last, and the trouble that this tells of.

use serde::Serialize;

use crate::{base::text, observe::heartbeat::Heartbeat};

/// Heartbeats that may be missing before a device is silent.
const MISSING_MAX: u64 = 3;
/// Between two heartbeats of a device that does not say, seconds.
const HEARTBEAT_S: u64 = 60;
/// Uploads that are farther behind are trouble, seconds.
const LAG_S_MAX: f64 = 300.0;

/// A device of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    /// Its name, as it stands at the centre.
    pub(super) device: String,
    /// When it said so, by its own clock, nanoseconds UTC.
    pub(super) last_seen_ns: i64,
    /// How long ago that is, seconds.
    pub(super) age_s: f64,
    /// It should have said something since.
    pub(super) silent: bool,
    /// What is not well, in words; the first is the worst.
    pub(super) trouble: Vec<String>,
    /// What it said.
    #[serde(flatten)]
    pub(super) heartbeat: Heartbeat,
}

impl Seen {
    /// `said`: its last heartbeats with their timestamps, the newest first. `None` if there is none.
    pub(super) fn new(device: &str, said: &[(i64, Heartbeat)], now_ns: i64) -> Option<Self> {
        let (last_ns, heartbeat) = said.first()?;
        let age_s = now_ns.saturating_sub(*last_ns) as f64 / 1e9;
        let silent_s = MISSING_MAX.saturating_mul(match heartbeat.every_s {
            0 => HEARTBEAT_S,
            every => every,
        }) as f64;
        let silent = age_s > silent_s;
        let mut trouble = Vec::new();
        if silent {
            trouble.push(format!("silent for {}", text::seconds(age_s)));
        } else if -age_s > silent_s {
            trouble.push(format!(
                "its clock is {} ahead of this one",
                text::seconds(-age_s)
            ));
        }
        if are_two(said) {
            trouble.push("two devices send under this name".to_owned());
        }
        trouble.extend(of(heartbeat));
        Some(Self {
            device: device.to_owned(),
            last_seen_ns: *last_ns,
            age_s: age_s.max(0.0),
            silent,
            trouble,
            heartbeat: heartbeat.clone(),
        })
    }

    /// Orders those in trouble first, the silent ones before the others.
    pub(super) fn rank(&self) -> (bool, bool, &str) {
        (!self.silent, self.trouble.is_empty(), &self.device)
    }
}

/// Whether two take turns: one that has moved to another disk or machine does not come back.
fn are_two(said: &[(i64, Heartbeat)]) -> bool {
    let mut instances = said
        .iter()
        .filter_map(|(_, heartbeat)| heartbeat.instance.as_ref());
    let Some(newest) = instances.next() else {
        return false;
    };
    let mut before = instances.skip_while(|instance| *instance == newest);
    before.any(|instance| instance == newest)
}

/// What a device itself says that is not well.
fn of(heartbeat: &Heartbeat) -> Vec<String> {
    let mut trouble: Vec<String> = heartbeat.problem.iter().cloned().collect();
    if heartbeat.dropped > 0 {
        let lost = text::of(heartbeat.dropped, "record");
        trouble.push(format!("{lost} lost for want of room"));
    }
    if heartbeat.streams_held > 0 {
        let held = text::of(heartbeat.streams_held, "stream");
        trouble.push(format!("{held} refused by the database"));
    }
    if heartbeat.lag_s > LAG_S_MAX {
        let (behind, rows) = (
            text::seconds(heartbeat.lag_s),
            text::of(heartbeat.lag_rows, "record"),
        );
        trouble.push(format!("uploads are {behind} behind ({rows})"));
    }
    if !heartbeat.clock_synchronised {
        trouble.push("its clock is not synchronised".to_owned());
    }
    trouble
}

#[cfg(test)]
mod tests;
