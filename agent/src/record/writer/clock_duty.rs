//! The writer's side of the clock: the durable ceiling, the upload gate, corrections.

use std::{io, path::Path};

use dunlin_sync::{files::state_file, sample::Timestamp};

use super::{Writer, WriterStats, commit::no_ceiling};
use crate::record::clock::{Clock, ClockError, ClockEvent, ClockRecord, safe_delta};

/// The clock's durable record at `path`, if it is whole. That the buffer has lost its newest records is
/// told there first: the next start finds the buffer whole again.
pub(crate) fn load(path: &Path, newest_lost: bool) -> Option<ClockRecord> {
    let mut record = read(path)?;
    if newest_lost
        && record.lose_newest()
        && let Err(error) = state_file::write(path, &record.to_bytes())
    {
        tracing::warn!(%error, "cannot store what the buffer has lost in the clock's record");
    }
    Some(record)
}

fn read(path: &Path) -> Option<ClockRecord> {
    let bytes: Option<Vec<u8>> = state_file::read(path).unwrap_or_else(|error| {
        tracing::error!(%error, "the clock goes on without its record");
        None
    });
    let record = bytes.map(|bytes| ClockRecord::from_bytes(&bytes))?;
    record
        .inspect_err(|error| tracing::error!(%error, "the clock goes on without its record"))
        .ok()
}

/// Why there is no timestamp.
pub(super) enum NoTime {
    /// The ceiling cannot be raised, most likely for want of disk: try again later.
    Transient(String),
    /// There is none left.
    Permanent(String),
}

/// `count` consecutive timestamps; raises the durable ceiling where needed.
pub(super) fn next(
    clock: &mut Clock,
    path: &Path,
    count: usize,
    stats: &WriterStats,
) -> Result<Timestamp, NoTime> {
    loop {
        match clock.next(count) {
            Ok(first) => return Ok(first),
            Err(ClockError::RaiseCeiling(record)) => {
                stats.set_waiting_for_disk(true);
                let stored = state_file::write(path, &record.to_bytes());
                stats.set_waiting_for_disk(false);
                stored.map_err(|error| NoTime::Transient(no_ceiling(path, &error)))?;
                clock.stored(&record);
            }
            Err(error @ ClockError::Exhausted) => return Err(NoTime::Permanent(error.to_string())),
        }
    }
}

impl Writer {
    /// Judges the clock; called about once a second.
    pub(super) fn tick(&mut self) {
        for event in self.parts.clock.tick() {
            match event {
                ClockEvent::Unsynchronised if self.parts.clock.uploads_held() => tracing::warn!(
                    "the clock is not synchronised yet: uploads wait for it (at most clock.hold_s)"
                ),
                ClockEvent::Unsynchronised => {
                    tracing::info!("the clock is not synchronised; uploads go on (clock.hold_s)");
                }
                ClockEvent::Synchronised => tracing::info!("the clock is synchronised"),
                ClockEvent::StepSeen { step_ns } => tracing::warn!(
                    step_s = step_ns / 1_000_000_000,
                    "the wall clock has jumped; not believed until it has stood (clock.confirm_s)"
                ),
                ClockEvent::Stepped { step_ns } => {
                    tracing::warn!(
                        step_s = step_ns / 1_000_000_000,
                        "the new wall clock is believed"
                    );
                }
                ClockEvent::Correct { from_ts, delta_ns } => self.correct(from_ts, delta_ns),
                ClockEvent::FarAhead { lead_ns } => tracing::error!(
                    lead_s = lead_ns / 1_000_000_000,
                    "timestamps are far ahead of the wall clock: records from a wrong clock are \
                     upstream already; new ones stay above them"
                ),
            }
        }
        self.store_record_soon();
        self.stats.set_clock(self.parts.clock.stats());
        let open = !self.parts.clock.uploads_held();
        self.parts
            .gate
            .send_if_modified(|gate| std::mem::replace(gate, open) != open);
    }

    /// Stores the clock's record if that is due.
    pub(super) fn store_record(&mut self) -> io::Result<()> {
        if let Some(record) = self.parts.clock.ceiling_due() {
            self.stats.set_waiting_for_disk(true);
            let stored = state_file::write(&self.clock_path, &record.to_bytes());
            self.stats.set_waiting_for_disk(false);
            stored?;
            self.parts.clock.stored(&record);
        }
        Ok(())
    }

    /// The same; if it fails, the next tick tries again, and a timestamp above the ceiling stalls.
    fn store_record_soon(&mut self) {
        if let Err(error) = self.store_record() {
            tracing::warn!(%error, "cannot store the clock's record now");
        }
    }

    /// Moves the timestamps of what is not uploaded; see the clock's own text for the steps.
    fn correct(&mut self, from_ts: i64, delta_ns: i64) {
        if !self.commit() {
            return;
        }
        // Which files are imported is told by timestamps until it is settled.
        if let Err(error) = self.imports.settle() {
            tracing::error!(%error, "cannot correct timestamps now; trying again");
            return;
        }
        // Closed, the uploader takes nothing more.
        self.parts.gate.send_replace(false);
        let buffer = &self.parts.buffer;
        let moved = (|| {
            let from_seq = buffer.locate(from_ts, self.parts.uploads.taken_below())?;
            let last_before = buffer
                .times(buffer.previous_stored(from_seq))?
                .map(|(_, last)| last);
            let last_before = last_before.filter(|_| from_seq > buffer.oldest_seq());
            let Some((first, _)) = buffer.times(from_seq)? else {
                return Ok((buffer.shape().newest_ts, None));
            };
            // What came before is upstream and deleted, at timestamps nobody remembers: stay above.
            let deleted_before =
                (last_before.is_none() && from_seq > 0).then(|| first.saturating_sub(1));
            let last_before = last_before.or(deleted_before);
            let delta_ns = safe_delta(delta_ns, first, last_before);
            buffer
                .correct(from_seq, delta_ns)
                .map_err(|error| error.to_string())?;
            Ok::<_, String>((last_before, buffer.shape().newest_ts))
        })();
        match moved {
            Ok((last_uncorrected, newest_corrected)) => {
                tracing::warn!(
                    shift_s = delta_ns / 1_000_000_000,
                    "clock corrected: records that are not uploaded were moved with it"
                );
                self.parts
                    .clock
                    .apply_correction(last_uncorrected, newest_corrected);
                self.store_record_soon();
            }
            Err(error) => tracing::error!(%error, "cannot correct timestamps now; trying again"),
        }
    }

    /// The last record of the clock, and of what is retained, at a clean end.
    pub(super) fn close(mut self) {
        self.retained.close();
        if let Err(error) = self.imports.settle() {
            tracing::warn!(%error, "cannot settle which files are imported; the next start does");
        }
        let record = self.parts.clock.close();
        if let Err(error) = state_file::write(&self.clock_path, &record.to_bytes()) {
            tracing::warn!(%error, "cannot store the clock's last record");
        }
    }
}
