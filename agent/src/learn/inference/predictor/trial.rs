//! A new version on trial: the one before answers along in the shadow, for comparison.

use dunlin_models::{
    judging::trial::{Trial, TrialSettings},
    recipe::{Output, Scratch},
};

use crate::learn::inference::predictor::{history::Newest, judge::Judge, serving::LiveModel};

/// The version before, and how the two compare by now.
pub(super) struct OnTrial {
    pub(super) before: LiveModel,
    pub(super) trial: Trial,
}

impl OnTrial {
    /// A trial against `before` that begins now.
    pub(super) fn against(before: LiveModel) -> Self {
        Self {
            before,
            trial: Trial::new(TrialSettings::default()),
        }
    }

    /// Has the version before answer the newest window; returns its error that is known by now.
    pub(super) fn infer(
        &mut self,
        newest: Newest<'_>,
        judge: &Judge,
        scratch: &mut Scratch,
    ) -> Option<f64> {
        let mut output = Output::default();
        self.before.infer(newest, judge, scratch, &mut output)
    }
}
