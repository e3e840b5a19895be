//! The state of one line of models: which versions it has, which one serves, what served before.
//!
//! Pure: each change gives the state after it, which the registry makes durable as a whole. So a
//! promotion moves the pointer and both statuses at once, or nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::ModelKey;

/// Versions remembered for rolling back.
const HISTORY_MAX: usize = 64;

/// What changes about a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HistoryEntry {
    pub(super) status: String,
    /// When its status was set, in changes of the line: the later, the more it counts.
    pub(super) turn: u64,
}

/// A line of models as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ModelHistory {
    pub(super) key: ModelKey,
    /// Number of the next version; no number is used twice.
    pub(super) next_number: u64,
    pub(super) next_turn: u64,
    pub(super) current: Option<u64>,
    /// Oldest first; those rolled back are not in it.
    #[serde(rename = "history")]
    pub(super) served_before: Vec<u64>,
    pub(super) entries: BTreeMap<u64, HistoryEntry>,
}

impl ModelHistory {
    pub(super) fn new(key: ModelKey) -> Self {
        Self {
            key,
            next_number: 1,
            next_turn: 1,
            current: None,
            served_before: Vec::new(),
            entries: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, number: u64, status: &str) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.set_status(number, status);
    }

    pub(super) fn set_status(&mut self, number: u64, status: &str) {
        let entry = HistoryEntry {
            status: status.to_owned(),
            turn: self.next_turn,
        };
        self.next_turn += 1;
        self.entries.insert(number, entry);
    }

    /// `number` serves from now on, as `status`; what served until now is `replaced`.
    pub(super) fn promote(&mut self, number: u64, status: &str, replaced: &str) {
        if let Some(before) = self.current.filter(|before| *before != number) {
            self.set_status(before, replaced);
            self.served_before.retain(|old| *old != before);
            self.served_before.push(before);
        }
        self.served_before.retain(|old| *old != number);
        if self.served_before.len() > HISTORY_MAX {
            self.served_before.remove(0);
        }
        self.set_status(number, status);
        self.current = Some(number);
    }

    /// The version before serves again, with the status of the one that served, which is now
    /// `rolled_back`. Returns what serves; `None`, and nothing changes, if there was none before.
    pub(super) fn roll_back(&mut self, rolled_back: &str) -> Option<u64> {
        let bad = self.current?;
        let number = self.served_before.pop()?;
        let status = self.entries.get(&bad).map(|entry| entry.status.clone());
        self.set_status(bad, rolled_back);
        self.set_status(number, &status.unwrap_or_default());
        self.current = Some(number);
        Some(number)
    }

    /// A version is lost. If it served, the one before does, with its status.
    pub(super) fn lose(&mut self, number: u64) {
        let lost = self.entries.remove(&number);
        self.served_before.retain(|old| *old != number);
        self.next_number = self.next_number.max(number.saturating_add(1));
        if self.current == Some(number) {
            self.current = self.served_before.pop();
            if let (Some(current), Some(lost)) = (self.current, lost) {
                self.set_status(current, &lost.status);
            }
        }
    }

    pub(super) fn rollback_target(&self) -> Option<u64> {
        self.served_before.last().copied()
    }

    pub(super) fn is_protected(&self, number: u64) -> bool {
        self.current == Some(number) || self.rollback_target() == Some(number)
    }

    /// What to remove so that `keep` versions are left: the oldest, but never a protected one.
    pub(super) fn surplus(&self, keep: usize) -> Vec<u64> {
        let surplus = self.entries.len().saturating_sub(keep);
        let removable = self
            .entries
            .keys()
            .filter(|number| !self.is_protected(**number));
        removable.take(surplus).copied().collect()
    }

    /// The version whose status is among `statuses`; of several, the one whose status was set last.
    pub(super) fn among(&self, statuses: &[String]) -> Option<u64> {
        let accepted = self.entries.iter();
        let accepted = accepted.filter(|(_, entry)| statuses.contains(&entry.status));
        accepted
            .max_by_key(|(_, entry)| entry.turn)
            .map(|(number, _)| *number)
    }

    /// Whether it could have been written by this program; hostile or damaged states are not.
    pub(super) fn is_sound(&self) -> bool {
        let known = |number: &u64| self.entries.contains_key(number);
        let mut served: Vec<u64> = self
            .served_before
            .iter()
            .chain(&self.current)
            .copied()
            .collect();
        served.sort_unstable();
        self.current.iter().all(known)
            && self.served_before.iter().all(known)
            && served.is_sorted_by(|a, b| a < b)
            && self.served_before.len() <= HISTORY_MAX
            && self
                .entries
                .keys()
                .all(|number| (1..self.next_number).contains(number))
            && self
                .entries
                .values()
                .all(|entry| entry.turn < self.next_turn)
            && self.next_turn < u64::MAX / 2
            && self.next_number < u64::MAX / 2
    }
}

#[cfg(test)]
mod tests;
