//! The client's session: what waits, what is under way, what was acknowledged.

use std::{collections::VecDeque, time::Instant};

use super::Counts;
use crate::{
    mqtt_packet as packet,
    records::{Numbered, Publish, number_in},
};

/// Bytes put together for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Acknowledged publishes remembered, so that a restart can forget their PUBACKs.
const RECENT_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) numbered: Numbered,
    pub(super) end: u64,
    pub(super) rate_per_s: Option<f64>,
    /// When it began, and with which number.
    pub(super) started: (Instant, u64),
}

/// What a broker does, when the client connects again, with what it holds no PUBACK for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// Sends it again in order, marked DUP, with its packet ids, as the standard says.
    #[default]
    KeepsIds,
    /// Marked and in order, with packet ids from 1 on.
    NumbersAnew,
    /// In order, with packet ids from 1 on and without a mark; says that there was no session.
    MarksNothing,
    /// Marked, with packet ids from 1 on, the newest first.
    NewestFirst,
    /// Without a mark, with packet ids from 1 on, behind what has come since.
    LiveOvertakes,
    /// Marked, with its packet ids, the newest first; after a restart without a mark, in order, with packet ids
    /// from 1 on. Always says that there was no session.
    ForgetsAtRestart,
}

impl Habit {
    fn marks(self) -> bool {
        !matches!(self, Self::MarksNothing | Self::LiveOvertakes)
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    id: u16,
    publish: Publish,
    /// Sent before, on whatever connection.
    was_sent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    exists: bool,
    is_v5: bool,
    /// What the client allows.
    window: usize,
    /// Fewer than that, if the broker is of this kind.
    pub(super) window_max: Option<usize>,
    pub(super) is_subscribed: bool,
    pub(super) feed: Option<Feed>,
    pub(super) next_n: u64,
    /// To be sent, and whether it was sent before.
    pub(super) waiting: VecDeque<(Publish, bool)>,
    /// Oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of these were sent on this connection.
    sent_here: usize,
    last_id: u16,
    pub(super) acknowledged: Vec<bool>,
    pub(super) loses_acks: bool,
    pub(super) ignores_window: bool,
    pub(super) habit: Habit,
    /// What was acknowledged last, oldest first.
    recent: VecDeque<Publish>,
    /// PUBACKs that a restart has cost.
    forgotten: Vec<Publish>,
    was_restarted: bool,
    pub(super) counts: Counts,
}

impl Session {
    /// A new connection; returns whether the session was there.
    pub(super) fn connected(&mut self, is_v5: bool, receive_maximum: u16) -> bool {
        self.counts.connections += 1;
        self.is_v5 = is_v5;
        self.window = usize::from(receive_maximum);
        self.sent_here = 0;
        let was_restarted = std::mem::take(&mut self.was_restarted);
        let keeps_ids = match self.habit {
            Habit::KeepsIds => true,
            Habit::ForgetsAtRestart => !was_restarted,
            _ => false,
        };
        if !keeps_ids {
            self.requeue();
        } else if self.habit == Habit::ForgetsAtRestart {
            self.in_flight.make_contiguous().reverse();
        }
        let tells = !matches!(self.habit, Habit::MarksNothing | Habit::ForgetsAtRestart);
        std::mem::replace(&mut self.exists, true) && tells
    }

    /// Puts what is to be sent again where this broker sends it from.
    fn requeue(&mut self) {
        let in_flight = self.in_flight.drain(..).map(|sent| sent.publish);
        let mut again: Vec<_> = self.forgotten.drain(..).chain(in_flight).collect();
        if self.habit == Habit::NewestFirst {
            again.reverse();
        }
        let remembers = self.habit != Habit::ForgetsAtRestart;
        let again = again.into_iter().map(|publish| (publish, remembers));
        let mut again: VecDeque<_> = again.collect();
        if self.habit == Habit::LiveOvertakes {
            self.waiting.append(&mut again);
        } else {
            again.append(&mut self.waiting);
            self.waiting = again;
        }
        self.last_id = 0;
    }

    /// Forgets so many PUBACKs, or as many as it remembers: what they were for is sent again.
    pub(super) fn forget(&mut self, acks: usize) {
        self.was_restarted = true;
        let kept = self.recent.len().saturating_sub(acks);
        self.forgotten.extend(self.recent.drain(kept..));
    }

    pub(super) fn is_paced(&self) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.rate_per_s.is_some())
    }

    pub(super) fn acknowledge(&mut self, id: u16) {
        if self.loses_acks {
            return;
        }
        let Some(at) = self.in_flight.iter().position(|sent| sent.id == id) else {
            self.counts.stray_acks += 1;
            return;
        };
        let Some(sent) = self.in_flight.remove(at) else {
            return;
        };
        self.sent_here -= usize::from(at < self.sent_here);
        self.counts.acknowledged += 1;
        if let Some(n) = number_in(&sent.publish.payload) {
            let n = n as usize;
            if self.acknowledged.len() <= n {
                self.acknowledged.resize(n + 1, false);
            }
            self.acknowledged[n] = true;
        }
        self.recent.push_back(sent.publish);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// Appends what may be sent now: first what was sent before, then new publishes.
    pub(super) fn send_into(&mut self, out: &mut Vec<u8>) {
        while self.is_subscribed && out.len() < WRITE_BYTES {
            if self.sent_here == self.in_flight.len() && !self.take_next() {
                return;
            }
            let next = &mut self.in_flight[self.sent_here];
            let dup = next.was_sent && self.habit.marks();
            packet::publish(self.is_v5, &next.publish, next.id, dup, out);
            self.counts.sent += 1;
            self.counts.sent_again += u64::from(next.was_sent);
            next.was_sent = true;
            self.sent_here += 1;
        }
    }

    /// Puts one more publish under way, if there is one and the window lets it.
    fn take_next(&mut self) -> bool {
        let window = if self.ignores_window {
            60_000
        } else {
            self.window_max
                .map_or(self.window, |max| max.min(self.window))
        };
        if self.in_flight.len() >= window {
            return false;
        }
        let fed = |session: &mut Self| session.fed().map(|publish| (publish, false));
        let next = match self.habit {
            Habit::LiveOvertakes => fed(self).or_else(|| self.waiting.pop_front()),
            _ => self.waiting.pop_front().or_else(|| fed(self)),
        };
        let Some((publish, was_sent)) = next else {
            return false;
        };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.in_flight.push_back(InFlight {
            id: self.last_id,
            publish,
            was_sent,
        });
        true
    }

    fn fed(&mut self) -> Option<Publish> {
        let feed = self.feed.as_ref()?;
        let (start, first) = feed.started;
        let due = feed.rate_per_s.is_none_or(|rate| {
            ((self.next_n - first) as f64) < start.elapsed().as_secs_f64() * rate
        });
        if self.next_n >= feed.end || !due {
            return None;
        }
        self.next_n += 1;
        Some(feed.numbered.publish(self.next_n - 1))
    }
}
