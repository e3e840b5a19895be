//! What the clock believes of its wall clock, and when. The module's text has the rules.

use super::{Candidate, Clock, ClockEvent, Doubt, FAR_NS, Proposal, READING_NS_MAX, plausible};

impl Clock {
    /// Reads the source: elapsed time moves the estimate, a small difference is followed, a large
    /// one becomes or confirms a candidate. Believing it is left to [`Clock::tick`].
    pub(super) fn observe(&mut self) {
        let before = self.source.boot_ns();
        let wall = self.source.wall_ns();
        let after = self.source.boot_ns();
        let elapsed = (before - self.boot).max(0);
        self.lead = (self.lead - elapsed / 2).max(0);
        self.boot = self.boot.max(before);
        if after - before > READING_NS_MAX {
            return;
        }
        self.wall = wall;
        self.kernel = self.source.synchronised();
        let offset = wall.saturating_sub(self.boot);
        let step = offset.saturating_sub(self.offset);
        if plausible(wall) && self.is_small(step) {
            self.withdraw();
            self.follow(step);
            let since = *self.agreeing_since.get_or_insert(self.boot);
            if !self.anchored && self.boot - since >= self.confirm_ns {
                self.anchored = true;
                self.record_stale = true;
            }
            return;
        }
        self.agreeing_since = None;
        let standing = self.candidate.filter(|candidate| {
            plausible(wall) && self.is_small(offset.saturating_sub(candidate.offset))
        });
        if standing.is_none() {
            self.withdraw();
        }
        let (since_boot_ns, told) =
            standing.map_or((self.boot, false), |old| (old.since_boot_ns, old.told));
        self.candidate = plausible(wall).then_some(Candidate {
            offset,
            since_boot_ns,
            told,
        });
    }

    pub(super) fn judge_candidate(&mut self, events: &mut Vec<ClockEvent>) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        let step_ns = candidate.offset.saturating_sub(self.offset);
        if !candidate.told {
            candidate.told = true;
            events.push(ClockEvent::StepSeen { step_ns });
        }
        let doubtful = self.kernel != Some(true) && !(0..=FAR_NS).contains(&step_ns);
        let must_stand_ns = if doubtful {
            self.confirm_ns.max(self.hold_ns)
        } else {
            self.confirm_ns
        };
        let offset = candidate.offset;
        if self.boot - candidate.since_boot_ns < must_stand_ns {
            return;
        }
        let delta_ns = step_ns.saturating_sub(self.lead);
        match self.correctable_from(step_ns) {
            Some(from_ts) if !self.is_small(delta_ns) => {
                self.proposal = Some(Proposal { offset, delta_ns });
                // What is moved ahead must stay below the ceiling as well.
                if self.reach() <= self.ceiling {
                    events.push(ClockEvent::Correct { from_ts, delta_ns });
                }
            }
            _ => {
                self.adopt(offset);
                events.push(ClockEvent::Stepped { step_ns });
            }
        }
    }

    /// Whether a step says that records already issued are wrong, and from which one on: any
    /// step while unsynchronised; otherwise one that takes back the jump before it.
    fn correctable_from(&self, step_ns: i64) -> Option<i64> {
        let doubt = self.doubt.as_ref()?;
        let taken_back = |jump: i64| step_ns.saturating_add(jump).abs() <= jump / 2;
        let wrong = doubt.unsynchronised || doubt.jump_ns.is_some_and(taken_back);
        doubt.from_ts.filter(|_| wrong)
    }

    /// Believes `offset`.
    pub(super) fn adopt(&mut self, offset: i64) {
        let step = offset.saturating_sub(self.offset);
        self.follow(step);
        self.steps += 1;
        self.candidate = None;
        self.anchored = true;
        self.record_stale = true;
        let jump_ns = Some(step).filter(|step| *step > 0);
        match &mut self.doubt {
            Some(doubt) if doubt.unsynchronised => doubt.jump_ns = jump_ns,
            doubt => {
                *doubt = jump_ns.map(|_| Doubt {
                    from_ts: None,
                    since_boot_ns: self.boot,
                    unsynchronised: false,
                    jump_ns,
                });
            }
        }
    }

    pub(super) fn judge_synchronisation(&mut self) {
        let unsynchronised = self.kernel == Some(false) || !self.anchored;
        if unsynchronised == self.unsynchronised() {
            return;
        }
        if unsynchronised {
            self.doubt = Some(Doubt {
                from_ts: None,
                since_boot_ns: self.boot,
                unsynchronised,
                jump_ns: None,
            });
        } else if self.candidate.is_some() {
            // A step that comes with synchronisation is judged first.
            return;
        } else if let Some(doubt) = self.doubt.take() {
            self.doubt = doubt.jump_ns.map(|_| Doubt {
                unsynchronised,
                ..doubt
            });
        }
        self.record_stale = true;
    }

    pub(super) fn unsynchronised(&self) -> bool {
        self.doubt
            .as_ref()
            .is_some_and(|doubt| doubt.unsynchronised)
    }

    /// Moves the offset; the estimate goes ahead with it, but never back.
    fn follow(&mut self, step: i64) {
        self.offset = self.offset.saturating_add(step);
        self.lead = self.lead.saturating_sub(step).max(0);
    }

    fn withdraw(&mut self) {
        self.withdrawn += u64::from(self.candidate.take().is_some());
    }

    fn is_small(&self, step: i64) -> bool {
        step.unsigned_abs() <= self.step_max_ns.unsigned_abs()
    }
}
