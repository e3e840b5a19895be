//! Predictions until they are durable.

use crate::learn::tables::Prediction;

/// Predictions of one predictor that are not durable yet, oldest first.
#[derive(Default)]
pub(in crate::learn::inference) struct Outbox {
    waiting: Vec<Prediction>,
    /// Some were refused for good, and that was told.
    is_refused: bool,
}

impl Outbox {
    pub(in crate::learn::inference) fn push(&mut self, prediction: Prediction) {
        self.waiting.push(prediction);
    }

    pub(in crate::learn::inference) fn waiting(&self) -> &[Prediction] {
        &self.waiting
    }

    /// Takes everything that waits: it is durable.
    pub(in crate::learn::inference) fn drain(&mut self) -> std::vec::Drain<'_, Prediction> {
        self.waiting.drain(..)
    }

    /// Drops everything that waits: it will never be stored. Returns whether that is the first time.
    pub(in crate::learn::inference) fn refuse(&mut self) -> bool {
        self.waiting.clear();
        !std::mem::replace(&mut self.is_refused, true)
    }
}
