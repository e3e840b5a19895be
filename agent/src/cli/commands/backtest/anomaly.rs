//! Anomaly detection: each file fitted on its own first rows, the rest scored row by row.
//!
//! Promises: labels are only counted with, never fitted to; every row after the fit is judged, one
//! that no window ends at (a missing value) counts as not flagged.

use std::{ops::Range, time::Instant};

use dunlin_models::{
    data::{DataError, Rows, Subset, scale::Scale},
    judging::{baseline, evaluation::Evaluation},
    recipe::{Model, NullHost, Output, Problem, Scratch},
};

use super::{
    Exit, Job,
    events::{self, Events, months},
    misfit,
    plot::{Chart, Line},
    read::Table,
    report::{Figures, FileReport, Report},
    source::{PartHalf, TablePart, rows, source},
    training_failed,
};

/// The last so many of the fit rows calibrate the threshold: one of this many.
const CALIBRATION_PART: usize = 5;
/// Scores above this are cut off in the chart, or a fault would flatten all the rest.
const CHART_SCORE_MAX: f64 = 10.0;

pub(super) fn run(job: &Job<'_>, table: &Table, report: &mut Report) -> Result<(), Exit> {
    let shape = job.settings.shape();
    let fit_rows = job.args.fit_rows;
    if fit_rows == 0 || fit_rows >= table.len() {
        return Err(misfit(
            table,
            &format!(
                "needed: more rows than the {fit_rows} to fit; found: {} (see --fit-rows)",
                table.len()
            ),
        ));
    }
    let spans = match &job.args.windows {
        None => labelled_runs(&table.label),
        Some(path) => events::spans(path, table)?,
    };
    let calibration = fit_rows - fit_rows / CALIBRATION_PART;
    let part = |rows, half| TablePart::new(rows, shape.lookback - 1, half);
    let data = source(
        table,
        None,
        &[
            part(0..calibration, PartHalf::Train),
            part(calibration..fit_rows, PartHalf::Validation),
        ],
    );
    let started = Instant::now();
    let mut host = NullHost::default();
    let model = job.recipe.train(&data, None, job.args.seed, &mut host);
    let model = model.map_err(|error| training_failed(table, &error))?;
    let train_seconds = started.elapsed().as_secs_f64();
    let failed = |error: DataError| misfit(table, &error.to_string());
    let scale = Scale::fit(&data).map_err(failed)?;
    let naive = baseline::baseline(Problem::Anomaly, shape, &data).map_err(failed)?;

    let mut test = rows(table, &part(fit_rows..table.len(), PartHalf::Validation));
    let offset = fit_rows - test.lead;
    test.label = labels(&spans, offset..table.len());
    let answers = score(job, &test, &scale, &*model);
    let baseline = score(job, &test, &scale, &*naive);
    let months = months(&test);
    let judged_spans: Vec<Range<usize>> = spans
        .iter()
        .filter(|span| span.end > fit_rows)
        .map(|span| span.start.max(fit_rows) - offset..span.end - offset)
        .collect();
    let of = |answers: &Answers| {
        Events::of(
            &answers.flags,
            test.lead,
            shape.lookback,
            &judged_spans,
            months,
        )
    };
    if job.args.plot.is_some() {
        let scores = answers.scores.iter().map(|(row, score)| {
            let score = f64::from(*score).min(CHART_SCORE_MAX);
            ((row + offset) as f64, score)
        });
        report.charts.push(Chart {
            title: format!("{}: scores", table.name),
            x_name: "row".into(),
            lines: vec![Line {
                name: "score".into(),
                points: scores.collect(),
            }],
            shaded: spans
                .iter()
                .filter(|span| span.end > fit_rows)
                .map(|span| span.start.max(fit_rows) as f64..span.end as f64)
                .collect(),
            level: Some(1.0),
        });
    }
    report.files.push(FileReport {
        file: table.name.clone(),
        rows: table.len(),
        train_seconds,
        figures: Figures::Anomaly {
            is_labelled: job.args.windows.is_some() || job.args.label.is_some(),
            has_time: table.has_time,
            events: of(&answers),
            baseline_events: of(&baseline),
            judged: answers.evaluation,
            baseline: baseline.evaluation,
        },
    });
    Ok(())
}

/// Consecutive rows with a label other than 0.
fn labelled_runs(label: &[f32]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, label) in label.iter().enumerate() {
        if label.is_finite() && *label != 0.0 {
            match runs.last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => runs.push(row..row + 1),
            }
        }
    }
    runs
}

/// 1 within `spans`, 0 elsewhere.
fn labels(spans: &[Range<usize>], rows: Range<usize>) -> Vec<f32> {
    rows.map(|row| f32::from(u8::from(spans.iter().any(|span| span.contains(&row)))))
        .collect()
}

/// A model's answers to the rows to be judged.
struct Answers {
    evaluation: Evaluation,
    /// One a row, the lead included.
    flags: Vec<bool>,
    /// Row and score, where there is one.
    scores: Vec<(usize, f32)>,
}

fn score(job: &Job<'_>, test: &Rows, scale: &Scale, model: &dyn Model) -> Answers {
    let (shape, features) = (job.settings.shape(), scale.mean.len());
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let mut answers = Answers {
        evaluation: Evaluation::default(),
        flags: vec![false; test.len()],
        scores: Vec::new(),
    };
    job.starts(test.len());
    for window in test.windows(shape, features, false, Subset::All) {
        let input = test.values_of(window.start..window.end, features);
        model.infer(input, &mut scratch, &mut output);
        let row = window.end - 1;
        let evaluation = &mut answers.evaluation;
        evaluation.count(Problem::Anomaly, scale, test, window, &output);
        answers.flags[row] = output.flag;
        answers.scores.push((row, output.score));
        job.bar.set_position(row as u64);
    }
    let mut scored = answers.scores.iter().map(|(row, _)| *row).peekable();
    for row in test.lead..test.len() {
        if scored.next_if_eq(&row).is_none() {
            answers.evaluation.unflagged[usize::from(test.label[row] != 0.0)] += 1;
        }
    }
    answers
}
