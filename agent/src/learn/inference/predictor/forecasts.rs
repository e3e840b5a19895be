//! Forecasts until what they forecast is there.

use std::collections::VecDeque;

/// Forecasts that are not due, oldest first; `None` where a record had no answer.
pub(super) struct Forecasts {
    horizon: usize,
    waiting: VecDeque<Option<Vec<f32>>>,
}

impl Forecasts {
    /// None, each of which will be due after `horizon` records.
    pub(super) fn new(horizon: usize) -> Self {
        Self {
            horizon,
            waiting: VecDeque::new(),
        }
    }

    /// None, of the same horizon.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.horizon)
    }

    /// As many as `self`, all without an answer: two versions are compared on the same records.
    pub(super) fn blank(&self) -> Self {
        Self {
            horizon: self.horizon,
            waiting: self.waiting.iter().map(|_| None).collect(),
        }
    }

    /// Adds the forecast made at the newest record; returns the one that this record completes.
    pub(super) fn push(&mut self, forecast: Option<Vec<f32>>) -> Option<Vec<f32>> {
        self.waiting.push_back(forecast);
        let is_due = self.waiting.len() > self.horizon;
        is_due.then(|| self.waiting.pop_front()).flatten().flatten()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
