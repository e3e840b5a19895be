#![allow(clippy::unwrap_used)]

mod any_sequence;
mod restarts;

use super::*;

const HOUR_NS: i64 = 3600 * SECOND_NS;
const YEAR_NS: i64 = 365 * DAY_NS;
/// Some day in 2026.
const NOW: i64 = EARLIEST_NS + 200 * DAY_NS;

fn settings() -> ClockSettings {
    ClockSettings {
        hold: Duration::from_mins(5),
        step_max: Duration::from_secs(1),
        confirm: Duration::from_secs(30),
    }
}

/// A machine, its clock, and a caller that keeps the promises the module asks for.
struct Device {
    hands: Manual,
    clock: Clock,
    /// Durable.
    record: Option<ClockRecord>,
    /// Every timestamp issued and not corrected since, oldest first.
    issued: Vec<i64>,
    /// How many of them are uploaded, hence never moved.
    uploaded: usize,
    /// How many of them the buffer still knew when it was opened last, if it had lost some.
    left: Option<usize>,
}

/// What a buffer has lost when it is opened.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Nothing,
    /// All but the oldest record, and it knows.
    Newest,
    /// Everything, and it does not know.
    All,
}

impl Device {
    fn new(hands: &Manual) -> Self {
        Self::with(hands, &Past::default())
    }

    /// One whose clock has stood for long enough after the start.
    fn settled(hands: &Manual) -> Self {
        let mut device = Self::new(hands);
        device.run(31);
        device
    }

    fn with(hands: &Manual, past: &Past) -> Self {
        Self {
            hands: hands.clone(),
            clock: Clock::new(Box::new(hands.clone()), &settings(), past),
            record: past.record.clone(),
            issued: Vec::new(),
            uploaded: 0,
            left: None,
        }
    }

    fn store(&mut self, record: ClockRecord) {
        let read_back = ClockRecord::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!(read_back, record);
        self.clock.stored(&record);
        self.record = Some(record);
    }

    fn issue_many(&mut self, count: usize) -> i64 {
        let first = loop {
            match self.clock.next(count) {
                Ok(first) => break first.0,
                Err(ClockError::RaiseCeiling(record)) => self.store(*record),
                Err(error) => panic!("{error}"),
            }
        };
        self.issued.extend(first..first + count.max(1) as i64);
        self.left = None;
        assert!(*self.issued.last().unwrap() <= self.record.as_ref().unwrap().ceiling_ns);
        first
    }

    fn issue(&mut self) -> i64 {
        self.issue_many(1)
    }

    fn tick(&mut self) -> Vec<ClockEvent> {
        let events = self.clock.tick();
        if let Some(record) = self.clock.ceiling_due() {
            self.store(record);
        }
        events
    }

    /// What a writer does with `Correct`; returns the delta applied.
    fn correct(&mut self, from_ts: i64, delta_ns: i64) -> i64 {
        let first = self
            .issued
            .partition_point(|ts| *ts < from_ts)
            .max(self.uploaded);
        let before = first.checked_sub(1).map(|index| self.issued[index]);
        let Some(&first_ts) = self.issued.get(first) else {
            self.clock.apply_correction(before, None);
            return 0;
        };
        let delta = safe_delta(delta_ns, first_ts, before);
        for ts in &mut self.issued[first..] {
            *ts += delta;
        }
        assert!(*self.issued.last().unwrap() <= self.record.as_ref().unwrap().ceiling_ns);
        self.clock
            .apply_correction(before, self.issued.last().copied());
        delta
    }

    /// Lets `seconds` pass, ticking each and issuing one timestamp; answers corrections.
    fn run(&mut self, seconds: u64) -> Vec<ClockEvent> {
        let mut events = Vec::new();
        for _ in 0..seconds {
            self.hands.advance(Duration::from_secs(1));
            for event in self.tick() {
                if let ClockEvent::Correct { from_ts, delta_ns } = event {
                    self.correct(from_ts, delta_ns);
                }
                events.push(event);
            }
            self.issue();
        }
        self.check_order();
        events
    }

    fn check_order(&self) {
        assert!(
            self.issued.windows(2).all(|pair| pair[0] < pair[1]),
            "order"
        );
    }

    fn restart(&mut self, loss: Loss) {
        self.left = match loss {
            Loss::Nothing => self.left,
            Loss::Newest => Some(self.left.unwrap_or(1).min(1)),
            Loss::All => Some(0),
        };
        let buffer_damaged = loss == Loss::Newest;
        if let Some(record) = self.record.as_mut().filter(|_| buffer_damaged) {
            record.lose_newest();
        }
        let left = self.left.unwrap_or(self.issued.len());
        let past = Past {
            newest: self.issued[..left.min(self.issued.len())].last().copied(),
            buffer_damaged,
            record: self.record.clone(),
        };
        self.clock = Clock::new(Box::new(self.hands.clone()), &settings(), &past);
    }

    /// Timestamps minus the wall clock.
    fn skew(&mut self) -> i64 {
        self.issue() - self.hands.wall_ns()
    }
}

fn corrections(events: &[ClockEvent]) -> Vec<(i64, i64)> {
    events
        .iter()
        .filter_map(|event| match event {
            ClockEvent::Correct { from_ts, delta_ns } => Some((*from_ts, *delta_ns)),
            _ => None,
        })
        .collect()
}

#[test]
fn records_that_arrive_together_get_consecutive_nanoseconds() {
    let mut device = Device::new(&Manual::new(NOW, Some(true)));
    assert_eq!(device.issue_many(3), NOW);
    assert_eq!(device.issue(), NOW + 3);
    assert_eq!(device.issue_many(0), NOW + 4);
    assert_eq!(device.issue(), NOW + 5);
}

#[test]
fn a_wild_reading_moves_nothing() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    device.run(40);
    for wild in [-YEAR_NS, 10 * YEAR_NS, HOUR_NS, i64::MAX, -NOW, -3 * NOW] {
        let wall = hands.wall_ns();
        hands.set_wall(wall.saturating_add(wild));
        device.tick();
        let ts = device.issue();
        assert!((ts - wall).abs() < SECOND_NS, "{wild}: {ts}");
        hands.set_wall(wall);
        device.run(5);
        assert!(device.skew().abs() < SECOND_NS);
    }
    let stats = device.clock.stats();
    assert_eq!(stats.steps, 0);
    // The others are not plausible at all, and never became candidates.
    assert_eq!(stats.withdrawn, 2);
    assert!(!stats.slewing && !stats.unsynchronised && !device.clock.uploads_held());
}

#[test]
fn small_differences_are_followed_at_once() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::settled(&hands);
    hands.step_wall(SECOND_NS / 2);
    assert_eq!(device.issue(), hands.wall_ns());
    hands.step_wall(-SECOND_NS / 2);
    assert!(device.skew() >= SECOND_NS / 2);
    device.run(1);
    assert!(device.clock.stats().slewing == (device.clock.lead > SECOND_NS / 1000));
    device.run(1);
    assert!(device.skew() <= 1);
    assert_eq!(device.clock.stats().steps, 0);
}

#[test]
fn a_step_ahead_is_believed_once_it_has_stood() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::settled(&hands);
    hands.step_wall(HOUR_NS);
    let events = device.run(30);
    assert_eq!(events, [ClockEvent::StepSeen { step_ns: HOUR_NS }]);
    assert_eq!(device.skew(), -HOUR_NS + 1);
    assert_eq!(device.run(1), [ClockEvent::Stepped { step_ns: HOUR_NS }]);
    assert_eq!(device.clock.stats().steps, 1);
    assert!(device.skew() <= 1);
}

#[test]
fn an_hour_back_runs_at_half_speed_until_it_is_made_up() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::settled(&hands);
    hands.step_wall(-HOUR_NS);
    let events = device.run(31);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1], ClockEvent::Stepped { step_ns: -HOUR_NS });
    assert!(device.clock.stats().slewing);
    let before = device.issue();
    device.run(100);
    assert_eq!((device.issue() - before) / SECOND_NS, 50);
    device.run(7200 - 102);
    assert!(device.clock.stats().slewing);
    device.run(10);
    assert!(!device.clock.stats().slewing);
    assert!(device.skew() <= 1);
}

#[test]
fn started_in_1970_runs_on_and_is_corrected_when_synchronised() {
    let hands = Manual::new(5 * SECOND_NS, Some(false));
    let past = Past {
        newest: Some(NOW),
        ..Past::default()
    };
    let mut device = Device::with(&hands, &past);
    assert_eq!(device.issue(), NOW + 1);
    assert!(device.clock.uploads_held());
    device.run(60);
    assert_eq!((device.issue() - NOW) / SECOND_NS, 60);
    hands.set_wall(NOW + YEAR_NS);
    hands.set_synchronised(Some(true));
    let first = device.issued[0];
    let events = device.run(60);
    let corrections = corrections(&events);
    assert_eq!(corrections.len(), 1);
    assert_eq!(corrections[0].0, first);
    assert!(events.contains(&ClockEvent::Synchronised));
    assert!(!device.clock.uploads_held());
    // The first record was issued 60 s before the wall was set.
    assert!((device.issued[0] - (NOW + YEAR_NS - 60 * SECOND_NS)).abs() < 2 * SECOND_NS);
    assert!(device.skew() <= 1);
}

#[test]
fn started_in_1970_for_the_first_time_begins_in_2026() {
    let mut device = Device::new(&Manual::new(0, None));
    assert_eq!(device.issue(), EARLIEST_NS);
    assert!(device.clock.stats().unsynchronised);
}

#[test]
fn uploads_are_held_no_longer_than_hold() {
    let mut device = Device::new(&Manual::new(NOW, Some(false)));
    device.run(299);
    assert!(device.clock.uploads_held());
    device.run(1);
    assert!(!device.clock.uploads_held());
    assert!(device.clock.stats().unsynchronised);
    assert!(device.skew().abs() <= 1);
}

#[test]
fn what_is_uploaded_is_not_corrected() {
    let hands = Manual::new(NOW, Some(false));
    let mut device = Device::new(&hands);
    device.run(400);
    device.uploaded = 390;
    let uploaded = device.issued[..390].to_vec();
    hands.step_wall(-60 * SECOND_NS);
    hands.set_synchronised(Some(true));
    let events = device.run(40);
    assert_eq!(corrections(&events).len(), 1);
    assert_eq!(device.issued[..390], uploaded);
    // Everything else moved back as far as there was room: some ten seconds.
    assert_eq!(device.issued[390], uploaded[389] + 1);
    assert!(device.clock.stats().slewing);
    device.run(200);
    assert!(device.skew() <= 1);
}

#[test]
fn ten_years_ahead_at_start_is_not_believed_until_vouched_for() {
    let ahead = NOW + 10 * YEAR_NS;
    let past = Past {
        newest: Some(NOW),
        ..Past::default()
    };
    for kernel in [Some(false), None] {
        let hands = Manual::new(ahead, kernel);
        let mut device = Device::with(&hands, &past);
        device.run(299);
        assert!(*device.issued.last().unwrap() < NOW + HOUR_NS);
        assert!(device.clock.uploads_held());
        let events = device.run(2);
        assert_eq!(
            corrections(&events).len(),
            1,
            "after the hold: {kernel:?} {events:?}"
        );
    }
    let hands = Manual::new(ahead, Some(true));
    let mut device = Device::with(&hands, &past);
    device.run(29);
    assert!(*device.issued.last().unwrap() < NOW + HOUR_NS);
    assert_eq!(corrections(&device.run(2)).len(), 1);
    assert!(device.issued[0] > NOW + 9 * YEAR_NS);
}

#[test]
fn ten_years_ahead_and_back_is_taken_back_where_it_can_be() {
    // Before the clock has settled, the jump itself is a correction; afterwards it is not.
    for settle in [10, 40] {
        let hands = Manual::new(NOW, Some(true));
        let mut device = Device::new(&hands);
        device.run(settle);
        hands.step_wall(10 * YEAR_NS);
        let events = device.run(100);
        assert_eq!(corrections(&events).len(), usize::from(settle == 10));
        assert!(*device.issued.last().unwrap() > NOW + 9 * YEAR_NS);
        hands.step_wall(-10 * YEAR_NS);
        let events = device.run(40);
        assert_eq!(corrections(&events).len(), 1, "{events:?}");
        assert!(*device.issued.last().unwrap() < NOW + HOUR_NS);
        assert!(device.record.as_ref().unwrap().ceiling_ns < NOW + HOUR_NS);
        assert!(device.skew().abs() < 40 * SECOND_NS);
    }
}

#[test]
fn one_wild_reading_at_the_start_is_taken_back() {
    let hands = Manual::new(NOW + 300 * DAY_NS, Some(true));
    let past = Past {
        newest: Some(NOW),
        ..Past::default()
    };
    let mut device = Device::with(&hands, &past);
    device.issue();
    hands.set_wall(NOW + HOUR_NS);
    let events = device.run(31);
    assert!(device.clock.uploads_held() || !device.clock.stats().unsynchronised);
    assert_eq!(corrections(&events).len(), 1);
    assert!(device.issued[0] > NOW && device.skew() <= 1);
    assert!(!device.clock.stats().slewing);
}

#[test]
fn ten_years_ahead_and_uploaded_creeps_loudly() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    hands.step_wall(10 * YEAR_NS);
    device.run(100);
    device.uploaded = device.issued.len();
    hands.step_wall(-10 * YEAR_NS);
    let events = device.run(1300);
    let loud = events
        .iter()
        .filter(|event| matches!(event, ClockEvent::FarAhead { .. }))
        .count();
    assert_eq!(loud, 3);
    let before = device.issue();
    device.run(100);
    assert!((device.issue() - before - 50 * SECOND_NS).abs() <= SECOND_NS);
}
