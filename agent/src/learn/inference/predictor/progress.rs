//! How far a predictor is in its stream.

/// Two positions; `seen_to <= answered_to`. What lies between them is looked at again after a restart,
/// and not answered again.
pub(super) struct Progress {
    /// Timestamp of the last record taken, nanoseconds UTC.
    seen_to: i64,
    /// Timestamp of the last record answered, or passed before the predictor began, nanoseconds UTC.
    answered_to: i64,
}

impl Progress {
    /// Of a predictor that begins behind `ts`.
    pub(super) fn behind(ts: i64) -> Self {
        Self {
            seen_to: ts,
            answered_to: ts,
        }
    }

    pub(super) fn seen_to(&self) -> i64 {
        self.seen_to
    }

    pub(super) fn answered_to(&self) -> i64 {
        self.answered_to
    }

    /// Has what is later than `ts` looked at again.
    pub(super) fn look_again_behind(&mut self, ts: i64) {
        self.seen_to = ts.min(self.answered_to);
    }

    /// Passes a record that is not to be answered.
    pub(super) fn see(&mut self, ts: i64) {
        self.seen_to = self.seen_to.max(ts);
    }

    /// Passes a record; returns whether it is still to be answered.
    pub(super) fn answer(&mut self, ts: i64) -> bool {
        self.see(ts);
        let is_due = ts > self.answered_to;
        self.answered_to = self.answered_to.max(ts);
        is_due
    }
}
