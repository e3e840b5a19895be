//! `dunlin evaluate`: k-fold evaluation of a configured recipe on buffered records.

use clap::Args;
use dunlin_models::{
    judging::crossval::{Folds, Spread},
    recipe::Problem,
};

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    terminal::Show,
};
use crate::{
    admin::operations::{Evaluate, Evaluated, FoldRule},
    base::text,
};

/// Arguments of `dunlin evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Name of a [[recipe]]
    #[arg(long, value_name = "NAME")]
    recipe: String,
    /// Name of a stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Number of folds: stored ones if the stream's split is a kfold of as many, else blocks of time; without it, as many as are stored, else 5
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..=100))]
    folds: Option<u8>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Trains and judges once a fold; stores nothing.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: EvaluateArgs) -> Outcome {
    let evaluate = Evaluate {
        recipe: args.recipe,
        stream: args.stream,
        folds: args.folds,
    };
    let mut connection = Connection::open(&args.connection).await?;
    let show = Show::new("evaluating");
    let (found, _) = connection.request_with(evaluate, show).await?;
    connection.close().await?;
    let text = if args.json {
        let text = serde_json::to_string_pretty(&as_json(&found));
        text.map_err(|error| Exit::Failed(error.to_string()))? + "\n"
    } else {
        as_text(&found)
    };
    // Whoever reads may have left, as `head` does.
    let _left = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    Ok(())
}

fn as_json(found: &Evaluated) -> serde_json::Value {
    let folds = found.folds.iter().map(
        |(candidate, baseline)| serde_json::json!({"candidate": candidate, "baseline": baseline}),
    );
    serde_json::json!({
        "recipe": found.recipe,
        "task": found.task,
        "fold_rule": found.fold_rule,
        "query": found.lineage.query,
        "rows": found.lineage.rows,
        // Not a number: readers of JSON round those.
        "rows_hash": format!("{:016x}", found.lineage.rows_hash),
        "candidate": found.candidate,
        "baseline": found.baseline,
        "folds": folds.collect::<Vec<_>>(),
    })
}

fn as_text(found: &Evaluated) -> String {
    let mut lines = vec![format!(
        "{:14}{:>14}{:>14}{:>14}{:>14}",
        "error", "mean", "deviation", "least", "most"
    )];
    lines.push(line(&found.recipe, &found.candidate.error));
    lines.push(line("baseline", &found.baseline.error));
    lines.extend(more(found.task, &found.candidate));
    lines.push(String::new());
    let folds = match found.fold_rule {
        FoldRule::Stored => "folds as stored",
        FoldRule::Time => "folds by time",
    };
    let windows = text::of(found.candidate.windows, "window");
    let rows = text::of(found.lineage.rows, "row");
    lines.push(format!(
        "{} {folds}, {windows} judged, {rows}",
        found.candidate.folds
    ));
    lines.push(format!("query {}", found.lineage.query));
    text::printable(&(lines.join("\n") + "\n"))
}

/// Figures that mean something for this task alone.
fn more(task: Problem, folds: &Folds) -> Vec<String> {
    match task {
        Problem::Forecast | Problem::Regress => vec![line("mean absolute", &folds.mae)],
        Problem::Anomaly => vec![
            line("false alarms", &folds.false_alarm_rate),
            line("F1", &folds.f1),
        ],
        Problem::Classify => Vec::new(),
    }
}

fn line(name: &str, spread: &Spread) -> String {
    let figures = [spread.mean, spread.std, spread.min, spread.max];
    let cells: String = figures.map(|figure| format!("{figure:14.6}")).concat();
    format!("{name:14}{cells}")
}
