//! The figures, for people and for programs.

use std::fmt::Write as _;

use dunlin_models::{judging::evaluation::Evaluation, recipes::Algorithm};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{errors::Errors, events::Events, plot::Chart, read::Table};
use crate::base::text;

/// Shorter histories say nothing about a month.
const MONTHS_MIN: f64 = 0.25;

/// What a backtest came to.
#[derive(Debug)]
pub(super) struct Report {
    recipe: String,
    pub(super) files: Vec<FileReport>,
    warnings: Vec<String>,
    pub(super) charts: Vec<Chart>,
}

/// What one file came to.
#[derive(Debug)]
pub(super) struct FileReport {
    pub(super) file: String,
    pub(super) rows: usize,
    pub(super) train_seconds: f64,
    pub(super) figures: Figures,
}

/// Figures by task, the model's beside the baseline's.
#[derive(Clone, Debug)]
pub(super) enum Figures {
    Forecast {
        features: Vec<String>,
        judged: Evaluation,
        baseline: Evaluation,
    },
    Anomaly {
        is_labelled: bool,
        has_time: bool,
        judged: Evaluation,
        events: Events,
        baseline: Evaluation,
        baseline_events: Events,
    },
    Classify(Errors),
    Regress(Errors),
}

/// How a setting is written.
pub(super) fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

impl Report {
    pub(super) fn new(recipe: Algorithm) -> Self {
        Self {
            recipe: name_of(&recipe),
            files: Vec::new(),
            warnings: Vec::new(),
            charts: Vec::new(),
        }
    }

    /// Says what of the file could not be used.
    pub(super) fn warn_of(&mut self, table: &Table) {
        let path = table.path.display();
        if let Some(first) = &table.first_bad {
            let lines = text::of(table.bad_lines, "line");
            self.warnings
                .push(format!("{path}: {lines} taken as missing, first: {first}"));
        }
        if table.late > 0 {
            let rows = text::of(table.late, "row");
            self.warnings.push(format!(
                "{path}: {rows} left out, too late for their step; a longer --late-ms-max waits for them"
            ));
        }
        if table.missing > 0 {
            let values = text::of(table.missing, "missing value");
            self.warnings
                .push(format!("{path}: {values}; no window reaches over one"));
        }
    }

    /// All files together; `None` if they cannot be added up (other columns).
    fn pooled(&self) -> Option<Figures> {
        let (first, rest) = self.files.split_first()?;
        let mut pooled = first.figures.clone();
        for file in rest {
            pooled.add(&file.figures)?;
        }
        Some(pooled)
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let files = self.files.iter().map(|file| {
            let mut object = Map::new();
            object.insert("file".into(), json!(file.file));
            object.insert("rows".into(), json!(file.rows));
            object.insert("train_seconds".into(), json!(file.train_seconds));
            object.extend(file.figures.json());
            Value::Object(object)
        });
        let report = json!({
            "recipe": self.recipe,
            "task": self.files.first().map(|file| file.figures.task()),
            "files": files.collect::<Vec<_>>(),
            "pooled": self.pooled().map(|figures| figures.json()),
            "warnings": self.warnings,
        });
        format!("{report:#}")
    }

    /// A table.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for warning in &self.warnings {
            lines.push(text::printable(&format!("warning: {warning}")));
        }
        let pooled = self.pooled();
        let mut rows: Vec<(String, &Figures)> = self
            .files
            .iter()
            .map(|file| (text::printable(&file.file), &file.figures))
            .collect();
        if let Some(pooled) = pooled.as_ref().filter(|_| rows.len() > 1) {
            rows.push(("all files".to_owned(), pooled));
        }
        let width = rows.iter().map(|(name, _)| name.chars().count());
        let width = width.max().unwrap_or_default().max(4);
        for (at, (name, figures)) in rows.iter().enumerate() {
            if at == 0 {
                lines.push(format!("{:width$}{}", "file", figures.head()));
            }
            for (row, (who, cells)) in figures.rows(&self.recipe).into_iter().enumerate() {
                let name = if row == 0 { name } else { "" };
                lines.push(format!("{name:width$}  {who:14}{cells}"));
            }
        }
        if let Some(figures) = &pooled {
            lines.extend(figures.details());
        }
        let seconds: f64 = self.files.iter().map(|file| file.train_seconds).sum();
        lines.push(format!("trained in {}", text::seconds(seconds)));
        lines.join("\n")
    }
}

impl Figures {
    const fn task(&self) -> &'static str {
        match self {
            Self::Forecast { .. } => "forecast",
            Self::Anomaly { .. } => "anomaly",
            Self::Classify(_) => "classify",
            Self::Regress(_) => "regress",
        }
    }

    /// Adds those of another file, if they can be.
    fn add(&mut self, other: &Self) -> Option<()> {
        match (self, other) {
            (
                Self::Forecast {
                    features,
                    judged,
                    baseline,
                },
                Self::Forecast {
                    features: other_features,
                    judged: other_judged,
                    baseline: other_baseline,
                },
            ) if features == other_features => {
                judged.add(other_judged);
                baseline.add(other_baseline);
            }
            (
                Self::Anomaly {
                    judged,
                    events,
                    baseline,
                    baseline_events,
                    ..
                },
                Self::Anomaly {
                    judged: other_judged,
                    events: other_events,
                    baseline: other_baseline,
                    baseline_events: other_baseline_events,
                    ..
                },
            ) => {
                judged.add(other_judged);
                events.add(other_events);
                baseline.add(other_baseline);
                baseline_events.add(other_baseline_events);
            }
            (Self::Classify(errors), Self::Classify(other))
            | (Self::Regress(errors), Self::Regress(other)) => errors.add(other),
            _ => return None,
        }
        Some(())
    }

    fn json(&self) -> Map<String, Value> {
        let value = match self {
            Self::Forecast {
                features,
                judged,
                baseline,
            } => {
                let by_channel = |figures: Vec<f64>| -> Map<String, Value> {
                    let named = features.iter().cloned().zip(figures);
                    named.map(|(name, figure)| (name, json!(figure))).collect()
                };
                json!({
                    "windows": judged.windows,
                    "mse": judged.error(),
                    "mae": judged.mae(),
                    "mse_by_channel": by_channel(judged.mse_by_feature()),
                    "mae_by_channel": by_channel(judged.mae_by_feature()),
                    "baseline": { "mse": baseline.error(), "mae": baseline.mae() },
                })
            }
            Self::Anomaly {
                is_labelled,
                has_time,
                judged,
                events,
                baseline,
                baseline_events,
            } => {
                let of = |judged: &Evaluation, events: &Events| {
                    let mut figures = json!({
                        "flagged": judged.flagged.iter().sum::<u64>(),
                        "rows_judged": judged.flagged.iter().chain(&judged.unflagged).sum::<u64>(),
                    });
                    if *is_labelled {
                        figures["f1"] = json!(judged.f1());
                        figures["false_alarm_rate"] = json!(judged.false_alarm_rate());
                        figures["missed_alarm_rate"] = json!(judged.missed_alarm_rate());
                        figures["spans"] = json!(events.spans);
                        figures["spans_hit"] = json!(events.hit);
                        figures["false_alarms"] = json!(events.false_alarms);
                        if *has_time && events.months > MONTHS_MIN {
                            let rate = events.false_alarms as f64 / events.months;
                            figures["false_alarms_a_month"] = json!(rate);
                        }
                    }
                    figures
                };
                let mut figures = of(judged, events);
                figures["baseline"] = of(baseline, baseline_events);
                figures
            }
            Self::Classify(errors) => {
                let [model, last, majority] = errors.mean().map(|error| 1.0 - error);
                json!({
                    "predictions": errors.count,
                    "learning_refused": errors.refused,
                    "accuracy": model,
                    "kappa_temporal": errors.kappa_temporal(),
                    "baseline": { "last_class_accuracy": last, "majority_accuracy": majority },
                })
            }
            Self::Regress(errors) => {
                let [model, last, mean] = errors.mean();
                let [model_rms, last_rms, mean_rms] = errors.root_mean_square();
                json!({
                    "predictions": errors.count,
                    "learning_refused": errors.refused,
                    "mae": model,
                    "rmse": model_rms,
                    "baseline": {
                        "last_mae": last, "last_rmse": last_rms,
                        "mean_mae": mean, "mean_rmse": mean_rms,
                    },
                })
            }
        };
        match value {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    /// Names of the columns after the file's.
    fn head(&self) -> String {
        let columns: &[&str] = match self {
            Self::Forecast { .. } => &["windows", "MSE", "MAE"],
            Self::Anomaly {
                is_labelled: true, ..
            } => &["F1", "false %", "missed %", "spans hit", "false", "a month"],
            Self::Anomaly { .. } => &["rows", "flagged %"],
            Self::Classify(_) => &["rows", "accuracy", "kappa-t"],
            Self::Regress(_) => &["rows", "MAE", "RMSE"],
        };
        columns.iter().fold(" ".repeat(16), |mut line, column| {
            // Writing to a String cannot fail.
            let _ok = write!(line, "{column:>11}");
            line
        })
    }

    /// Who answered, and how well.
    fn rows(&self, recipe: &str) -> Vec<(String, String)> {
        let row = |who: &str, cells: &[String]| {
            let cells = cells.iter().map(|cell| format!("{cell:>11}"));
            (who.to_owned(), cells.collect())
        };
        let three = |figure: f64| format!("{figure:.4}");
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        match self {
            Self::Forecast {
                judged, baseline, ..
            } => [(recipe, judged), ("baseline", baseline)]
                .map(|(who, of)| {
                    let windows = text::count(of.windows);
                    row(who, &[windows, three(of.error()), three(of.mae())])
                })
                .into(),
            Self::Anomaly {
                is_labelled,
                has_time,
                judged,
                events,
                baseline,
                baseline_events,
            } => [
                (recipe, judged, events),
                ("baseline", baseline, baseline_events),
            ]
            .map(|(who, of, events)| {
                if !is_labelled {
                    let rows = of.flagged[0] + of.unflagged[0];
                    return row(who, &[text::count(rows), percent(of.false_alarm_rate())]);
                }
                let rate = match events.months {
                    months if *has_time && months > MONTHS_MIN => {
                        format!("{:.1}", events.false_alarms as f64 / months)
                    }
                    _ => "-".into(),
                };
                let cells = [
                    three(of.f1()),
                    percent(of.false_alarm_rate()),
                    percent(of.missed_alarm_rate()),
                    format!("{} of {}", events.hit, events.spans),
                    text::count(events.false_alarms),
                    rate,
                ];
                row(who, &cells)
            })
            .into(),
            Self::Classify(errors) => {
                let [model, last, majority] = errors.mean().map(|error| three(1.0 - error));
                let kappa = errors.kappa_temporal().map_or("-".to_owned(), three);
                let count = text::count(errors.count);
                vec![
                    row(recipe, &[count.clone(), model, kappa]),
                    row("last class", &[count.clone(), last]),
                    row("majority", &[count, majority]),
                ]
            }
            Self::Regress(errors) => {
                let (mean, rms) = (errors.mean(), errors.root_mean_square());
                let who = [recipe, "last value", "mean"].into_iter().enumerate();
                who.map(|(of, who)| {
                    let count = text::count(errors.count);
                    row(who, &[count, three(mean[of]), three(rms[of])])
                })
                .collect()
            }
        }
    }

    /// Figures by channel, and what words need explaining.
    fn details(&self) -> Vec<String> {
        match self {
            Self::Forecast {
                features, judged, ..
            } => {
                let figures = judged.mse_by_feature().into_iter();
                let figures = figures.zip(judged.mae_by_feature());
                let channels = features.iter().zip(figures).map(|(name, (mse, mae))| {
                    let name = text::printable(name);
                    format!("  {name:24} MSE {mse:.4}  MAE {mae:.4}")
                });
                std::iter::once("errors in standard deviations of the training rows; by channel:".into())
                    .chain(channels)
                    .collect()
            }
            Self::Anomaly {
                is_labelled: true, ..
            } => vec![
                "flags less than a window apart are one alarm; it is false if it begins outside every \
                 labelled span"
                    .to_owned(),
            ],
            Self::Classify(errors) | Self::Regress(errors) if errors.refused > 0 => {
                vec![format!(
                    "{} without a row to learn from",
                    text::of(errors.refused, "time")
                )]
            }
            _ => Vec::new(),
        }
    }
}
