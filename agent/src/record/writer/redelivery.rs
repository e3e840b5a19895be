//! Which publishes the broker sends again, and whether they are stored already.
//!
//! A broker sends again what it holds no PUBACK for: after a connection broke, or after a restart that has
//! cost it PUBACKs which it had read already. What may come again is therefore what came before this
//! connection, as far back as is remembered: `before`. It is made of the fingerprints that every commit
//! stores, so it survives a kill and a power cut of the agent too.
//!
//! | what the broker does | what decides |
//! |---|---|
//! | marks DUP, keeps packet ids | the newest use of the id: the same topic and payload are stored already |
//! | marks DUP, numbers anew | topics and payloads in order: see below |
//! | does not mark DUP | the record's own time: see below |
//! | says that it does not know the session, and sends what had waited | ids and marks only of what they name; else the record's own time |
//!
//! In order: what a broker sends again begins somewhere in `before`, goes on without a gap and ends with the
//! newest. So a publish unlike any other there says where it began, if what follows it here followed it
//! there; from then on what comes next is known by its place. Until enough has followed nothing is decided:
//! [`Verdict::Wait`].
//!
//! A record's own time: the same topic, the same payload, and a time in each record of it, unlike any other
//! in `before`, is the same reading.
//!
//! Nothing else is taken for known, since equal payloads may be different readings: it is stored, perhaps for
//! a second time, and counted ([`Verdict::Perhaps`]). It has no place in the order then: its fingerprint is
//! kept with packet id 0, which no publish has.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use xxhash_rust::xxh3::Xxh3;

use crate::{config::settings::Settings, ingest::Incoming};

/// How long after its first publish a connection may bring what was sent before without a DUP mark. Only for
/// what is counted: whatever comes later is stored as well.
const SENT_AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// Place of what may be stored twice.
const NO_PLACE: u32 = u32::MAX;
/// Publishes that are enough to say what they follow.
pub(super) const FOLLOWING_MAX: usize = 256;

/// Names a publish as the broker would send it again: its packet id in the upper 16 bits, a hash of
/// topic and payload below. The id tells two equal payloads apart that are in flight at once.
pub(super) fn fingerprint(publish: &Incoming) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&(publish.topic.len() as u32).to_le_bytes());
    hash.update(&publish.topic);
    hash.update(&publish.payload);
    u64::from(publish.packet_id) << CONTENT_BITS | hash.digest() >> (64 - CONTENT_BITS)
}

const CONTENT_BITS: u32 = 48;

/// The fingerprint of a publish that may be stored already.
pub(super) fn without_place(fingerprint: u64) -> u64 {
    content(fingerprint)
}

fn content(fingerprint: u64) -> u64 {
    fingerprint & ((1 << CONTENT_BITS) - 1)
}

fn packet_id(fingerprint: u64) -> u16 {
    (fingerprint >> CONTENT_BITS) as u16
}

/// Fingerprints worth keeping: what a broker may send again after a crash, twice over, and no less
/// than a broker that ignores its window was seen to have outstanding beyond it.
pub(crate) fn fingerprints_max(settings: &Settings) -> usize {
    (2 * usize::from(settings.mqtt.receive_maximum)).max(16_384)
}

/// What is to be done with a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new.
    New,
    /// It is stored already.
    Again,
    /// It is stored already if each of its records carries a time of its own; otherwise as
    /// [`Verdict::Perhaps`], `counted` or not.
    AgainIfTimed { counted: bool },
    /// It may be stored already: store it and count it.
    Perhaps,
    /// Ask again with more of what follows, or once nothing more is to be expected.
    Wait,
}

impl Verdict {
    /// Whether the publish is stored already, if its records carry times of their own or not.
    pub(super) fn is_stored(self, is_timed: bool) -> bool {
        self == Self::Again || is_timed && matches!(self, Self::AgainIfTimed { .. })
    }

    /// Whether it counts as a possible duplicate once it is stored.
    pub(super) fn is_doubtful(self) -> bool {
        matches!(self, Self::Perhaps | Self::AgainIfTimed { counted: true })
    }
}

/// What has arrived behind a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Following {
    /// Of the same connection and marked DUP, without a break.
    pub(super) marked: Vec<u64>,
    pub(super) end: End,
}

/// What comes behind these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Other,
    /// Nothing for a while.
    Nothing,
    /// Nobody knows yet.
    Open,
}

pub(super) struct Redelivery {
    /// Fingerprints of what was committed last, oldest first.
    seen: VecDeque<u64>,
    seen_max: usize,
    /// What was said of a publish that is not stored yet: its connection, its fingerprint.
    kept: Option<(u64, u64, Verdict)>,
    connection: u64,
    /// First publish of the connection.
    began: Option<Instant>,
    /// Publishes of the connection.
    came: usize,
    /// The broker goes on with the packet ids of the connection before, as the standard asks for. Then it
    /// marks DUP too.
    keeps_ids: bool,
    /// The broker says that it knows the session. One that does not, and delivers what had waited, marks and
    /// numbers by itself alone: what was sent again without a mark after its restart comes with a mark, and with
    /// the id of that time, on the connection after.
    knows_session: bool,
    /// The broker has marked something DUP. Those that do so only sometimes may still send again unmarked.
    marks: bool,
    before: Before,
}

/// Fingerprints of what came before this connection, oldest first.
#[derive(Default)]
struct Before {
    prints: Vec<u64>,
    /// Content and place, sorted; also of what has no place.
    by_content: Vec<(u64, u32)>,
    /// Sent again on this connection.
    came_again: Vec<bool>,
    /// Place after the last one known by its order.
    next: Option<usize>,
}

impl Before {
    fn new(all: impl Iterator<Item = u64>) -> Self {
        let (mut prints, mut by_content) = (Vec::new(), Vec::new());
        for print in all {
            let place = match packet_id(print) {
                0 => NO_PLACE,
                _ => prints.len() as u32,
            };
            by_content.push((content(print), place));
            if place != NO_PLACE {
                prints.push(print);
            }
        }
        by_content.sort_unstable();
        Self {
            came_again: vec![false; prints.len()],
            by_content,
            prints,
            next: None,
        }
    }

    fn content_at(&self, place: usize) -> Option<u64> {
        self.prints.get(place).copied().map(content)
    }

    /// Where this content is that has not come again, oldest first.
    fn places(&self, content: u64) -> impl Iterator<Item = usize> {
        let equal = self.equal(content).iter().map(|(_, place)| *place as usize);
        equal.filter(|place| self.came_again.get(*place) == Some(&false))
    }

    fn equal(&self, content: u64) -> &[(u64, u32)] {
        let from = self
            .by_content
            .partition_point(|(other, _)| *other < content);
        let equal = self.by_content[from..].iter();
        let count = equal.take_while(|(other, _)| *other == content).count();
        &self.by_content[from..from + count]
    }

    fn is_next(&self, print: u64) -> bool {
        let next = self.next.and_then(|place| self.content_at(place));
        next == Some(content(print))
    }

    /// Whether what follows here is what followed there from `place` on, if that can be said already.
    fn goes_on(&self, place: usize, following: &Following) -> Option<bool> {
        let rest = &self.prints[place.min(self.prints.len())..];
        let mut pairs = following.marked.iter().zip(rest);
        if !pairs.all(|(here, there)| content(*here) == content(*there)) {
            return Some(false);
        }
        let enough = rest.len().min(FOLLOWING_MAX);
        match following.end {
            // A broker that waits for PUBACKs before it goes on.
            End::Nothing => Some(!following.marked.is_empty() && !rest.is_empty()),
            _ if following.marked.len() >= enough => Some(!rest.is_empty()),
            End::Other => Some(false),
            End::Open => None,
        }
    }

    /// What is at `place` has come again.
    fn take(&mut self, place: usize) {
        if let Some(came_again) = self.came_again.get_mut(place) {
            *came_again = true;
        }
    }

    /// The same, and what follows is expected next.
    fn goes_on_after(&mut self, place: Option<usize>) {
        if let Some(place) = place {
            self.take(place);
            self.next = Some(place + 1);
        }
    }
}

impl Redelivery {
    /// With the fingerprints of what was committed last, oldest first, of which as many are remembered.
    pub(super) fn new(seen: Vec<u64>, seen_max: usize) -> Self {
        Self {
            seen: seen.into(),
            seen_max,
            kept: None,
            connection: 0,
            began: None,
            came: 0,
            keeps_ids: false,
            knows_session: false,
            marks: false,
            before: Before::default(),
        }
    }

    /// Takes over the fingerprints of what was just committed.
    pub(super) fn remember(&mut self, fingerprints: &mut Vec<u64>) {
        self.seen.extend(fingerprints.drain(..));
        let surplus = self.seen.len().saturating_sub(self.seen_max);
        self.seen.drain(..surplus);
    }

    /// Judges a publish that wants a PUBACK; `pending` are the fingerprints of what the next commit stores.
    pub(super) fn judge(
        &mut self,
        publish: &Incoming,
        print: u64,
        following: impl FnOnce() -> Following,
        pending: &[u64],
        now: Instant,
    ) -> Verdict {
        let kept = self.kept.take();
        if let Some((connection, kept, verdict)) = kept
            && (connection, kept) == (publish.connection, print)
        {
            return verdict;
        }
        if publish.connection != self.connection {
            self.begin(publish, print, pending);
        }
        self.came += 1;
        if self.came > 2 * self.seen_max {
            // Whatever was to come again has come.
            self.before = Before::default();
        }
        let began = *self.began.get_or_insert(now);
        if publish.dup {
            self.marks = true;
            let is_newest_use = self.is_newest_use(print, pending);
            self.judge_marked(print, is_newest_use, following)
        } else if publish.retain || self.keeps_ids && self.knows_session {
            Verdict::New
        } else {
            let is_early = now.saturating_duration_since(began) < SENT_AGAIN_WITHIN;
            let is_marked_else = self.marks && self.knows_session;
            self.judge_unmarked(content(print), is_early && !is_marked_else)
        }
    }

    /// The publish could not be stored yet, and comes next: what was said of it holds. To be asked twice would
    /// use up what it was told by.
    pub(super) fn keep(&mut self, publish: &Incoming, print: u64, verdict: Verdict) {
        self.kept = Some((publish.connection, print, verdict));
    }

    /// Whether this is what its packet id was used for last. Only that counts: a broker uses an id again
    /// after the PUBACK, and then never sends again what the id named before.
    fn is_newest_use(&self, print: u64, pending: &[u64]) -> bool {
        let newest_first = pending.iter().rev().chain(self.seen.iter().rev());
        let mut same_id = newest_first.filter(|other| packet_id(**other) == packet_id(print));
        same_id.next() == Some(&print)
    }

    fn begin(&mut self, first: &Incoming, print: u64, pending: &[u64]) {
        let newest = pending.last().or(self.seen.back()).copied();
        let follows = newest.map_or(0, packet_id).checked_add(1) == Some(first.packet_id);
        // Whoever numbers anew begins with 1.
        self.keeps_ids =
            first.packet_id != 1 && (follows || first.dup && self.is_newest_use(print, pending));
        self.knows_session = first.session_present;
        self.connection = first.connection;
        (self.began, self.came) = (None, 0);
        self.before = Before::new(self.seen.iter().chain(pending).copied());
    }

    fn judge_marked(
        &mut self,
        print: u64,
        is_newest_use: bool,
        following: impl FnOnce() -> Following,
    ) -> Verdict {
        if self.keeps_ids {
            return match (is_newest_use, self.knows_session) {
                (true, _) => Verdict::Again,
                (false, true) => Verdict::New,
                (false, false) => self.judge_unmarked(content(print), true),
            };
        }
        let before = &mut self.before;
        if before.is_next(print) {
            before.goes_on_after(before.next);
            return Verdict::Again;
        }
        let places: Vec<usize> = before.places(content(print)).collect();
        let is_alike = before.equal(content(print)).len() > 1;
        if is_newest_use && !is_alike {
            before.goes_on_after(places.first().copied());
            return Verdict::Again;
        }
        let Some(&place) = places.first() else {
            return Verdict::New;
        };
        let is_in_order = before.next.is_none_or(|next| next < place);
        if !is_alike && is_in_order {
            match before.goes_on(place + 1, &following()) {
                None => return Verdict::Wait,
                Some(true) => {
                    before.goes_on_after(Some(place));
                    return Verdict::Again;
                }
                Some(false) => {}
            }
        }
        before.take(place);
        if is_alike {
            Verdict::Perhaps
        } else {
            Verdict::AgainIfTimed { counted: true }
        }
    }

    /// `counted`: what is stored, and may have been before, is worth counting.
    fn judge_unmarked(&mut self, content: u64, counted: bool) -> Verdict {
        let before = &mut self.before;
        let Some(place) = before.places(content).next() else {
            return Verdict::New;
        };
        before.take(place);
        match before.equal(content).len() {
            1 => Verdict::AgainIfTimed { counted },
            _ if counted => Verdict::Perhaps,
            _ => Verdict::New,
        }
    }
}
