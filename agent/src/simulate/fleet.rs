//! The machines of one run and what they have to say, as topics and payloads.

use std::{fmt::Write as _, sync::Arc};

use super::{FaultKind, Machine, MachineState, Progress, Report, SimulateOptions};

const MACHINES_PER_LINE: u32 = 10;
/// Time between two readings of one machine when they are made as fast as possible, seconds.
const FAST_STEP_S: f64 = 0.1;
/// Not one of these is JSON, whatever fields are declared.
const BAD_PAYLOADS: [&[u8]; 6] = [
    b"not json",
    b"",
    b"{\"vibration_mm_s\":1.5,\"temperature_c\":",
    b"{\"vibration_mm_s\":1.5}}",
    b"\xff\xfe\x00\x80",
    b"[{\"vibration_mm_s\":1.5}",
];

#[derive(Debug)]
struct Member {
    machine: Machine,
    topic: String,
    truth_topic: String,
    truth: Option<FaultKind>,
    state: MachineState,
    states: Vec<(u64, MachineState)>,
    n: u64,
}

/// All machines, taking turns.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Member>,
    step_s: f64,
    bad_every: u64,
    turn: usize,
    /// Readings made, bad ones included.
    made: u64,
    bad: u64,
    bytes: u64,
    payload: String,
    /// Whose truth has changed, and how.
    truth: Option<(usize, String)>,
    progress: Arc<Progress>,
}

/// One reading to publish.
pub(crate) struct Words<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
}

impl Fleet {
    pub(crate) fn new(options: &SimulateOptions) -> Self {
        let streams = options.streams.max(1);
        let member = |at: u32| {
            let place = format!(
                "plant/line{}/machine{}",
                at / MACHINES_PER_LINE + 1,
                at % MACHINES_PER_LINE + 1
            );
            // Far apart seeds: neighbours share nothing.
            let seed = options.seed ^ u64::from(at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Member {
                machine: Machine::new(seed, options.fault_gap_s)
                    .healthy_for(options.healthy_s)
                    .with_faults_of(options.fault_s.0, options.fault_s.1),
                topic: format!("{place}/vibration"),
                truth_topic: format!("{place}/fault"),
                truth: None,
                state: MachineState::Healthy,
                states: Vec::new(),
                n: 0,
            }
        };
        let step_s = if options.rate > 0.0 {
            f64::from(streams) / options.rate * options.speed
        } else {
            FAST_STEP_S
        };
        Self {
            members: (0..streams).map(member).collect(),
            step_s,
            bad_every: options.bad_every,
            turn: 0,
            made: 0,
            bad: 0,
            bytes: 0,
            payload: String::new(),
            truth: None,
            progress: Arc::clone(&options.progress),
        }
    }

    /// Readings made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// The next reading, stamped `time_ms`. Ask [`Fleet::truth`] right after it.
    pub(crate) fn reading(&mut self, time_ms: i64) -> Words<'_> {
        let turn = self.turn;
        self.turn = (turn + 1) % self.members.len();
        let member = &mut self.members[turn];
        self.made += 1;
        let reading = member.machine.next(self.step_s);
        if self.bad_every > 0 && self.made.is_multiple_of(self.bad_every) {
            let payload = BAD_PAYLOADS[self.bad as usize % BAD_PAYLOADS.len()];
            self.bad += 1;
            self.bytes += payload.len() as u64;
            return Words {
                topic: &member.topic,
                payload,
            };
        }
        member.n += 1;
        self.payload.clear();
        // Writing to a String cannot fail.
        let _infallible = write!(
            self.payload,
            "{{\"vibration_mm_s\":{:.3},\"peak_mm_s\":{:.3},\"temperature_c\":{:.2},\
             \"current_a\":{:.2},\"rpm\":{:.1},\"time\":{time_ms},\"n\":{}}}",
            reading.vibration_mm_s,
            reading.peak_mm_s,
            reading.temperature_c,
            reading.current_a,
            reading.rpm,
            member.n
        );
        self.bytes += self.payload.len() as u64;
        let fault = member.machine.fault();
        let state = MachineState::of(fault);
        if fault.map(|f| f.kind) != member.truth || state != member.state {
            if state != member.state {
                member.states.push((member.n, state));
            }
            member.truth = fault.map(|f| f.kind);
            member.state = state;
            let kind = member.truth;
            self.progress.set_fault(&member.truth_topic, kind);
            let truth = serde_json::json!({
                "fault": kind, "state": state, "time": time_ms, "n": member.n
            });
            self.truth = Some((turn, truth.to_string()));
        }
        Words {
            topic: &member.topic,
            payload: self.payload.as_bytes(),
        }
    }

    /// The truth about the machine of the last reading, if it has just changed: which fault it has
    /// from that reading on (`n`), or `null` from there on.
    pub(crate) fn truth(&mut self) -> Option<(&str, String)> {
        let (turn, truth) = self.truth.take()?;
        Some((&self.members[turn].truth_topic, truth))
    }

    /// Fills in what was made.
    pub(crate) fn report(&self, report: &mut Report) {
        report.published = self.made;
        report.bad = self.bad;
        report.bytes = self.bytes;
        report.streams = self
            .members
            .iter()
            .map(|m| (m.topic.clone(), m.n))
            .collect();
        report.states = self
            .members
            .iter()
            .map(|m| (m.topic.clone(), m.states.clone()))
            .collect();
    }
}

#[cfg(test)]
mod tests;
