//! Drift of a model's live error, whatever its scale.
//!
//! Both detectors want values of 0..=1; errors are of any scale and have a long tail. So an error
//! `e` counts as `e / (e + c)`, where `c` is the median of the first errors: one half is the usual
//! error, no outlier counts for more than 1, and the scale does not matter. Where most errors are 0,
//! as with classes, so is the median, and an error counts 1.

use serde::{Deserialize, Serialize};

use super::{Alarm, Detector, adwin::Adwin, page_hinkley::PageHinkley};

/// Most errors that fix the scale.
const WARM_UP_ROWS_MAX: u64 = 4_096;

/// How sensitive the tests are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorDriftSettings {
    /// Errors that fix the scale, at most 4,096.
    pub warm_up_rows: u64,
    /// ADWIN: probability of a false alarm at any one look, 0..1.
    pub adwin_delta: f64,
    /// Page-Hinkley: rise of the scaled error (0..1) that is let pass.
    pub page_hinkley_slack: f64,
    /// Page-Hinkley: cumulated rise of the scaled error that alarms.
    pub page_hinkley_bound: f64,
}

impl Default for ErrorDriftSettings {
    fn default() -> Self {
        Self {
            warm_up_rows: 200,
            adwin_delta: 0.002,
            page_hinkley_slack: 0.02,
            page_hinkley_bound: 20.0,
        }
    }
}

/// Watches the live error of one model. A new version needs a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDrift {
    settings: ErrorDriftSettings,
    /// The first errors, until they have fixed the scale.
    warm_up: Vec<f64>,
    scale: Option<f64>,
    adwin: Adwin,
    page_hinkley: PageHinkley,
    ignored: u64,
}

impl ErrorDrift {
    /// Begins to watch.
    pub fn new(settings: ErrorDriftSettings) -> Self {
        Self {
            settings,
            warm_up: Vec::new(),
            scale: None,
            adwin: Adwin::new(settings.adwin_delta),
            page_hinkley: PageHinkley::new(
                settings.page_hinkley_slack,
                settings.page_hinkley_bound,
            ),
            ignored: 0,
        }
    }

    /// Errors that were no numbers.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes the error of one answer; tells of a lasting rise. A fall is no drift to act on.
    pub fn add(&mut self, error: f64) -> Option<Alarm> {
        if !error.is_finite() {
            self.ignored += 1;
            return None;
        }
        let error = error.abs();
        let Some(scale) = self.scale else {
            self.warm_up(error);
            return None;
        };
        let scaled = if error == 0.0 {
            0.0
        } else {
            error / (error + scale)
        };
        let cut = self.adwin.add(scaled).filter(|cut| cut.after > cut.before);
        let risen = self.page_hinkley.add(scaled);
        let alarm = |detector, figure, bound| Alarm {
            detector,
            feature: None,
            figure,
            bound,
        };
        let adwin = cut.map(|cut| alarm(Detector::Adwin, cut.after - cut.before, cut.bound));
        let bound = self.page_hinkley.bound();
        adwin.or_else(|| risen.map(|risen| alarm(Detector::PageHinkley, risen, bound)))
    }

    fn warm_up(&mut self, error: f64) {
        self.warm_up.push(error);
        let wanted = self.settings.warm_up_rows.clamp(1, WARM_UP_ROWS_MAX) as usize;
        if self.warm_up.len() >= wanted {
            let mut errors = std::mem::take(&mut self.warm_up);
            let middle = errors.len() / 2;
            self.scale = Some(*errors.select_nth_unstable_by(middle, f64::total_cmp).1);
        }
    }
}

#[cfg(test)]
mod tests;
