//! What costs nothing to know: the answer that a candidate has to beat.
//!
//! Promises: a baseline learns from the training rows only, and looks at no more of a window than a
//! candidate may. The last class and the last label, which no window holds, are the business of
//! whoever sees labels arrive.

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::{
    artifact::Artifact,
    data::{
        DataError, Source, Subset, WindowShape,
        scale::{Moments, Scale},
    },
    judging::evaluation::evaluate,
    recipe::{Model, Output, Problem, Scratch},
};

/// Kind of the artifacts.
const KIND: &str = "baseline";
/// Rows, lags and features looked at to find a season: 130 million products at most.
const SEASON_ROWS_MAX: usize = 8_192;
const SEASON_LAGS_MAX: usize = 2_048;
const SEASON_FEATURES_MAX: usize = 8;
/// A weaker autocorrelation is no season.
const SEASON_CORRELATION_MIN: f64 = 0.1;
/// Anomaly: standard deviations from the mean that are usual.
const USUAL_DEVIATIONS: f32 = 3.0;

/// How a baseline answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    /// The last `season` rows over and over; 1: the last row.
    Repeat { horizon: usize, season: usize },
    /// The mean of every feature; unusual is what is more than three standard deviations away.
    Mean(Scale),
    /// How frequent each class is.
    Frequencies(Vec<f32>),
    /// The mean of the label.
    Label(f32),
}

#[derive(Clone, Debug)]
struct Baseline {
    features: Vec<String>,
    rule: Rule,
}

/// The baseline of `problem`, from the training rows of `source`:
/// - forecast: the last row again, or the last season again if that is the better;
/// - anomaly: the mean of every feature, flagging three standard deviations;
/// - classify: the frequencies, hence the most frequent class;
/// - regress: the mean of the label.
///
/// Data without a single usable row give a baseline of zeros.
///
/// # Errors
/// [`DataError`] if a chunk cannot be read.
pub fn baseline(
    problem: Problem,
    shape: WindowShape,
    source: &dyn Source,
) -> Result<Box<dyn Model>, DataError> {
    with_season(problem, shape, source, None)
}

/// As [`baseline`]; a forecast repeats the last `season` rows if given, without looking for a better.
/// A season longer than the window is cut to it.
///
/// # Errors
/// As [`baseline`].
pub fn with_season(
    problem: Problem,
    shape: WindowShape,
    source: &dyn Source,
    season: Option<usize>,
) -> Result<Box<dyn Model>, DataError> {
    let rule = match problem {
        Problem::Forecast => repetition(shape, source, season)?,
        Problem::Anomaly => Rule::Mean(Scale::fit(source)?),
        Problem::Classify => Rule::Frequencies(frequencies(source)?),
        Problem::Regress => {
            let mut moments = Moments::default();
            each_label(source, |label| moments.add(f64::from(label)))?;
            Rule::Label(moments.mean as f32)
        }
    };
    Ok(Box::new(Baseline::new(source, rule)))
}

impl Baseline {
    fn new(source: &dyn Source, rule: Rule) -> Self {
        Self {
            features: source.columns().features.clone(),
            rule,
        }
    }
}

/// What a forecast repeats: the last `season` rows if given, otherwise the better of the last season and
/// the last row.
fn repetition(
    shape: WindowShape,
    source: &dyn Source,
    season: Option<usize>,
) -> Result<Rule, DataError> {
    let repeat = |season: usize| Rule::Repeat {
        horizon: shape.horizon,
        season: season.clamp(1, shape.lookback.max(1)),
    };
    let found = season_of(source, shape.lookback)?;
    Ok(match (season, found) {
        (Some(season), _) => repeat(season),
        (None, None) => repeat(1),
        (None, Some(season)) => {
            let scale = Scale::fit(source)?;
            let error = |season| {
                let model = Baseline::new(source, repeat(season));
                let what = (Problem::Forecast, shape);
                evaluate(&model, what, &scale, source, Subset::Train).map(|e| e.error())
            };
            let is_better = error(season)? < error(1)?;
            repeat(if is_better { season } else { 1 })
        }
    })
}

fn each_label(source: &dyn Source, mut see: impl FnMut(f32)) -> Result<(), DataError> {
    for index in 0..source.chunks() {
        let rows = source.read(index)?;
        let split = rows.label.iter().zip(&rows.is_train).skip(rows.lead);
        let labels = split.filter(|(label, is_train)| **is_train && label.is_finite());
        labels.for_each(|(label, _)| see(*label));
    }
    Ok(())
}

fn frequencies(source: &dyn Source) -> Result<Vec<f32>, DataError> {
    let mut counts = vec![0_u64; source.columns().classes.len()];
    each_label(source, |label| {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    })?;
    let total = counts.iter().sum::<u64>().max(1) as f32;
    Ok(counts.iter().map(|count| *count as f32 / total).collect())
}

/// The season, in rows: the lag of the greatest peak of the autocorrelation of the training rows, mean
/// over features, up to `rows_max`; `None` if there is no clear one.
///
/// # Errors
/// [`DataError`] if a chunk cannot be read.
pub fn season_of(source: &dyn Source, rows_max: usize) -> Result<Option<usize>, DataError> {
    let features = source.columns().features.len();
    let looked_at = features.min(SEASON_FEATURES_MAX);
    let mut sums = vec![0.0; rows_max.min(SEASON_LAGS_MAX) + 2];
    let mut rows_left = SEASON_ROWS_MAX;
    let scale = Scale::fit(source)?;
    for index in 0..source.chunks() {
        let rows = source.read(index)?;
        let length = rows.len().min(rows_left);
        rows_left -= length;
        for feature in 0..looked_at {
            let value = |row: usize| match rows.values[row * features + feature] {
                value if rows.is_train[row] && value.is_finite() => {
                    f64::from((value - scale.mean[feature]) / scale.std[feature])
                }
                // The mean: adds nothing to a product.
                _ => 0.0,
            };
            let series: Vec<f64> = (0..length).map(value).collect();
            for (lag, sum) in sums.iter_mut().enumerate().take(length / 2) {
                let pairs = series.iter().zip(&series[lag..]);
                *sum += pairs.map(|(a, b)| a * b).sum::<f64>();
            }
        }
    }
    let all = sums.first().copied().unwrap_or_default();
    let peaks = sums.windows(3).enumerate().filter(|(_, around)| {
        around[1] > around[0] && around[1] >= around[2] && around[1] > SEASON_CORRELATION_MIN * all
    });
    let best = peaks.reduce(|best, next| if next.1[1] > best.1[1] { next } else { best });
    Ok(best
        .map(|(before, _)| before + 1)
        .filter(|lag| (2..=rows_max).contains(lag)))
}

impl Model for Baseline {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        let Output {
            values,
            score,
            flag,
        } = output;
        values.clear();
        (*score, *flag) = (0.0, false);
        let features = self.features.len();
        match &self.rule {
            Rule::Repeat { horizon, season } => {
                let rows = &input[input.len() - season * features..];
                values.extend(rows.iter().cycle().take(horizon * features));
            }
            Rule::Mean(scale) => {
                let last = &input[input.len() - features..];
                let spread = scale.mean.iter().zip(&scale.std);
                let deviations = last
                    .iter()
                    .zip(spread)
                    .map(|(x, (m, s))| ((x - m) / s).abs());
                *score = deviations.fold(0.0, f32::max) / USUAL_DEVIATIONS;
                *flag = *score > 1.0;
                values.extend_from_slice(&scale.mean);
            }
            Rule::Frequencies(shares) => {
                values.extend_from_slice(shares);
                *score = shares.iter().copied().fold(0.0, f32::max);
            }
            Rule::Label(mean) => values.push(*mean),
        }
    }

    fn save(&self) -> Artifact {
        Artifact {
            kind: KIND.into(),
            features: self.features.clone(),
            // Plain numbers: this cannot fail.
            settings: serde_json::to_string(&self.rule).unwrap_or_default(),
            ..Artifact::default()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
