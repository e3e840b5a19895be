//! Forecasting: trained on the first rows, judged by every window whose targets are among the last.

use std::time::Instant;

use dunlin_models::{
    data::{Rows, Subset, scale::Scale},
    judging::{baseline, evaluation::Evaluation},
    recipe::{Model, NullHost, Output, Problem, Scratch},
};

use super::{
    Exit, Job, misfit,
    plot::{Chart, Line},
    read::Table,
    report::{Figures, FileReport, Report},
    source::{PartHalf, TablePart, rows, source},
    training_failed,
};

/// Windows between two looks at the progress bar.
const PROGRESS_EVERY: u64 = 64;
/// Rows of the past in the chart, beside the horizon.
const CHART_PAST: usize = 2;

/// Where the three stretches end.
struct Borders {
    train: usize,
    validation: usize,
    test: usize,
}

impl Borders {
    fn of(job: &Job<'_>, table: &Table) -> Result<Self, Exit> {
        let args = job.args;
        let train = args.train_rows.unwrap_or(table.len() * 3 / 5);
        let left = table.len().saturating_sub(train);
        let validation = args.validation_rows.unwrap_or(match args.train_rows {
            None => table.len() / 5,
            Some(_) => left / 2,
        });
        let test = args.test_rows.unwrap_or(left.saturating_sub(validation));
        let borders = Self {
            train,
            validation: train.saturating_add(validation),
            test: train.saturating_add(validation).saturating_add(test),
        };
        if borders.test > table.len() || train == 0 || test == 0 {
            return Err(misfit(
                table,
                &format!(
                    "needed: rows to train on and rows to judge by ({train} + {validation} + {test}); \
                     found: {}",
                    table.len()
                ),
            ));
        }
        Ok(borders)
    }
}

pub(super) fn run(job: &Job<'_>, table: &Table, report: &mut Report) -> Result<(), Exit> {
    let shape = job.settings.shape();
    let borders = Borders::of(job, table)?;
    let part = |rows, half| TablePart::new(rows, shape.lookback, half);
    let data = source(
        table,
        None,
        &[
            part(0..borders.train, PartHalf::Train),
            part(borders.train..borders.validation, PartHalf::Validation),
        ],
    );
    let started = Instant::now();
    let mut host = NullHost::default();
    let model = job.recipe.train(&data, None, job.args.seed, &mut host);
    let model = model.map_err(|error| training_failed(table, &error))?;
    let train_seconds = started.elapsed().as_secs_f64();
    let failed = |error: dunlin_models::data::DataError| misfit(table, &error.to_string());
    let scale = Scale::fit(&data).map_err(failed)?;
    let naive = baseline::with_season(Problem::Forecast, shape, &data, job.args.season);
    let naive = naive.map_err(failed)?;

    let test = rows(
        table,
        &part(borders.validation..borders.test, PartHalf::Validation),
    );
    let judged = judge(job, &test, &scale, &*model)?;
    let baseline = judge(job, &test, &scale, &*naive)?;
    if judged.windows == 0 {
        return Err(misfit(
            table,
            &format!(
                "needed: {} rows to judge by without a missing value (lookback {} before them); \
                 found: none among {}",
                shape.horizon,
                shape.lookback,
                borders.test - borders.validation
            ),
        ));
    }
    report
        .charts
        .extend(chart(job, table, &test, &*model, &*naive));
    report.files.push(FileReport {
        file: table.name.clone(),
        rows: table.len(),
        train_seconds,
        figures: Figures::Forecast {
            features: table.features.clone(),
            judged,
            baseline,
        },
    });
    Ok(())
}

/// Every window of `test`.
fn judge(job: &Job<'_>, test: &Rows, scale: &Scale, model: &dyn Model) -> Result<Evaluation, Exit> {
    let (shape, features) = (job.settings.shape(), scale.mean.len());
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let mut evaluation = Evaluation::default();
    job.starts(test.len());
    for window in test.windows(shape, features, false, Subset::All) {
        let input = test.values_of(window.start..window.split_at, features);
        model.infer(input, &mut scratch, &mut output);
        evaluation.count(Problem::Forecast, scale, test, window, &output);
        if evaluation.windows.is_multiple_of(PROGRESS_EVERY) {
            job.bar.set_position(window.end as u64);
        }
    }
    if evaluation.error_sum.is_nan() {
        return Err(Exit::Failed("the model answered with no numbers".into()));
    }
    Ok(evaluation)
}

/// The last window: what was, and what was forecast.
fn chart(
    job: &Job<'_>,
    table: &Table,
    test: &Rows,
    model: &dyn Model,
    naive: &dyn Model,
) -> Option<Chart> {
    job.args.plot.as_ref()?;
    let (shape, features) = (job.settings.shape(), table.features.len());
    let window = test.windows(shape, features, false, Subset::All).last()?;
    let feature = features - 1;
    let first = window
        .split_at
        .saturating_sub(CHART_PAST * shape.horizon)
        .max(window.start);
    let at = |row: usize| row as f64 - window.split_at as f64 + 1.0;
    let value = |row: usize| f64::from(test.values[row * features + feature]);
    let input = test.values_of(window.start..window.split_at, features);
    let forecast = |name: &str, model: &dyn Model| {
        let mut output = Output::default();
        model.infer(input, &mut Scratch::default(), &mut output);
        let values = output.values.iter().skip(feature).step_by(features);
        Line {
            name: name.to_owned(),
            points: (window.split_at..)
                .zip(values)
                .map(|(row, value)| (at(row), f64::from(*value)))
                .collect(),
        }
    };
    Some(Chart {
        title: format!("{}: {}, last forecast", table.name, table.features[feature]),
        x_name: "rows ahead".into(),
        lines: vec![
            Line {
                name: "measured".into(),
                points: (first..window.end)
                    .map(|row| (at(row), value(row)))
                    .collect(),
            },
            forecast("forecast", model),
            forecast("baseline", naive),
        ],
        ..Chart::default()
    })
}
