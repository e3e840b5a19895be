//! `dunlin status`: what the agent is doing, or what it left behind.

mod words;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use clap::Args;
use dunlin_sync::{buffer::BufferShape, uploader, verify::VerifyReport};
use serde::Serialize;

use self::words::text;
use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    terminal::Show,
};
use crate::{
    admin::operations::{CountItems, Need, OperationParts, Quarantined, Selection, Verify},
    base::{text::of, wall::wall_ns},
    observe::status::Status,
    record::held,
};

/// Arguments of `dunlin status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Compare the rows committed with the rows upstream, and name any gap (exit code 3)
    #[arg(long)]
    pub verify: bool,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Shown {
    running: bool,
    /// What a running agent says.
    #[serde(flatten)]
    status: Option<Status>,
    /// What a stopped one left.
    #[serde(flatten)]
    left: Option<LeftBehind>,
    /// What is in quarantine now, by reason.
    quarantine: BTreeMap<String, Quarantined>,
    /// The comparison, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<VerifyReport>,
    /// The command that sends again what the comparison misses.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<String>,
}

/// What the directory of a stopped agent tells.
#[derive(Debug, Serialize)]
struct LeftBehind {
    data_dir: String,
    buffer: BufferShape,
    /// Rows committed and not upstream.
    lag_rows: u64,
    /// Age of the oldest of these, seconds.
    lag_s: f64,
    /// Fields that are held as several types, in words.
    fields_held: Vec<String>,
    /// Streams the upstream refused.
    streams_held: usize,
    /// Rows of these.
    rows_held: u64,
}

/// Prints it.
///
/// # Errors
/// [`Exit::Found`] if `--verify` found a gap.
pub async fn run(args: StatusArgs) -> Outcome {
    let shown = look(&args).await?;
    if args.json {
        let text = serde_json::to_string(&shown);
        println!("{}", text.map_err(|error| Exit::Failed(error.to_string()))?);
    } else {
        print!("{}", text(&shown));
    }
    match &shown.verify {
        Some(report) if !report.gaps.is_empty() => Err(Exit::Found(format!(
            "{} between buffer and upstream",
            of(report.gaps.len() as u64 + report.gaps_unlisted, "gap")
        ))),
        _ => Ok(()),
    }
}

async fn look(args: &StatusArgs) -> Result<Shown, Exit> {
    let mut connection = Connection::open(&args.connection).await?;
    let status = connection.status().cloned();
    let verify = if args.verify {
        let show = Show::new("comparing with the upstream");
        Some(connection.request_with(Verify, show).await?.0)
    } else {
        None
    };
    let quarantine = connection.request(CountItems(Selection::default())).await?;
    let left = if status.is_some() {
        None
    } else {
        let offline = connection.open_offline(Need::Directory).await?;
        let data_dir = connection.data_dir().display().to_string();
        Some(left_behind(offline.parts(), data_dir))
    };
    let (config, data_dir) = (
        args.connection.config.as_deref(),
        connection.data_dir().to_owned(),
    );
    connection.close().await?;
    let repair = verify
        .as_ref()
        .and_then(|report| repair(report, config, &data_dir));
    Ok(Shown {
        running: status.is_some(),
        status,
        left,
        quarantine,
        verify,
        repair,
    })
}

/// The command that sends again what is missing upstream, if something is.
fn repair(report: &VerifyReport, config: Option<&Path>, data_dir: &Path) -> Option<String> {
    let missing = || {
        report
            .gaps
            .iter()
            .filter(|gap| gap.upstream < gap.committed)
    };
    let first = missing().next()?;
    let (mut from, mut to) = (first.from, first.to);
    for gap in missing() {
        (from, to) = (from.min(gap.from), to.max(gap.to));
    }
    let mut command = String::from("dunlin upload --again");
    let is_one_stream = missing().all(|gap| gap.stream == first.stream);
    // What is not listed may lie anywhere.
    if report.gaps_unlisted == 0 {
        if is_one_stream {
            let _ok = write!(command, " --stream {}", quoted(&first.stream));
        }
        let _ok = write!(command, " --from {from} --to {to}");
    }
    let (flag, path) = config.map_or(("--data-dir", data_dir), |file| ("-c", file));
    let _ok = write!(command, " {flag} {}", quoted(&path.display().to_string()));
    Some(command)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn left_behind(parts: &OperationParts, data_dir: String) -> LeftBehind {
    let (buffer, cursor) = (&parts.buffer, (parts.cursor)());
    let shape = buffer.shape();
    let (left, oldest_ts) = uploader::lag(&**buffer, &cursor);
    let age_ns = oldest_ts.map_or(0, |ts| wall_ns().saturating_sub(ts).max(0));
    LeftBehind {
        data_dir,
        buffer: shape,
        lag_rows: left.rows,
        lag_s: age_ns as f64 / 1e9,
        fields_held: held::told(buffer.catalog().schemas(), &[]),
        streams_held: left.streams_held,
        rows_held: left.rows_held,
    }
}
