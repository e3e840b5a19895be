//! Gives every record its timestamp: unique and strictly increasing, whatever the wall clock does.
//!
//! A board without a battery starts in 1970, a bad time server steps it ten years ahead, somebody
//! sets it back an hour. So the clock here never hands out the wall clock itself. It hands out
//! `max(estimate, last + 1)`, where the estimate is
//!
//! ```text
//! estimate = boot time + offset + lead
//! ```
//!
//! *Boot time* (`CLOCK_BOOTTIME`) measures what has elapsed and cannot be set. The *offset* is what
//! the wall clock is believed to be ahead of it. The *lead* is how far the estimate is ahead of
//! what is believed, because timestamps cannot go back; it dies out by running at half speed.
//!
//! # What is believed
//! The offset follows the wall clock while each reading is within `step_max` of it. A larger
//! *step* is not believed until readings have agreed with one another (within `step_max`) for
//! `confirm`; until then the estimate runs on by boot time. A *doubtful* step, one that goes back
//! or more than 400 days ahead while the kernel does not call its clock synchronised, must stand
//! for `hold` if that is longer. A wall clock before 2026 or after 2199 is never believed.
//!
//! | what happens | what the clock does |
//! |---|---|
//! | one wild reading, any size | nothing moves; counted as withdrawn |
//! | wall moves by at most `step_max` | followed: ahead at once, back by running at half speed |
//! | steps ahead, stands for `confirm` | the estimate jumps ahead |
//! | steps back an hour, stands | never reordered: half speed for two hours, skew reported |
//! | steps ten years ahead | as a doubtful step, unless the kernel vouches for it |
//! | ... is believed, then steps back | what followed the jump and is not uploaded is corrected; if the rest leaves a lead of more than a day, [`ClockEvent::FarAhead`] repeats every ten minutes |
//! | starts | the first reading is used at once, but the clock counts as unsynchronised until it has stood for `confirm` |
//! | starts in 1970 | runs on from the last timestamp (2026 if there is none), unsynchronised |
//! | starts before `last`, plausible | runs on from `last`; the wall has to stand like any step |
//! | starts over 400 days after `last` | the same |
//! | restarts within one boot | goes on with the offset it had: the [`ClockRecord`] holds it |
//! | kernel: unsynchronised | uploads held for `hold`; each believed step is corrected in what is not uploaded |
//! | device suspended | boot time goes on, so nothing is noticed |
//!
//! What cannot be helped: if records from ten years ahead *were* uploaded, timestamps stay ahead
//! of them, at half speed for twenty years. Spacing is then off by two and the error is loud. And
//! records of an *earlier boot* without a clock are not corrected: how long the power was off is
//! not known. Their order holds.
//!
//! # Unsynchronised
//! The clock is unsynchronised while the kernel says so, and from each boot until a wall clock has
//! stood for `confirm`. [`Clock::uploads_held`] is true from then on for at most `hold`.
//! When a step is believed in this state, [`Clock::tick`] returns [`ClockEvent::Correct`] instead
//! of jumping, and repeats it until the writer has answered. The writer, between two blocks:
//!
//! 1. commits what it holds, so that every timestamp issued is in the buffer; issues none meanwhile;
//! 2. picks the first block that the uploader has not taken and whose records are all `>= from_ts`;
//! 3. clamps with [`safe_delta`], so that the first corrected timestamp stays above the one before;
//! 4. shifts the stored timestamps from that block on by the clamped delta, durably;
//! 5. calls [`Clock::apply_correction`], also if there was nothing to correct, and stores the
//!    record that [`Clock::ceiling_due`] then returns.
//!
//! Until step 5 the clock keeps to its old offset, so whatever is issued in between belongs to
//! what is corrected. If power fails between 4 and 5, the step is found and believed anew.
//!
//! # The ceiling
//! Uniqueness must survive the loss of the newest part of the buffer. So a durable
//! [`ClockRecord`] holds a ceiling, two minutes ahead, and no timestamp above it is ever issued:
//! [`Clock::next`] refuses with [`ClockError::RaiseCeiling`] until the caller has stored a higher
//! one and said so with [`Clock::stored`]. [`Clock::ceiling_due`], asked once a second, returns a
//! record about once a minute, so that `next` rarely has to. If the buffer then loses something,
//! the clock starts above the ceiling instead of above the newest record, and the record keeps that
//! floor until later starts too. Before the very first timestamp the record says that there will be
//! one: only a device that has never issued any starts at the wall clock with an empty buffer.

mod event;
mod judge;
mod record;
mod source;

use std::time::Duration;

use dunlin_sync::sample::Timestamp;
pub use event::{ClockError, ClockEvent, ClockStats};
pub use record::{ClockRecord, ClockRecordError, Doubt, Past};
pub use source::{Manual, System, TimeSource};

use crate::config::settings::ClockSettings;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;
/// 2026-01-01: this program is not older.
pub const EARLIEST_NS: i64 = 1_767_225_600 * SECOND_NS;
/// 2200-01-01: leaves the arithmetic room below the end of `i64`, in 2262.
pub const LATEST_NS: i64 = 7_258_118_400 * SECOND_NS;
/// A step further ahead than this is doubtful.
const FAR_NS: i64 = 400 * DAY_NS;
/// Two boot readings around a wall reading further apart than this: we were not running between
/// them, and the wall reading says nothing.
const READING_NS_MAX: i64 = SECOND_NS / 1000;
/// How far ahead the ceiling is put.
const CEILING_AHEAD_NS: i64 = 120 * SECOND_NS;
/// A lead larger than this is an error.
const LEAD_NS_MAX: i64 = DAY_NS;
/// How often it is reported.
const FAR_AHEAD_EVERY_NS: i64 = 600 * SECOND_NS;

/// A step not believed yet.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    offset: i64,
    since_boot_ns: i64,
    told: bool,
}

/// A step believed, but waiting for the stored records to be corrected.
#[derive(Clone, Copy, Debug)]
struct Proposal {
    offset: i64,
    delta_ns: i64,
}

/// The clock; one for a device. See the module's text.
#[derive(Debug)]
pub struct Clock {
    source: Box<dyn TimeSource>,
    boot_id: Option<String>,
    step_max_ns: i64,
    confirm_ns: i64,
    hold_ns: i64,
    /// Newest timestamp issued.
    last: Option<i64>,
    /// Durable; `i64::MIN`: none stored yet.
    ceiling: i64,
    /// Durable: a timestamp may have been issued, now or in any run before.
    issued: bool,
    /// Durable: see [`ClockRecord::floor_ns`].
    floor: Option<i64>,
    offset: i64,
    /// The wall clock has agreed with the offset for `confirm` at least once in this boot.
    anchored: bool,
    /// Boot time since when it has agreed without a break.
    agreeing_since: Option<i64>,
    lead: i64,
    /// Newest readings.
    boot: i64,
    wall: i64,
    kernel: Option<bool>,
    candidate: Option<Candidate>,
    proposal: Option<Proposal>,
    doubt: Option<Doubt>,
    /// The stored record lacks something besides a higher ceiling.
    record_stale: bool,
    told_unsynchronised: bool,
    told_far_ahead: Option<i64>,
    steps: u64,
    withdrawn: u64,
}

impl Clock {
    /// Starts from what is known; reads `source` once.
    pub fn new(source: Box<dyn TimeSource>, settings: &ClockSettings, past: &Past) -> Self {
        let (boot_id, boot, wall) = (source.boot_id(), source.boot_ns(), source.wall_ns());
        let kernel = source.synchronised();
        let (floor, step_max_ns) = (past.floor(), nanos(settings.step_max));
        let mut clock = Self {
            source,
            boot_id,
            step_max_ns,
            confirm_ns: nanos(settings.confirm),
            hold_ns: nanos(settings.hold),
            last: floor,
            ceiling: past
                .record
                .as_ref()
                .map_or(i64::MIN, |record| record.ceiling_ns),
            issued: past.issued(),
            floor: past.record.as_ref().and_then(|record| record.floor_ns),
            offset: 0,
            anchored: false,
            agreeing_since: None,
            lead: 0,
            boot,
            wall,
            kernel,
            candidate: None,
            proposal: None,
            doubt: None,
            record_stale: false,
            told_unsynchronised: false,
            told_far_ahead: None,
            steps: 0,
            withdrawn: 0,
        };
        if let Some(record) = clock.same_boot(past.record.as_ref()) {
            clock.offset = record.offset_ns;
            clock.anchored = record.anchored;
            clock.doubt.clone_from(&record.doubt);
        } else if clock.believable_at_start(wall) {
            clock.offset = wall.saturating_sub(boot);
        } else {
            clock.offset = floor.unwrap_or(EARLIEST_NS).saturating_sub(boot);
        }
        clock.lead = clock.lead_over_belief();
        clock.observe();
        clock.judge_synchronisation();
        clock
    }

    /// Issues `count` consecutive timestamps (0 counts as 1) and returns the first.
    ///
    /// # Errors
    /// [`ClockError::RaiseCeiling`]: store the record and ask again. [`ClockError::Exhausted`]:
    /// there is no later timestamp.
    pub fn next(&mut self, count: usize) -> Result<Timestamp, ClockError> {
        self.observe();
        let after_last = match self.last {
            Some(last) => last.checked_add(1).ok_or(ClockError::Exhausted)?,
            None => i64::MIN,
        };
        let first = self.estimate().max(after_last);
        let newest = i64::try_from(count.max(1) - 1)
            .ok()
            .and_then(|more| first.checked_add(more))
            .ok_or(ClockError::Exhausted)?;
        if let Some(doubt) = &mut self.doubt {
            self.record_stale |= doubt.from_ts.is_none();
            doubt.from_ts.get_or_insert(first);
        }
        if newest > self.ceiling || !self.issued {
            let record = ClockRecord {
                issued: true,
                ..self.record(newest.saturating_add(CEILING_AHEAD_NS))
            };
            return Err(ClockError::RaiseCeiling(Box::new(record)));
        }
        self.last = Some(newest);
        Ok(Timestamp(first))
    }

    /// What time it is believed to be, nanoseconds UTC, as of the last look at the clocks.
    pub fn now(&self) -> i64 {
        self.estimate()
    }

    /// Judges the wall clock. Call about once a second, whether or not records arrive.
    pub fn tick(&mut self) -> Vec<ClockEvent> {
        let mut events = Vec::new();
        self.observe();
        self.proposal = None;
        self.judge_candidate(&mut events);
        self.judge_synchronisation();
        if self.unsynchronised() != self.told_unsynchronised {
            self.told_unsynchronised = self.unsynchronised();
            events.push(if self.told_unsynchronised {
                ClockEvent::Unsynchronised
            } else {
                ClockEvent::Synchronised
            });
        }
        let reported = self.told_far_ahead;
        if self.lead <= LEAD_NS_MAX {
            self.told_far_ahead = None;
        } else if reported.is_none_or(|at| self.boot - at >= FAR_AHEAD_EVERY_NS) {
            self.told_far_ahead = Some(self.boot);
            events.push(ClockEvent::FarAhead { lead_ns: self.lead });
        }
        events
    }

    /// The answer to [`ClockEvent::Correct`], once the stored timestamps have been moved durably.
    ///
    /// `newest_corrected` is the newest timestamp *after* the move, `None` if nothing was moved;
    /// `last_uncorrected` is the newest of those left alone that came before. Both together must
    /// cover everything issued. The clock switches to the new offset, and goes on above both:
    /// with a negative delta that is below what it had issued.
    pub fn apply_correction(
        &mut self,
        last_uncorrected: Option<i64>,
        newest_corrected: Option<i64>,
    ) {
        if let Some(proposal) = self.proposal.take() {
            self.adopt(proposal.offset);
        }
        if newest_corrected.is_some() {
            self.last = newest_corrected.max(last_uncorrected);
            if let Some(doubt) = &mut self.doubt {
                doubt.from_ts = Some(last_uncorrected.map_or(i64::MIN, |ts| ts.saturating_add(1)));
            }
        }
        self.lead = self.lead_over_belief();
        self.record_stale = true;
    }

    /// A record to store durably now, about once a minute; then call [`Clock::stored`].
    pub fn ceiling_due(&mut self) -> Option<ClockRecord> {
        let reach = self.reach();
        let low = reach.saturating_add(CEILING_AHEAD_NS / 2) > self.ceiling;
        (low || self.record_stale).then(|| self.record(reach.saturating_add(CEILING_AHEAD_NS)))
    }

    /// `record` survives a power cut from here on.
    pub fn stored(&mut self, record: &ClockRecord) {
        self.ceiling = record.ceiling_ns;
        self.issued = record.issued;
        self.record_stale = false;
    }

    /// Ends the clock with the record to store last: its ceiling is the last timestamp itself, so
    /// that a start with a drained buffer does not begin two minutes ahead.
    pub fn close(self) -> ClockRecord {
        let ceiling_ns = self.last.unwrap_or(self.ceiling);
        self.record(ceiling_ns)
    }

    /// Whether uploads should wait for the clock to be synchronised; for at most `hold`.
    pub fn uploads_held(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| {
            doubt.unsynchronised && self.boot - doubt.since_boot_ns < self.hold_ns
        })
    }

    /// Figures as of the last [`Clock::next`] or [`Clock::tick`].
    pub fn stats(&self) -> ClockStats {
        ClockStats {
            skew_ns: self
                .estimate()
                .max(self.last.unwrap_or(i64::MIN))
                .saturating_sub(self.wall),
            steps: self.steps,
            withdrawn: self.withdrawn,
            slewing: self.lead > SECOND_NS / 1000,
            unsynchronised: self.unsynchronised(),
            uploads_held: self.uploads_held(),
        }
    }

    /// What the clock said at the last [`Clock::next`] or [`Clock::tick`], nanoseconds UTC, as long as
    /// it is synchronised.
    pub fn synchronised_ns(&self) -> Option<i64> {
        (!self.unsynchronised()).then(|| self.estimate())
    }

    fn same_boot<'r>(&self, record: Option<&'r ClockRecord>) -> Option<&'r ClockRecord> {
        record.filter(|record| {
            self.boot_id.is_some()
                && record.boot_id == self.boot_id
                && plausible(self.boot.saturating_add(record.offset_ns))
        })
    }

    /// At start there is nothing to compare a wall clock with but the last timestamp.
    fn believable_at_start(&self, wall: i64) -> bool {
        plausible(wall)
            && self.last.is_none_or(|last| {
                wall >= last.saturating_sub(self.step_max_ns) && wall <= last.saturating_add(FAR_NS)
            })
    }

    fn estimate(&self) -> i64 {
        self.boot
            .saturating_add(self.offset)
            .saturating_add(self.lead)
    }

    fn lead_over_belief(&self) -> i64 {
        let belief = self.boot.saturating_add(self.offset);
        self.last
            .map_or(0, |last| last.saturating_sub(belief).max(0))
    }

    /// The latest timestamp in use now, or as soon as a pending correction is applied.
    fn reach(&self) -> i64 {
        let now = self.estimate().max(self.last.unwrap_or(i64::MIN));
        let delta = self.proposal.map_or(0, |proposal| proposal.delta_ns.max(0));
        now.saturating_add(delta)
    }

    fn record(&self, ceiling_ns: i64) -> ClockRecord {
        ClockRecord {
            ceiling_ns,
            boot_id: self.boot_id.clone(),
            offset_ns: self.offset,
            anchored: self.anchored,
            doubt: self.doubt.clone(),
            issued: self.issued,
            floor_ns: self.floor,
        }
    }
}

/// `delta_ns`, clamped so that `first_ts_corrected` moved by it stays above `last_ts_before`, the
/// newest timestamp left alone (`None`: there is none). A delta ahead needs no clamping.
pub fn safe_delta(delta_ns: i64, first_ts_corrected: i64, last_ts_before: Option<i64>) -> i64 {
    let room = last_ts_before.map_or(i64::MIN, |before| {
        before
            .saturating_add(1)
            .saturating_sub(first_ts_corrected)
            .min(0)
    });
    delta_ns.max(room)
}

fn plausible(wall_ns: i64) -> bool {
    (EARLIEST_NS..LATEST_NS).contains(&wall_ns)
}

/// What a wall clock says, if it can be.
pub(crate) fn believed(wall_ns: i64) -> Option<i64> {
    Some(wall_ns).filter(|ns| plausible(*ns))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
