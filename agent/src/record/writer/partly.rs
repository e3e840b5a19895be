//! Publishes of which not all is stored.

use std::time::{Duration, Instant};

use super::batch::{DecodedBatch, Decoding};
use crate::record::decode::{Reason, Reject};

/// The records of a publish that is sent again; `whole`: only if nothing of it is left out.
pub(super) fn records_of(decoding: Decoding<'_>, whole: bool) -> Result<DecodedBatch<'_>, Reject> {
    let Decoding::Records(batch) = decoding else {
        let detail =
            "there is nothing in it to store: its [[stream]] excludes the topic or all fields";
        return Err(Reject::new(Reason::UnknownTopic, detail));
    };
    match batch.misfits.first() {
        Some(reject) if whole && !batch.misfits.missing.is_empty() => Err(Reject {
            detail: batch.misfits.summary(),
            ..reject
        }),
        _ => Ok(batch),
    }
}

/// How many publishes that are stored in part may go to quarantine as well: a value that never fits
/// comes with every publish, and would push out what is nowhere else.
#[derive(Debug)]
pub(super) struct PartlyKept {
    since: Instant,
    count: u32,
}

impl PartlyKept {
    /// In a minute.
    const COUNT_MAX: u32 = 60;
    const MINUTE: Duration = Duration::from_mins(1);

    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    pub(super) fn may_be_kept(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Self::MINUTE {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= Self::COUNT_MAX
    }
}

#[cfg(test)]
mod tests;
