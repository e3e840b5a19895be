//! What the clock keeps across restarts: one small file, replaced as a whole.

use serde::{Deserialize, Serialize};

use super::LATEST_NS;

/// Stored durably by the caller (write a new file, fsync, rename, fsync the directory).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// No timestamp above this has been issued, nanoseconds UTC.
    pub ceiling_ns: i64,
    /// The boot the rest belongs to; `None`: not known, so the rest is of no use.
    pub boot_id: Option<String>,
    /// Believed wall clock minus boot time, nanoseconds.
    pub offset_ns: i64,
    /// Whether the wall clock has agreed with that for long enough.
    pub anchored: bool,
    /// Records whose timestamps may have to be corrected.
    pub doubt: Option<Doubt>,
    /// Whether a timestamp was ever issued: stored before the first one is. Until then the ceiling
    /// keeps nothing from being issued twice.
    #[serde(default = "unknown_is_issued")]
    pub issued: bool,
    /// The buffer has lost its newest records: nothing at or below this may be issued, whatever is
    /// left in it, nanoseconds UTC.
    #[serde(default)]
    pub floor_ns: Option<i64>,
}

/// Format 1 did not say.
const fn unknown_is_issued() -> bool {
    true
}

/// Records issued under an offset that may turn out wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The first of them; `None`: none issued yet.
    pub from_ts: Option<i64>,
    /// Boot time when it began, nanoseconds.
    pub since_boot_ns: i64,
    /// The clock is unsynchronised: whatever step is believed next, these are off by it.
    pub unsynchronised: bool,
    /// The step ahead that was believed last, nanoseconds: a step that takes it back says that
    /// these are off by it.
    pub jump_ns: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct StoredClock {
    format: u32,
    #[serde(flatten)]
    record: ClockRecord,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A stored record that cannot be used: start without it, as after a damaged buffer.
#[derive(Debug, thiserror::Error)]
pub enum ClockRecordError {
    /// Not what [`ClockRecord::to_bytes`] wrote.
    #[error("the clock's record is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Written by another version.
    #[error("the clock's record has format {0}, this program reads format {known}", known = ClockRecord::FORMAT)]
    Format(u32),
    /// A ceiling that would leave no timestamps.
    #[error("the clock's record names a ceiling after the year 2199: {0} ns")]
    Ceiling(i64),
}

impl ClockRecord {
    /// What this version writes, and the newest that it reads.
    pub const FORMAT: u32 = 2;

    /// The buffer has lost its newest records: the ceiling is the floor from here on. Whether that
    /// changes anything.
    pub fn lose_newest(&mut self) -> bool {
        let raised = self.issued && self.floor_ns < Some(self.ceiling_ns);
        if raised {
            self.floor_ns = Some(self.ceiling_ns);
        }
        raised
    }

    /// The bytes of the file: JSON, with its format.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = StoredClock {
            format: Self::FORMAT,
            record: self.clone(),
        };
        // Numbers, flags and one text: serde_json cannot fail on these.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads them back.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ClockRecordError> {
        // The format first: what else is in it is that format's affair.
        let Format { format } = serde_json::from_slice(bytes)?;
        if !(1..=Self::FORMAT).contains(&format) {
            return Err(ClockRecordError::Format(format));
        }
        let StoredClock { record, .. } = serde_json::from_slice(bytes)?;
        if record.ceiling_ns >= LATEST_NS {
            return Err(ClockRecordError::Ceiling(record.ceiling_ns));
        }
        Ok(record)
    }
}

/// What is known from before this start.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Newest timestamp in the buffer, nanoseconds.
    pub newest: Option<i64>,
    /// Whether the buffer had to set something aside (or is not there any more), so that newer
    /// timestamps than `newest` may be in use.
    pub buffer_damaged: bool,
    /// The record stored last.
    pub record: Option<ClockRecord>,
}

impl Past {
    /// Nothing at or below this may be issued. An empty buffer proves nothing: it may have been
    /// drained, so the ceiling decides then too, unless the record says that nothing was ever issued.
    pub(super) fn floor(&self) -> Option<i64> {
        let record = self.record.as_ref();
        let lost_to = record.and_then(|record| record.floor_ns);
        let ceiling = record.filter(|record| record.issued).map(|r| r.ceiling_ns);
        match self.newest {
            Some(newest) if !self.buffer_damaged => Some(newest).max(lost_to),
            newest => newest.max(ceiling).max(lost_to),
        }
    }

    /// Whether a timestamp may have been issued before this start.
    pub(super) fn issued(&self) -> bool {
        let told = self.record.as_ref().is_some_and(|record| record.issued);
        told || self.newest.is_some() || self.buffer_damaged
    }
}
