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
                        .filter(|sensor| (ms + period_ms * 8 - sensor * apart_ms) % period_ms == 0)
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
