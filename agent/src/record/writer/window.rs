//! How many publishes the broker really keeps under way, learnt from where they stop.
//!
//! A broker may keep fewer under way than it was allowed to, and never says so. To wait for half of what it
//! was allowed is then to wait for the gap between commits, with nothing to come. But while it has more to
//! send, each group of PUBACKs brings as many publishes at once, and then nothing: when that has happened a
//! few times in a row with the same number, this is the window.
//!
//! Sensors make such patterns too, and a commit for each record would wear a memory card out. So a stop
//! counts only if all of it came right behind the PUBACKs and silence followed, and a learnt window hastens a
//! commit only while it is filled as quickly, time after time: what is published at leisure waits for the gap.
//! A hastened commit that does not bring as many once more was of no use: then it takes more stops to believe
//! in the window again. One publish more than the window proves it wrong; it is forgotten at once.

use std::time::{Duration, Instant};

/// Fewest stops at the same number, one behind the other, that make it the window.
const STOPS_MIN: u32 = 4;
/// Most, after hastened commits that were of no use.
const STOPS_MAX: u32 = 64;

pub(super) struct Window {
    /// Smallest time between commits, unless something hastens one.
    gap: Duration,
    connection: u64,
    /// Publishes of this connection that wait for their PUBACK.
    waiting: usize,
    /// When the newest of them came.
    newest: Instant,
    /// When the last PUBACKs went out on this connection.
    acked: Option<Instant>,
    /// What the last PUBACKs were for had filled the window at once.
    was_full: bool,
    /// That they went out before the gap was over is owed to this.
    was_hastened: bool,
    /// Where publishes stopped last, and how often in a row.
    stopped_at: usize,
    stops: u32,
    stops_needed: u32,
    learnt: Option<usize>,
}

impl Window {
    pub(super) fn new(gap: Duration, now: Instant) -> Self {
        Self {
            gap,
            connection: 0,
            waiting: 0,
            newest: now,
            acked: None,
            was_full: false,
            was_hastened: false,
            stopped_at: 0,
            stops: 0,
            stops_needed: STOPS_MIN,
            learnt: None,
        }
    }

    /// The window, once it is known to be smaller than what the broker was allowed.
    #[cfg(test)]
    pub(super) fn learnt(&self) -> Option<usize> {
        self.learnt
    }

    /// A publish that wants a PUBACK has come over this connection.
    pub(super) fn arrived(&mut self, connection: u64, now: Instant) {
        if connection != self.connection {
            // The broker counts from none again, and sends again what it must.
            (self.connection, self.waiting, self.acked) = (connection, 0, None);
            (self.was_full, self.was_hastened, self.stops) = (false, false, 0);
        }
        self.waiting += 1;
        self.newest = now;
        if self.learnt.is_some_and(|learnt| self.waiting > learnt) {
            self.learnt = None;
            self.stops = 0;
        }
    }

    /// Whether nothing more comes before the next PUBACKs, so that waiting is no use.
    pub(super) fn is_full(&self) -> bool {
        self.was_full && self.is_filled_at_once()
    }

    /// Everything that waits gets its PUBACK. Returns the window if it has just been learnt.
    pub(super) fn acknowledged(&mut self, now: Instant) -> Option<usize> {
        let before = self.learnt;
        let (is_full, is_hastened) = (self.is_filled_at_once(), self.is_full());
        if self.was_hastened && is_full {
            self.stops_needed = STOPS_MIN;
        } else if self.was_hastened {
            self.stops_needed = STOPS_MAX.min(self.stops_needed * 2);
            (self.learnt, self.stops) = (None, 0);
        }
        let is_silent = now.saturating_duration_since(self.newest) >= self.gap / 4;
        if self.waiting > 0 && is_silent && self.came_at_once() {
            if self.stopped_at != self.waiting {
                (self.stopped_at, self.stops) = (self.waiting, 0);
            }
            self.stops += 1;
            if self.stops >= self.stops_needed {
                self.learnt = Some(self.waiting);
            }
        } else if self.learnt != Some(self.waiting) {
            self.stops = 0;
        }
        (self.was_full, self.was_hastened) = (is_full, is_hastened);
        (self.waiting, self.acked) = (0, Some(now));
        self.learnt.filter(|_| self.learnt != before)
    }

    fn is_filled_at_once(&self) -> bool {
        self.learnt == Some(self.waiting) && self.came_at_once()
    }

    fn came_at_once(&self) -> bool {
        let quick = self.gap / 2;
        let took = |acked| self.newest.saturating_duration_since(acked);
        self.acked.is_some_and(|acked| took(acked) <= quick)
    }
}

#[cfg(test)]
mod tests;
