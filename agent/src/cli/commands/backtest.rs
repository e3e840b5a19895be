//! `dunlin backtest`: recorded data through the very code that learns and answers on the device.
//!
//! Promises: what is judged was not learnt from; no threshold is fitted on labels; a model and its
//! naive baseline are judged on the same rows.

mod anomaly;
mod errors;
mod events;
mod forecast;
mod gridded;
mod plot;
mod prequential;
mod read;
mod report;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dunlin_models::{
    data::WindowShape,
    recipe::{Problem, Recipe, TrainError},
    recipes::{self, Algorithm, RecipeSettings},
};
use indicatif::ProgressBar;

use self::{
    read::{Reading, Table},
    report::Report,
};
use super::{Exit, Outcome, grid::GridArgs, import, terminal};

/// What to do with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Train on the first rows, forecast every window of the last
    Forecast,
    /// Learn what is usual from the first rows of each file, flag the rest
    Anomaly,
    /// Predict the class of each row, then learn it
    Classify,
    /// Estimate the number of each row, then learn it
    Regress,
}

impl From<TaskArg> for Problem {
    fn from(task: TaskArg) -> Self {
        match task {
            TaskArg::Forecast => Self::Forecast,
            TaskArg::Anomaly => Self::Anomaly,
            TaskArg::Classify => Self::Classify,
            TaskArg::Regress => Self::Regress,
        }
    }
}

/// Arguments of `dunlin backtest`.
#[derive(Args, Debug, Clone)]
pub struct BacktestArgs {
    /// CSV files whose first line names the columns; each is judged by itself, then all together
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub csv: Vec<PathBuf>,
    /// What to do
    #[arg(long, value_enum)]
    pub task: TaskArg,
    /// How to learn: `ridge_nlinear`, `pca`, `ridge`, ... as `algorithm` in the configuration
    /// [default: by task; to classify `rocket`, where --lookback is more than 1]
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    pub recipe: Option<Algorithm>,

    /// Column with the time; found by itself unless given, and not needed
    #[arg(long, value_name = "COLUMN", help_heading = "File")]
    pub time: Option<String>,
    /// Separator, one character, or `tab`; found by itself unless given
    #[arg(long, value_name = "CHAR", value_parser = import::delimiter, help_heading = "File")]
    pub delimiter: Option<u8>,
    /// Column with what is to be found (anomaly: 0 where all is well), only judged by
    #[arg(long, value_name = "COLUMN", help_heading = "File")]
    pub label: Option<String>,
    /// Columns to leave out
    #[arg(long, value_name = "COLUMN", num_args = 1.., help_heading = "File")]
    pub ignore: Vec<String>,
    /// Anomaly: JSON file with the labelled time spans instead of a column:
    /// `{"dir/file.csv": [["from", "to"], ...]}`
    #[arg(long, value_name = "FILE", help_heading = "File")]
    pub windows: Option<PathBuf>,
    /// Rows of a regular grid in place of the file's
    #[command(flatten)]
    pub grid: GridArgs,

    /// Rows a model looks at [default: forecast 336, anomaly 10, otherwise 1]
    #[arg(
        long,
        visible_alias = "window",
        value_name = "ROWS",
        help_heading = "Learning"
    )]
    pub lookback: Option<usize>,
    /// Forecast: rows to forecast
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 96,
        help_heading = "Learning"
    )]
    pub horizon: usize,
    /// Forecast: rows to train on [default: 60 %]
    #[arg(long, value_name = "ROWS", help_heading = "Learning")]
    pub train_rows: Option<usize>,
    /// Forecast: rows after these, to choose by [default: 20 %]
    #[arg(long, value_name = "ROWS", help_heading = "Learning")]
    pub validation_rows: Option<usize>,
    /// Forecast: rows after these, to judge by [default: all that are left]
    #[arg(long, value_name = "ROWS", help_heading = "Learning")]
    pub test_rows: Option<usize>,
    /// Anomaly, classify, regress: rows at the beginning to learn from before anything is judged
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 400,
        help_heading = "Learning"
    )]
    pub fit_rows: usize,
    /// Classify, regress: rows after which is learnt again
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 100,
        help_heading = "Learning"
    )]
    pub learn_every: usize,
    /// Forecast: rows of a season that the baseline repeats [default: found in the training rows]
    #[arg(long, value_name = "ROWS", help_heading = "Learning")]
    pub season: Option<usize>,
    /// Closed forms: weight of the ridge, beside the mean of the squares [default: 0.01]
    #[arg(long, value_name = "WEIGHT", help_heading = "Learning")]
    pub ridge: Option<f64>,
    /// Principal components: share of the variance kept [default: 0.9]
    #[arg(long, value_name = "SHARE", help_heading = "Learning")]
    pub variance_kept: Option<f64>,
    /// Anomaly: share of usual windows that may be flagged; the threshold follows from it
    /// [default: 0.01]
    #[arg(long, value_name = "SHARE", help_heading = "Learning")]
    pub false_alarm_rate: Option<f64>,
    /// Networks: seed of the first parameters and of the order of windows; rocket: of its kernels
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        help_heading = "Learning"
    )]
    pub seed: u64,

    /// Print the figures as JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Draw the last forecast, the scores, or the running error to this SVG file
    #[arg(long, value_name = "FILE.svg", help_heading = "Output")]
    pub plot: Option<PathBuf>,
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let value = serde_json::Value::String(name.to_owned());
    serde_json::from_value(value).map_err(|error| {
        let text = error.to_string();
        text.split(" at line").next().unwrap_or_default().to_owned()
    })
}

/// Runs the backtest and prints its figures.
///
/// # Errors
/// [`Exit::Usage`] if the files or arguments do not allow it, [`Exit::Failed`] if a file cannot be read
/// or written.
pub fn run(args: &BacktestArgs) -> Outcome {
    let report = backtest(args)?;
    if let Some(path) = &args.plot {
        plot::write(path, &report.charts)
            .map_err(|error| Exit::Failed(format!("{}: {error}", path.display())))?;
    }
    if args.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.text());
    }
    Ok(())
}

fn backtest(args: &BacktestArgs) -> Result<Report, Exit> {
    let settings = settings(args)?;
    let recipe = recipes::build(&settings).map_err(Exit::Usage)?;
    let label_needed = matches!(args.task, TaskArg::Classify | TaskArg::Regress);
    if label_needed && args.label.is_none() {
        return Err(Exit::Usage(
            "this task needs --label COLUMN: the column to learn".into(),
        ));
    }
    let job = Job {
        args,
        settings: &settings,
        recipe: &*recipe,
        bar: bar(),
    };
    let mut report = Report::new(settings.algorithm);
    let grid = args.grid.spec()?;
    for path in &args.csv {
        let reading = Reading {
            time: args.time.as_deref(),
            delimiter: args.delimiter,
            label: args.label.as_deref(),
            ignore: &args.ignore,
            task: args.task.into(),
        };
        let mut table = read::read(path, &reading)?;
        if let Some(grid) = &grid {
            let gridded = table.gridded(grid);
            table = gridded.map_err(|what| Exit::Usage(format!("{}: {what}", path.display())))?;
        }
        job.bar.set_message(table.name.clone());
        match args.task {
            TaskArg::Forecast => forecast::run(&job, &table, &mut report)?,
            TaskArg::Anomaly => anomaly::run(&job, &table, &mut report)?,
            TaskArg::Classify | TaskArg::Regress => prequential::run(&job, &table, &mut report)?,
        }
        report.warn_of(&table);
    }
    job.bar.finish_and_clear();
    Ok(report)
}

fn settings(args: &BacktestArgs) -> Result<RecipeSettings, Exit> {
    let task = Problem::from(args.task);
    let is_window = args.lookback.is_some_and(|lookback| lookback > 1);
    let (default, lookback) = match args.task {
        TaskArg::Forecast => (Algorithm::RidgeNlinear, 336),
        TaskArg::Anomaly => (Algorithm::Pca, 10),
        TaskArg::Classify if is_window => (Algorithm::Rocket, 1),
        TaskArg::Classify => (Algorithm::MlpClassifier, 1),
        TaskArg::Regress => (Algorithm::Ridge, 1),
    };
    let algorithm = args.recipe.unwrap_or(default);
    if algorithm.problem() != task {
        return Err(Exit::Usage(format!(
            "the recipe {} is not for --task {}",
            report::name_of(&algorithm),
            report::name_of(&task)
        )));
    }
    let shape = WindowShape {
        lookback: args.lookback.unwrap_or(lookback),
        horizon: if task == Problem::Forecast {
            args.horizon
        } else {
            0
        },
    };
    let mut settings = RecipeSettings::new(algorithm, shape);
    settings.ridge = args.ridge.unwrap_or(settings.ridge);
    settings.variance_kept = args.variance_kept.unwrap_or(settings.variance_kept);
    settings.false_alarm_rate = args.false_alarm_rate.unwrap_or(settings.false_alarm_rate);
    Ok(settings)
}

/// What does not change from file to file.
struct Job<'a> {
    args: &'a BacktestArgs,
    settings: &'a RecipeSettings,
    recipe: &'a dyn Recipe,
    bar: ProgressBar,
}

impl Job<'_> {
    /// Says how much work lies ahead, in rows or windows.
    fn starts(&self, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(0);
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(terminal::style("{msg} {wide_bar} {percent} % {eta} left"));
    bar
}

/// A file does not allow what was asked for.
fn misfit(table: &Table, what: &str) -> Exit {
    Exit::Usage(format!("{}: {what}", table.path.display()))
}

fn training_failed(table: &Table, error: &TrainError) -> Exit {
    misfit(table, &error.to_string())
}
