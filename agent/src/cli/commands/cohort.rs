//! `dunlin cohort`: a data set named by a query, counted, shown or exported.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    export,
    grid::GridArgs,
    terminal::Show,
};
use crate::{
    admin::operations::{
        CohortFound, CohortView, ExportFormat, SHOWN_ROWS_MAX, ShownRow, ViewCohort,
    },
    base::{text, time_text},
    cohort::{CohortQuery, Condition, Missing, SplitPart, names},
};

/// Arguments of `dunlin cohort`.
#[derive(Args, Debug)]
pub struct CohortArgs {
    #[command(subcommand)]
    command: CohortCommand,
}

#[derive(Subcommand, Debug)]
enum CohortCommand {
    /// Rows by stream and in all, with the hash that tells whether it is the same data set
    Count(CountArgs),
    /// The first and the last rows, as a model sees them
    Show(ShowArgs),
    /// All rows to a CSV or Parquet file: the features and the label, with their own types
    Export(ExportArgs),
}

#[derive(Args, Debug)]
struct CountArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Rows to show at either end
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=SHOWN_ROWS_MAX))]
    rows: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ExportArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Kind of file
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    format: ExportFormat,
    /// File to write, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Half {
    /// Both halves
    All,
    /// The training half
    Train,
    /// The validation half
    Validation,
}

/// A query in words. Every word that [`CohortQuery`] prints is one of these.
#[derive(Args, Debug)]
struct QueryArgs {
    /// Streams by name: '*' stands for any characters, '?' for one
    #[arg(long, value_name = "GLOB", default_value = "*")]
    streams: String,
    /// Fields, with commas between; without it, all numbers and flags of the first stream
    #[arg(
        long,
        value_name = "A,B",
        default_value = "",
        hide_default_value = true
    )]
    features: String,
    /// The field to be estimated
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
    /// The label is a class, not a number (always so if it is a text)
    #[arg(long)]
    classify: bool,
    /// The classes, with commas between; without it, those found
    #[arg(
        long,
        value_name = "A,B",
        default_value = "",
        hide_default_value = true
    )]
    classes: String,
    #[command(flatten)]
    grid: GridArgs,
    /// Without records that arrived later than this, written as with --from
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        requires = "every",
        help_heading = "Grid"
    )]
    arrived_to: Option<String>,
    /// Only the last N rows of each stream
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// First timestamp: RFC 3339, YYYY-MM-DD (UTC), or nanoseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Last timestamp, itself included; a date stands for its whole day
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only rows later than this, written as with --from
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after: Option<String>,
    /// Only rows since the last training: later than those that the serving model of this recipe saw
    #[arg(long, value_name = "RECIPE", conflicts_with = "after")]
    since_training: Option<String>,
    /// Only one half
    #[arg(long, value_enum, default_value_t = Half::All)]
    split: Half,
    /// Only this fold
    #[arg(long, value_name = "K", conflicts_with_all = ["split", "not_fold"])]
    fold: Option<u8>,
    /// Every fold but this one
    #[arg(long, value_name = "K", conflicts_with = "split")]
    not_fold: Option<u8>,
    /// Only rows for which this holds: 'temperature > 40 and machine = "press-7"'
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    condition: Option<String>,
    /// As many rows of every class as the rarest has
    #[arg(long)]
    balance: bool,
    /// Only this share of the rows, above 0 and up to 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 1.0,
        hide_default_value = true
    )]
    fraction: f64,
    /// Decides which rows --balance and --fraction take
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,
    /// A longer time without a row ends a chunk, nanoseconds
    #[arg(long, value_name = "NS")]
    gap_ns_max: Option<i64>,
    /// What is done about features without a value
    #[arg(long, value_enum, default_value_t = Missing::Skip)]
    missing: Missing,
    /// Most rows in memory at a time
    #[arg(long, value_name = "N")]
    rows_per_chunk_max: Option<usize>,
}

impl QueryArgs {
    fn view(&self, view: CohortView) -> Result<ViewCohort, Exit> {
        Ok(ViewCohort {
            query: self.query()?,
            since_training: self.since_training.clone(),
            view,
        })
    }

    fn query(&self) -> Result<CohortQuery, Exit> {
        let range = export::range(self.from.as_deref(), self.to.as_deref())?;
        let time = |flag: &str, text: &Option<String>| {
            let time = text.as_deref().map(|text| {
                time_text::parse(text, true).ok_or_else(|| {
                    Exit::Usage(format!(
                        "--{flag} {text:?} is no time; write it as for --from"
                    ))
                })
            });
            time.transpose()
        };
        let condition = self.condition.as_deref().map(|text| {
            Condition::parse(text).map_err(|error| Exit::Usage(format!("--where: {error}")))
        });
        let default = CohortQuery::default();
        Ok(CohortQuery {
            streams: self.streams.clone(),
            features: names(&self.features),
            label: self.label.clone(),
            classify: self.classify,
            classes: names(&self.classes),
            grid: self.grid.spec()?,
            arrived_to: time("arrived-to", &self.arrived_to)?,
            last: self.last,
            from: self.from.as_ref().map(|_| range.from.0),
            to: self.to.as_ref().map(|_| range.to.0),
            after: time("after", &self.after)?,
            split: match (self.fold, self.not_fold, self.split) {
                (Some(fold), _, _) => SplitPart::Fold(fold),
                (_, Some(fold), _) => SplitPart::NotFold(fold),
                (_, _, Half::All) => SplitPart::All,
                (_, _, Half::Train) => SplitPart::Train,
                (_, _, Half::Validation) => SplitPart::Validation,
            },
            condition: condition.transpose()?,
            balance: self.balance,
            fraction: self.fraction,
            seed: self.seed,
            gap_ns_max: self.gap_ns_max,
            missing: self.missing,
            rows_per_chunk_max: self
                .rows_per_chunk_max
                .unwrap_or(default.rows_per_chunk_max),
        })
    }
}

/// Looks at a cohort.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: CohortArgs) -> Outcome {
    match args.command {
        CohortCommand::Count(args) => {
            let found = found(&args.query, CohortView::Count, &args.connection).await?;
            print(&found, args.json)
        }
        CohortCommand::Show(args) => {
            let found = found(&args.query, CohortView::Show(args.rows), &args.connection).await?;
            print(&found, args.json)
        }
        CohortCommand::Export(args) => write(args).await,
    }
}

async fn found(
    query: &QueryArgs,
    view: CohortView,
    connection: &ConnectionArgs,
) -> Result<CohortFound, Exit> {
    let view = query.view(view)?;
    let mut connection = Connection::open(connection).await?;
    let (found, _) = connection.request_with(view, Show::new("reading")).await?;
    connection.close().await?;
    Ok(found)
}

async fn write(args: ExportArgs) -> Outcome {
    let view = args.query.view(CohortView::Export(args.format))?;
    if args.format == ExportFormat::Parquet && args.output.is_none() {
        return Err(Exit::Usage("a Parquet file needs --output FILE".into()));
    }
    let mut connection = Connection::open(&args.connection).await?;
    let (found, place) = export::written(&mut connection, view, args.output.as_deref()).await?;
    connection.close().await?;
    if let Some(found) = found {
        let (rows, hash) = (found.lineage.rows, found.lineage.rows_hash);
        eprintln!("{} to {place}, hash {hash:016x}", text::of(rows, "row"));
    }
    Ok(())
}

fn print(found: &CohortFound, json: bool) -> Outcome {
    let text = if json {
        let text = serde_json::to_string_pretty(&as_json(found));
        text.map_err(|error| Exit::Failed(error.to_string()))? + "\n"
    } else {
        as_text(found)
    };
    // Whoever reads may have left, as `head` does.
    let _left = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    Ok(())
}

fn as_json(found: &CohortFound) -> serde_json::Value {
    let mut json = serde_json::json!({
        "query": found.lineage.query,
        "rows": found.lineage.rows,
        "late": found.late,
        "first_ts": found.lineage.first_ts,
        "last_ts": found.lineage.last_ts,
        // Not a number: readers of JSON round those.
        "rows_hash": format!("{:016x}", found.lineage.rows_hash),
        "features": found.columns.features,
        "label": found.columns.label,
        "classes": found.columns.classes,
        "streams": found.streams,
    });
    if !found.first.is_empty() {
        json["first"] = serde_json::json!(found.first);
        json["last"] = serde_json::json!(found.last);
    }
    json
}

fn as_text(found: &CohortFound) -> String {
    let mut lines = Vec::new();
    if found.first.is_empty() {
        let rows = found
            .streams
            .iter()
            .map(|s| vec![s.stream.clone(), text::count(s.rows)]);
        lines = aligned(&rows.collect::<Vec<_>>());
    } else {
        let mut head = vec!["stream".to_owned(), "ts".to_owned(), "half".to_owned()];
        head.extend(found.columns.features.iter().cloned());
        head.extend(found.columns.label.clone());
        let mut table = vec![head];
        table.extend(found.first.iter().map(|row| cells(row, found)));
        if !found.last.is_empty() {
            table.push(vec!["..".to_owned()]);
            table.extend(found.last.iter().map(|row| cells(row, found)));
        }
        lines.extend(aligned(&table));
    }
    lines.push(String::new());
    let lineage = &found.lineage;
    let streams = text::of(found.streams.len() as u64, "stream");
    lines.push(format!("{} of {streams}", text::of(lineage.rows, "row")));
    if found.late > 0 {
        let late = text::of(found.late, "record");
        lines.push(format!(
            "without {late} that came too late; a longer --late-ms-max waits for them"
        ));
    }
    if lineage.rows > 0 {
        let (first, last) = (text::time(lineage.first_ts), text::time(lineage.last_ts));
        lines.push(format!("from {first} to {last}"));
    }
    if !found.columns.classes.is_empty() {
        lines.push(format!("classes {}", found.columns.classes.join(", ")));
    }
    lines.push(format!("hash {:016x}", lineage.rows_hash));
    lines.push(format!("query {}", lineage.query));
    text::printable(&(lines.join("\n") + "\n"))
}

fn cells(row: &ShownRow, found: &CohortFound) -> Vec<String> {
    let half = if row.is_train { "train" } else { "validation" };
    let mut cells = vec![row.stream.clone(), row.ts.to_string(), half.to_owned()];
    let values = row.values.iter();
    cells.extend(values.map(|value| value.map_or_else(|| "-".to_owned(), |v| v.to_string())));
    if found.columns.label.is_some() {
        cells.push(row.label.clone().unwrap_or_else(|| "-".to_owned()));
    }
    cells
}

/// Columns as wide as their widest cell.
fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
