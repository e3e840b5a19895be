//! A version at work on one stream.

use std::sync::Arc;

use dunlin_models::recipe::{Model, Output, Scratch};

use crate::{
    cohort::Labels,
    learn::inference::predictor::{forecasts::Forecasts, history::Newest, judge::Judge},
};

/// A version that can serve.
#[derive(Clone)]
pub(in crate::learn::inference) struct Serving {
    pub(in crate::learn::inference) version: u64,
    pub(in crate::learn::inference) model: Arc<dyn Model>,
    /// Names of the classes, if it is a classifier.
    pub(in crate::learn::inference) classes: Arc<[String]>,
    /// What labels are to it.
    pub(in crate::learn::inference) labels: Arc<Labels>,
}

/// Room for an answer, reused from one to the next.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) scratch: Scratch,
    pub(super) output: Output,
}

/// A version, and its forecasts that are not due.
pub(super) struct LiveModel {
    pub(super) serving: Serving,
    pub(super) forecasts: Forecasts,
    /// It has panicked, and answers no more.
    pub(super) is_broken: bool,
}

impl LiveModel {
    pub(super) fn new(serving: Serving, forecasts: Forecasts) -> Self {
        Self {
            serving,
            forecasts,
            is_broken: false,
        }
    }

    /// Answers the newest window, if it is whole; returns the error that is known by now.
    pub(super) fn infer(
        &mut self,
        newest: Newest<'_>,
        judge: &Judge,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Option<f64> {
        let answer = newest.input.map(|input| {
            self.serving.model.infer(input, scratch, output);
            &*output
        });
        judge.live_error(newest.history, answer, &mut self.forecasts)
    }
}
