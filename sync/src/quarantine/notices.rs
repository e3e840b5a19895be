//! What is said of things that go into quarantine: each kind once, then a summary a minute at most.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// Kinds told one by one between two summaries.
const NAMED_MAX: usize = 16;
/// Kinds remembered as told; what comes beyond is only summed up.
const KINDS_MAX: usize = 4_096;
/// Reasons in a summary.
const REASONS_MAX: usize = 20;
/// Shortest time between two summaries.
const SUMMARY_GAP: Duration = Duration::from_mins(1);
/// Characters of a topic, a name or a reason.
const TEXT_CHARS_MAX: usize = 300;

/// One thing that went into quarantine.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// What it belongs to: a stream rule. With the reason it makes the kind.
    pub rule: &'a str,
    /// Topic of a publish, or name of a stream.
    pub of: &'a str,
    /// Short name of the reason.
    pub reason: &'a str,
    /// What exactly is wrong.
    pub detail: &'a str,
    /// What would help.
    pub advice: &'a str,
    /// Records in it.
    pub records: u64,
}

/// Writes to the log what goes into quarantine.
#[derive(Debug, Default)]
pub struct Notices {
    told: HashSet<(String, String)>,
    named: usize,
    /// Records since the last line about their reason.
    unsaid: BTreeMap<String, u64>,
    /// Of the newest of these.
    newest: String,
    next_summary: Option<Instant>,
}

impl Notices {
    /// Says it now, if it is the first of its kind, or in the next summary; whether it was said.
    pub fn note(&mut self, notice: &Notice<'_>, now: Instant) -> bool {
        self.next_summary.get_or_insert(now + SUMMARY_GAP);
        let kind = (shortened(notice.rule), shortened(notice.reason));
        let may_say = self.named < NAMED_MAX && self.told.len() < KINDS_MAX;
        if may_say && self.told.insert(kind) {
            self.named += 1;
            tracing::warn!(
                rule = shortened(notice.rule),
                of = shortened(notice.of),
                reason = shortened(notice.reason),
                detail = shortened(notice.detail),
                records = notice.records,
                advice = notice.advice,
                "into quarantine; more of the same is summed up once a minute"
            );
            return true;
        }
        let mut reason = shortened(notice.reason);
        if !self.unsaid.contains_key(&reason) && self.unsaid.len() >= REASONS_MAX {
            "others".clone_into(&mut reason);
        }
        *self.unsaid.entry(reason).or_default() += notice.records;
        self.newest = shortened(notice.of);
        false
    }

    /// Sums up what was not said, if a minute is over; the records summed up.
    pub fn sum_up(&mut self, now: Instant) -> u64 {
        if self.next_summary.is_none_or(|due| due > now) {
            return 0;
        }
        (self.next_summary, self.named) = (None, 0);
        let by_reason = std::mem::take(&mut self.unsaid);
        let records = by_reason.values().sum();
        if records > 0 {
            tracing::warn!(
                records,
                ?by_reason,
                newest = self.newest,
                "into quarantine in the last minute; look: dunlin quarantine list"
            );
        }
        records
    }
}

/// Bounded, and without control characters.
fn shortened(text: &str) -> String {
    let shown = text.chars().take(TEXT_CHARS_MAX);
    shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
