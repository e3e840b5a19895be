//! Brokers of every habit against an agent that is killed and cut off: nothing new is ever taken for known,
//! and what is stored twice was said to be possible.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::super::redelivery::{End, Following, Redelivery, Verdict, fingerprint, without_place};
use crate::ingest::Incoming;

const WINDOW: usize = 10;
const SEEN_MAX: usize = 16_384;

/// What a broker does with what it holds no PUBACK for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Sends it again with its packet ids, marked.
    KeepsIds,
    /// With new ones from 1 on, marked; a restart costs it PUBACKs.
    NumbersAnew,
    /// The same, not marked.
    MarksNothing,
    /// With new ones, marked, the newest first.
    NewestFirst,
    /// With new ones, not marked, behind what is new.
    LiveOvertakes,
}

const HABITS: [Habit; 5] = [
    Habit::KeepsIds,
    Habit::NumbersAnew,
    Habit::MarksNothing,
    Habit::NewestFirst,
    Habit::LiveOvertakes,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// Each with a time of its own.
    Timed,
    /// Each unlike any other, without a time.
    Numbered,
    /// All the same.
    Constant,
    /// Two sensors, one of which always says the same.
    HalfConstant,
}

impl Payload {
    fn of(self, n: u64) -> String {
        match self {
            Self::Constant => "1.5".into(),
            Self::HalfConstant if n.is_multiple_of(2) => "1.5".into(),
            _ => n.to_string(),
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// `n`, its id, sent before.
type Sent = (u64, u16, bool);

struct Broker {
    habit: Habit,
    payload: Payload,
    next_n: u64,
    /// Waiting, and whether sent before.
    waiting: VecDeque<(u64, bool)>,
    in_flight: VecDeque<Sent>,
    /// Acknowledged last, which a restart may bring back.
    acknowledged: VecDeque<u64>,
    last_id: u16,
    connection: u64,
}

impl Broker {
    fn connect(&mut self, restarts: bool, random: &mut Random) {
        self.connection += 1;
        if self.habit == Habit::KeepsIds {
            for sent in &mut self.in_flight {
                sent.2 = true;
            }
            return;
        }
        let mut again: Vec<u64> = self.in_flight.drain(..).map(|(n, ..)| n).collect();
        if restarts && matches!(self.habit, Habit::NumbersAnew | Habit::MarksNothing) {
            let count = random.below(self.acknowledged.len().min(40) + 1);
            let back = self.acknowledged.split_off(self.acknowledged.len() - count);
            again.splice(0..0, back);
        }
        if self.habit == Habit::NewestFirst {
            again.reverse();
        }
        let again = again.into_iter().map(|n| (n, true));
        if self.habit == Habit::LiveOvertakes {
            self.waiting.extend(again);
        } else {
            for sent in again.rev() {
                self.waiting.push_front(sent);
            }
        }
        self.last_id = 0;
    }

    /// Some of what the window lets it send now; on a new connection first what it has sent before.
    fn send(&mut self, random: &mut Random) -> Vec<Incoming> {
        let mut out = Vec::new();
        for sent in self.in_flight.iter_mut().filter(|sent| sent.2) {
            out.push((sent.0, sent.1, true));
            sent.2 = false;
        }
        let room = WINDOW - self.in_flight.len();
        for _ in 0..random.below(room + 1) {
            let (n, again) = self.waiting.pop_front().unwrap_or_else(|| {
                self.next_n += 1;
                (self.next_n, false)
            });
            self.last_id = self.last_id % 65_535 + 1;
            self.in_flight.push_back((n, self.last_id, false));
            out.push((n, self.last_id, again));
        }
        let marks = !matches!(self.habit, Habit::MarksNothing | Habit::LiveOvertakes);
        let publish = |(n, packet_id, again): Sent| Incoming {
            session_present: true,
            connection: self.connection,
            topic: Bytes::from_static(b"t"),
            payload: self.payload.of(n).into(),
            payload_bytes: n as usize,
            packet_id,
            dup: again && marks,
            qos0: false,
            retain: false,
        };
        out.into_iter().map(publish).collect()
    }

    fn acknowledge(&mut self, packet_id: u16) {
        let at = self.in_flight.iter().position(|sent| sent.1 == packet_id);
        let acknowledged = at.and_then(|at| self.in_flight.remove(at));
        self.acknowledged.extend(acknowledged.map(|sent| sent.0));
    }
}

#[derive(Debug, Default)]
struct Outcome {
    doubled: u64,
    counted: u64,
}

/// One life of a data directory, with kills and cuts.
fn live(habit: Habit, payload: Payload, seed: u64) -> Outcome {
    let random = &mut Random(seed);
    let mut broker = Broker {
        habit,
        payload,
        next_n: 0,
        waiting: VecDeque::new(),
        in_flight: VecDeque::new(),
        acknowledged: VecDeque::new(),
        last_id: 0,
        connection: 0,
    };
    let mut outcome = Outcome::default();
    let mut durable: Vec<u64> = Vec::new();
    let mut stored: HashSet<u64> = HashSet::new();
    let mut redelivery = Redelivery::new(Vec::new(), SEEN_MAX);
    let (mut prints, mut ids, mut ns) = (Vec::new(), Vec::new(), Vec::new());
    // The first of all: what is known after that is something to compare with.
    broker.connect(false, random);
    for round in 0..400 {
        let mut arrived = broker.send(random);
        let mut at = 0;
        let mut is_quiet = false;
        while at < arrived.len() {
            let publish = &arrived[at];
            let rest = &arrived[at + 1..];
            let marked: Vec<u64> = rest.iter().take_while(|p| p.dup).map(fingerprint).collect();
            let following = || Following {
                end: if marked.len() < rest.len() {
                    End::Other
                } else if is_quiet {
                    End::Nothing
                } else {
                    End::Open
                },
                marked,
            };
            let print = fingerprint(publish);
            let now = std::time::Instant::now();
            let verdict = redelivery.judge(publish, print, following, &prints, now);
            if verdict == Verdict::Wait {
                let more = broker.send(random);
                is_quiet = more.is_empty();
                arrived.extend(more);
                continue;
            }
            let n = publish.payload_bytes as u64;
            let is_known = stored.contains(&n) || ns.contains(&n);
            if verdict.is_stored(payload == Payload::Timed) {
                assert!(is_known, "{habit:?}, {payload:?}, seed {seed}: {n} is lost");
            } else {
                outcome.doubled += u64::from(is_known);
                outcome.counted += u64::from(verdict.is_doubtful());
                let is_doubtful = verdict.is_doubtful();
                prints.push(if is_doubtful {
                    without_place(print)
                } else {
                    print
                });
                ns.push(n);
            }
            ids.push(publish.packet_id);
            at += 1;
        }
        // Mostly a commit; and then, or in its place, something breaks. Not before there is a past.
        let breaks = round > 20 && random.below(6) == 0;
        let commits = !breaks || random.below(2) == 0;
        if commits {
            durable.extend(&prints);
            redelivery.remember(&mut prints);
            stored.extend(ns.drain(..));
            let arrive = if breaks {
                random.below(ids.len() + 1)
            } else {
                ids.len()
            };
            for id in ids.drain(..).take(arrive) {
                broker.acknowledge(id);
            }
        }
        if breaks {
            ids.clear();
            // Sent, and never received.
            broker.send(random);
            if random.below(2) == 0 {
                redelivery = Redelivery::new(durable.clone(), SEEN_MAX);
                prints.clear();
                ns.clear();
            }
            let restarts = random.below(2) == 0;
            broker.connect(restarts, random);
        }
    }
    outcome
}

#[test]
fn nothing_new_is_taken_for_known_whatever_the_broker_does() {
    for habit in HABITS {
        for payload in [
            Payload::Timed,
            Payload::Numbered,
            Payload::Constant,
            Payload::HalfConstant,
        ] {
            let mut all = Outcome::default();
            for seed in 0..10 {
                let outcome = live(habit, payload, seed);
                all.doubled += outcome.doubled;
                all.counted += outcome.counted;
            }
            println!("{habit:?}, {payload:?}: {all:?}");
            if habit == Habit::KeepsIds || payload == Payload::Timed {
                assert_eq!(all.doubled, 0, "{habit:?}, {payload:?}");
            }
            assert!(
                all.doubled <= all.counted,
                "{habit:?}, {payload:?}: {all:?}"
            );
        }
    }
}

#[test]
fn numbered_records_that_a_broker_numbers_anew_are_known_by_their_order() {
    let doubled: u64 = (0..10)
        .map(|seed| live(Habit::NumbersAnew, Payload::Numbered, seed).doubled)
        .sum();
    // Only where a single one comes again, with nothing behind it that could tell.
    assert!(doubled <= 100, "{doubled}");
}
