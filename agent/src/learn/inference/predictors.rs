//! All predictors, by stream.

use std::collections::HashMap;

use dunlin_models::registry::ModelKey;
use dunlin_sync::sample::StreamId;

use crate::learn::inference::predictor::Predictor;

/// At most one predictor for each recipe and stream.
#[derive(Default)]
pub(super) struct Predictors {
    by_stream: HashMap<StreamId, Vec<Predictor>>,
}

impl Predictors {
    /// Whether no stream has records to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Predictor> {
        self.by_stream.values().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Predictor> {
        self.by_stream.values_mut().flatten()
    }

    /// Those that answer the records of `stream`.
    pub(super) fn of_stream(&mut self, stream: StreamId) -> impl Iterator<Item = &mut Predictor> {
        self.by_stream.get_mut(&stream).into_iter().flatten()
    }

    /// The one that answers for `key` on `stream`.
    pub(super) fn find(&mut self, stream: StreamId, key: &ModelKey) -> Option<&mut Predictor> {
        self.of_stream(stream)
            .find(|predictor| predictor.spec.key == *key)
    }

    /// Has the records of `stream` read, also while nobody answers them yet.
    pub(super) fn expect(&mut self, stream: StreamId) {
        self.by_stream.entry(stream).or_default();
    }

    /// Adds a predictor, in the place of the one with its key.
    pub(super) fn put(&mut self, stream: StreamId, predictor: Predictor) {
        let others = self.by_stream.entry(stream).or_default();
        others.retain(|other| other.spec.key != predictor.spec.key);
        others.push(predictor);
    }

    pub(super) fn remove(&mut self, stream: StreamId, key: &ModelKey) {
        if let Some(predictors) = self.by_stream.get_mut(&stream) {
            predictors.retain(|predictor| predictor.spec.key != *key);
            if predictors.is_empty() {
                self.by_stream.remove(&stream);
            }
        }
    }

    /// Removes those of streams that do not fit.
    pub(super) fn retain_streams(&mut self, fits: impl Fn(StreamId) -> bool) {
        self.by_stream.retain(|stream, _| fits(*stream));
    }
}
