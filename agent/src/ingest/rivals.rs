//! Whether another client uses our client id: each connection of the one ends that of the other, and
//! each gets a part of what is published.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use crate::mqtt::LinkProblem;

/// Within this, two take-overs (or three connections that ended soon) are no accident.
const WINDOW: Duration = Duration::from_mins(1);
/// A connection that the broker has closed sooner than this after letting us in.
const SOON: Duration = Duration::from_secs(20);
/// The suspicion stands for so long after its last sign.
pub(super) const LASTS: Duration = Duration::from_mins(10);
/// Said again at most this often.
const SAY_AGAIN: Duration = Duration::from_hours(1);

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// The broker has said so (MQTT 5).
    Sure,
    /// It closes the connection soon after it has let us in, again and again.
    Likely,
}

/// The ends of the last connections.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    ends: VecDeque<(Instant, Suspicion)>,
    last_sign: Option<Instant>,
    said: Option<Instant>,
}

impl Rivals {
    /// A connection that stood for `lasted` has ended; what is to be suspected.
    pub(super) fn ended(
        &mut self,
        problem: &LinkProblem,
        lasted: Duration,
        now: Instant,
    ) -> Option<Suspicion> {
        let sign = match problem {
            LinkProblem::TakenOver => Suspicion::Sure,
            LinkProblem::Closed if lasted < SOON => Suspicion::Likely,
            LinkProblem::Io(error)
                if lasted < SOON && error.kind() == io::ErrorKind::ConnectionReset =>
            {
                Suspicion::Likely
            }
            _ => return None,
        };
        self.ends.retain(|(at, _)| now - *at < WINDOW);
        self.ends.push_back((now, sign));
        let sure = self
            .ends
            .iter()
            .filter(|(_, sign)| *sign == Suspicion::Sure);
        let suspicion = match (sure.count(), self.ends.len()) {
            (2.., _) => Suspicion::Sure,
            (_, 3..) => Suspicion::Likely,
            _ => return None,
        };
        self.last_sign = Some(now);
        Some(suspicion)
    }

    /// The broker did not let us in: it is away, or restarts, and the connections that it closed before say
    /// nothing of another client. A rival's broker takes us back at once.
    pub(super) fn turned_away(&mut self) {
        self.ends.retain(|(_, sign)| *sign == Suspicion::Sure);
    }

    /// Whether the suspicion still stands.
    pub(super) fn are_about(&self, now: Instant) -> bool {
        self.last_sign.is_some_and(|sign| now - sign < LASTS)
    }

    /// Whether it is time to say so (again).
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        let may = self.said.is_none_or(|said| now - said >= SAY_AGAIN);
        if may {
            self.said = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests;
