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
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(250);

    /// A writer that commits when the gap is over or the window full, at moments in milliseconds.
    struct Writer {
        start: Instant,
        window: Window,
        last_commit_ms: u64,
        waiting: u64,
        commits: u64,
    }

    impl Writer {
        fn new() -> Self {
            let start = Instant::now();
            Self {
                start,
                window: Window::new(GAP, start),
                last_commit_ms: 0,
                waiting: 0,
                commits: 0,
            }
        }

        /// One millisecond, in which `arrived` publishes come; how many get their PUBACK at its end.
        fn step(&mut self, ms: u64, arrived: u64) -> u64 {
            let now = self.start + Duration::from_millis(ms);
            for _ in 0..arrived {
                self.window.arrived(1, now);
            }
            self.waiting += arrived;
            let gap_over = ms - self.last_commit_ms >= GAP.as_millis() as u64;
            if self.waiting == 0 || !(gap_over || self.window.is_full()) {
                return 0;
            }
            self.window.acknowledged(now);
            self.last_commit_ms = ms;
            self.commits += 1;
            std::mem::take(&mut self.waiting)
        }
    }

    /// Publishes taken within `seconds` from a broker that has more than enough to send, 5 ms away.
    fn taken(writer: &mut Writer, from_ms: u64, seconds: u64, window: u64) -> u64 {
        const WAY_MS: u64 = 5;
        let (mut taken, mut coming) = (0, vec![(from_ms, window)]);
        for ms in from_ms..from_ms + seconds * 1000 {
            let arrived = coming
                .extract_if(.., |(at, _)| *at <= ms)
                .map(|(_, count)| count)
                .sum();
            let acked = writer.step(ms, arrived);
            taken += acked;
            if acked > 0 {
                coming.push((ms + WAY_MS, acked));
            }
        }
        taken
    }

    #[test]
    fn a_small_window_is_learnt_and_no_longer_waited_for() {
        for window in [1, 2, 16, 20, 100] {
            let mut writer = Writer::new();
            let taken = taken(&mut writer, 0, 10, window);
            assert_eq!(writer.window.learnt(), Some(window as usize));
            // 4 commits a second before, at most 200 after.
            assert!(taken >= window * 1_400, "{taken} with a window of {window}");
        }
    }

    #[test]
    fn a_small_window_keeps_up_with_what_the_gap_alone_would_not() {
        const WINDOW: u64 = 16;
        for rate_per_s in [70, 100, 200, 300, 1_000] {
            let mut writer = Writer::new();
            let (mut published, mut sent, mut unacked, mut backlog_max) = (0, 0, 0, 0);
            for ms in 0..60_000 {
                published = ms * rate_per_s / 1000;
                let arrived = (published - sent).min(WINDOW - unacked);
                (sent, unacked) = (sent + arrived, unacked + arrived);
                unacked -= writer.step(ms, arrived);
                backlog_max = backlog_max.max(published - sent);
            }
            // What comes while the window is not known yet.
            assert!(
                backlog_max <= rate_per_s * 5,
                "{backlog_max} at {rate_per_s}/s"
            );
            assert!(published - sent <= rate_per_s * 5);
        }
    }

    #[test]
    fn a_window_that_grows_is_unlearnt_and_one_that_shrinks_learnt_anew() {
        let mut writer = Writer::new();
        taken(&mut writer, 0, 3, 16);
        assert_eq!(writer.window.learnt(), Some(16));
        let now = writer.start + Duration::from_secs(4);
        for _ in 0..17 {
            writer.window.arrived(1, now);
        }
        assert_eq!(writer.window.learnt(), None);
        let mut writer = Writer::new();
        taken(&mut writer, 0, 3, 100);
        taken(&mut writer, 3_000, 3, 10);
        assert_eq!(writer.window.learnt(), Some(10));
    }

    #[test]
    fn a_new_connection_does_not_add_to_what_waits() {
        let mut writer = Writer::new();
        taken(&mut writer, 0, 3, 16);
        let now = writer.start + Duration::from_secs(4);
        for connection in 1..=2 {
            for _ in 0..16 {
                writer.window.arrived(connection, now);
            }
        }
        assert_eq!(writer.window.learnt(), Some(16));
    }

    #[test]
    fn sensors_at_leisure_cost_no_more_commits_than_the_gap_allows() {
        const SECONDS: u64 = 32;
        let mut most = (0, String::new());
        // Together, close together, spread; in step with the gap or out of it.
        for sensors in [1, 2, 5_u64] {
            for period_ms in (40..=600)
                .step_by(13)
                .chain([249, 250, 251, 260, 1_000, 1_001])
            {
                for apart_ms in [0, 1, 7, 60, period_ms / sensors] {
                    let mut writer = Writer::new();
                    for ms in 0..SECONDS * 1000 {
                        let arrived = (0..sensors)
                            .filter(|sensor| {
                                (ms + period_ms * 8 - sensor * apart_ms) % period_ms == 0
                            })
                            .count();
                        writer.step(ms, arrived as u64);
                    }
                    let what = format!("{sensors} sensors, {period_ms} ms, {apart_ms} ms apart");
                    most = most.max((writer.commits, what));
                }
            }
        }
        // Beside those that the gap allows, one for each chain of stops, and ever longer chains.
        assert!(
            most.0 <= SECONDS * 4 + 4 + SECONDS / 16,
            "{} commits: {}",
            most.0,
            most.1
        );
    }
}
