//! Classification and regression: predict each row, then learn it.
//!
//! Promises: no answer has seen the label of its row or of a later one.

use std::{ops::Range, time::Instant};

use dunlin_models::{
    data::{Subset, scale::Moments},
    judging::evaluation::argmax,
    recipe::{Model, NullHost, Output, Problem, Scratch, TrainError},
};

use super::{
    Exit, Job,
    errors::Errors,
    misfit,
    plot::{Chart, Line},
    read::Table,
    report::{Figures, FileReport, Report},
    source::{PartHalf, TablePart, rows, source},
    training_failed,
};

/// Weight of the newest error in the running error of the chart.
const CHART_WEIGHT: f64 = 0.02;

pub(super) fn run(job: &Job<'_>, table: &Table, report: &mut Report) -> Result<(), Exit> {
    let (args, task) = (job.args, job.recipe.problem());
    if args.fit_rows == 0 || args.fit_rows >= table.len() {
        return Err(misfit(
            table,
            &format!(
                "needed: more rows than the {} to learn first; found: {} (see --fit-rows)",
                args.fit_rows,
                table.len()
            ),
        ));
    }
    let started = Instant::now();
    let mut train_seconds = 0.0;
    let mut model = learn(job, table, 0..args.fit_rows, None)
        .map_err(|error| training_failed(table, &error))?;
    train_seconds += started.elapsed().as_secs_f64();
    let mut judge = Judge::new(task, table, args.fit_rows);
    job.starts(table.len() - args.fit_rows);
    let mut at = args.fit_rows;
    while at < table.len() {
        let end = at.saturating_add(args.learn_every.max(1)).min(table.len());
        judge.block(job, table, &*model, at..end);
        let started = Instant::now();
        match learn(job, table, at..end, Some(&*model)) {
            Ok(better) => model = better,
            // Nothing to learn from among these rows: the model stays.
            Err(TrainError::Data(_)) => judge.errors.refused += 1,
            Err(error) => return Err(training_failed(table, &error)),
        }
        train_seconds += started.elapsed().as_secs_f64();
        at = end;
        job.bar.set_position((at - args.fit_rows) as u64);
    }
    if judge.errors.count == 0 {
        return Err(misfit(
            table,
            "needed: rows with a label and without a missing value to judge by; found: none",
        ));
    }
    if args.plot.is_some() {
        report.charts.push(judge.chart(table));
    }
    report.files.push(FileReport {
        file: table.name.clone(),
        rows: table.len(),
        train_seconds,
        figures: match task {
            Problem::Classify => Figures::Classify(judge.errors),
            _ => Figures::Regress(judge.errors),
        },
    });
    Ok(())
}

/// A model of these rows, from nothing or going on from `incumbent`; then with as many rows before
/// them as replay.
fn learn(
    job: &Job<'_>,
    table: &Table,
    new: Range<usize>,
    incumbent: Option<&dyn Model>,
) -> Result<Box<dyn Model>, TrainError> {
    let lead = job.settings.lookback - 1;
    let mut parts = vec![TablePart::new(new.clone(), lead, PartHalf::Mixed)];
    if incumbent.is_some() {
        let replayed = new.start.saturating_sub(new.len())..new.start;
        parts.push(TablePart {
            is_replay: true,
            ..TablePart::new(replayed, lead, PartHalf::Mixed)
        });
    }
    let data = source(table, job.args.label.as_deref(), &parts);
    let mut host = NullHost::default();
    job.recipe.train(&data, incumbent, job.args.seed, &mut host)
}

/// Counts errors, and keeps what the naive answers need.
struct Judge {
    task: Problem,
    errors: Errors,
    last: f32,
    mean: Moments,
    counts: Vec<f32>,
    /// Row, running error of the model and of the last label.
    running: Vec<(f64, [f64; 2])>,
}

impl Judge {
    fn new(task: Problem, table: &Table, fit_rows: usize) -> Self {
        let mut judge = Self {
            task,
            errors: Errors::default(),
            last: 0.0,
            mean: Moments::default(),
            counts: vec![0.0; table.classes.len()],
            running: Vec::new(),
        };
        table.label[..fit_rows].iter().for_each(|l| judge.see(*l));
        judge
    }

    /// A label has arrived.
    fn see(&mut self, label: f32) {
        if label.is_finite() {
            self.last = label;
            self.mean.add(f64::from(label));
            if let Some(count) = self.counts.get_mut(label as usize) {
                *count += 1.0;
            }
        }
    }

    /// Predicts these rows, each before its label is seen.
    fn block(&mut self, job: &Job<'_>, table: &Table, model: &dyn Model, range: Range<usize>) {
        let features = table.features.len();
        let part = TablePart::new(range, job.settings.lookback - 1, PartHalf::Mixed);
        let rows = rows(table, &part);
        let (mut scratch, mut output) = (Scratch::default(), Output::default());
        let windows = rows.windows(job.settings.shape(), features, true, Subset::All);
        let mut windows = windows.peekable();
        for row in rows.lead..rows.len() {
            if let Some(window) = windows.next_if(|window| window.end == row + 1) {
                let input = rows.values_of(window.start..window.end, features);
                model.infer(input, &mut scratch, &mut output);
                self.count(part.rows.start + row - rows.lead, rows.label[row], &output);
            }
            self.see(rows.label[row]);
        }
    }

    fn count(&mut self, row: usize, label: f32, output: &Output) {
        let errors: [f64; 3] = if self.task == Problem::Classify {
            let answers = [
                argmax(&output.values),
                Some(self.last as usize),
                argmax(&self.counts),
            ];
            answers.map(|answer| f64::from(u8::from(answer != Some(label as usize))))
        } else {
            let answer = output.values.first().copied().unwrap_or(f32::NAN);
            let answers = [f64::from(answer), f64::from(self.last), self.mean.mean];
            answers.map(|answer| answer - f64::from(label))
        };
        self.errors.count += 1;
        for (of, error) in errors.into_iter().enumerate() {
            self.errors.absolute[of] += error.abs();
            self.errors.squared[of] += error * error;
        }
        let newest = [errors[0].abs(), errors[1].abs()];
        let before = self.running.last().map_or(newest, |(_, before)| *before);
        let mix = |of: usize| before[of] + CHART_WEIGHT * (newest[of] - before[of]);
        self.running.push((row as f64, [mix(0), mix(1)]));
    }

    fn chart(&self, table: &Table) -> Chart {
        let line = |name: &str, of: usize| Line {
            name: name.to_owned(),
            points: self.running.iter().map(|(row, e)| (*row, e[of])).collect(),
        };
        Chart {
            title: format!("{}: running error", table.name),
            x_name: "row".into(),
            lines: vec![line("model", 0), line("last label", 1)],
            ..Chart::default()
        }
    }
}
