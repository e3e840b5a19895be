//! `dunlin import`: a CSV file as records of a stream, with timestamps and splits of its own.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use csv::StringRecord;
use dunlin_sync::sample::Field;
use indicatif::ProgressBar;

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    terminal,
};
use crate::{
    admin::operations::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ImportBatch, ImportTarget, Target},
    base::{owner, text},
    record::decode::{
        Reason, Record, Reject,
        infer::{CsvPlan, Hints, LINES_MAX, TimeFormat},
    },
};

/// Bytes of the file from which it is understood.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Bad lines shown; the rest are counted.
const BAD_LINES_SHOWN: usize = 5;

/// Arguments of `dunlin import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// CSV file whose first line names the columns
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Stream to import into: NAME, or NAME/TAG/... for a stream rule with captures
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// Column with the time; found by itself unless given
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Separator, one character, or `tab`; found by itself unless given
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Only show what was understood
    #[arg(long)]
    pub dry_run: bool,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("write one character such as , ; | or the word tab".into()),
    }
}

/// What an import came to.
#[derive(Debug, Default)]
pub struct Imported {
    /// Records that are durable.
    pub records: u64,
    /// Lines left out, by reason.
    pub bad: BTreeMap<Reason, u64>,
    /// The first of these, in words.
    pub bad_lines: Vec<String>,
}

/// Imports the file and says what came of it.
///
/// # Errors
/// [`Exit::Failed`] if nothing could be imported, or something is in the way half-way.
pub async fn run(args: ImportArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let started = Instant::now();
    let (target, plan) = plan(&mut connection, &args).await?;
    if args.dry_run {
        println!("{}", describe(&args.stream, &target, &plan));
        return connection.close().await;
    }
    let imported = import(&mut connection, &args.file, &args.stream, &target, &plan).await?;
    connection.close().await?;
    report(&imported, &args, started.elapsed().as_secs_f64())
}

fn report(imported: &Imported, args: &ImportArgs, seconds: f64) -> Outcome {
    for line in &imported.bad_lines {
        eprintln!("{}: {line}", args.file.display());
    }
    let bad: u64 = imported.bad.values().sum();
    let reasons: Vec<String> = imported
        .bad
        .iter()
        .map(|(reason, lines)| format!("{} {reason}", text::count(*lines)))
        .collect();
    let left_out = match bad {
        0 => String::new(),
        _ => format!(
            "; left out {} ({})",
            text::of(bad, "line"),
            reasons.join(", ")
        ),
    };
    if imported.records == 0 {
        return Err(Exit::Failed(format!(
            "{}: nothing was imported{left_out}",
            args.file.display()
        )));
    }
    println!(
        "imported {} into {} in {} ({} rows/s){left_out}",
        text::of(imported.records, "record"),
        args.stream,
        text::seconds(seconds),
        text::count((imported.records as f64 / seconds.max(1e-3)) as u64),
    );
    Ok(())
}

/// Finds out what the file holds and what the stream takes.
///
/// # Errors
/// [`Exit::Usage`] if the two do not fit.
pub async fn plan(
    connection: &mut Connection,
    args: &ImportArgs,
) -> Result<(Target, CsvPlan), Exit> {
    let head = head(&args.file)?;
    let stream = args.stream.clone();
    let target = connection.request(ImportTarget { stream }).await?;
    let hints = Hints {
        delimiter: args.delimiter,
        time: args.time.clone(),
    };
    let usage = |what: String| Exit::Usage(format!("{}: {what}", args.file.display()));
    let plan = CsvPlan::infer_with(&head, Some(&target.schema), &hints)
        .map_err(|error| usage(error.to_string()))?;
    if !plan.new_fields.is_empty() && !target.infer {
        let names: Vec<&str> = plan.new_fields.iter().map(|f| f.name.as_str()).collect();
        return Err(usage(format!(
            "the stream {} takes declared fields only, and {} is not among them; remove these \
             columns, or declare them in its [[stream]]",
            target.schema.name,
            names.join(", ")
        )));
    }
    let fields = target.schema.fields.len() + plan.new_fields.len();
    if fields > target.fields_max {
        return Err(usage(format!(
            "{} would have {fields} fields; the most is {} (fields_max of its [[stream]])",
            target.schema.name, target.fields_max
        )));
    }
    Ok((target, plan))
}

/// The header and the first lines, whole.
pub(super) fn head(path: &Path) -> Result<String, Exit> {
    let failed = |error: io::Error| Exit::Failed(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = owner::as_caller(|| File::open(path)).map_err(failed)?;
    file.take(HEAD_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let mut ends = lines.map(|(at, _)| at + 1);
    if let Some(end) = ends.by_ref().nth(LINES_MAX) {
        bytes.truncate(end);
    } else if bytes.len() as u64 == HEAD_BYTES_MAX {
        let last = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(last.map_or(0, |last| last + 1));
    }
    // A bad byte further down is one bad line; here it only must not hide the rest.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn describe(stream: &str, target: &Target, plan: &CsvPlan) -> String {
    let separator = match plan.delimiter {
        b'\t' => "tab".to_owned(),
        byte => format!("`{}`", char::from(byte)),
    };
    let time = match &plan.time {
        None => "none: records get the time of the import only".to_owned(),
        Some((column, format)) => {
            let written = match format {
                TimeFormat::Rfc3339 => "RFC 3339".to_owned(),
                TimeFormat::Civil => "date and time, taken as UTC".to_owned(),
                TimeFormat::Epoch(unit) => format!("{unit:?} since 1970").to_lowercase(),
            };
            format!("column {} ({written}), kept as source_ts", column + 1)
        }
    };
    let mut lines = vec![
        format!("stream     {stream} (table {})", target.schema.name),
        format!("separator  {separator}"),
        format!("time       {time}"),
        "fields".to_owned(),
    ];
    for (column, field) in &plan.columns {
        let is_new = plan.new_fields.iter().any(|new| new.name == field.name);
        let new = if is_new { "  new" } else { "" };
        lines.push(format!(
            "  column {:<4} {:<5} {}{new}",
            column + 1,
            field.kind.name(),
            field.name
        ));
    }
    lines.join("\n")
}

/// Sends every line of the file that fits, in batches; bad ones are counted and left out.
///
/// # Errors
/// [`Exit`] if the file cannot be read or the records not be stored; says how many were.
pub async fn import(
    connection: &mut Connection,
    path: &Path,
    stream: &str,
    target: &Target,
    plan: &CsvPlan,
) -> Result<Imported, Exit> {
    let failed =
        |error: &dyn std::fmt::Display| Exit::Failed(format!("{}: {error}", path.display()));
    let file = owner::as_caller(|| File::open(path)).map_err(|error| failed(&error))?;
    let bar = ProgressBar::new(file.metadata().map_or(0, |meta| meta.len()));
    bar.set_style(terminal::style(
        "importing {wide_bar} {percent} % {msg} {eta} left",
    ));
    let started = Instant::now();
    let known = target.schema.fields.iter().chain(&plan.new_fields);
    let fields: Vec<Field> = known.cloned().collect();
    let mut reader = plan.reader(BufReader::with_capacity(1 << 16, file));
    let mut line = StringRecord::new();
    let mut imported = Imported::default();
    let mut is_open = true;
    while is_open {
        let mut batch = ImportBatch {
            stream: stream.to_owned(),
            fields: fields.clone(),
            records: Vec::new(),
        };
        let mut bytes = 0;
        while batch.records.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            match next(&mut reader, &mut line, plan) {
                Ok(None) => {
                    is_open = false;
                    break;
                }
                Ok(Some(Ok(record))) => {
                    bytes += ImportBatch::weight(&record);
                    batch.records.push(record);
                }
                Ok(Some(Err(reject))) => {
                    *imported.bad.entry(reject.reason).or_default() += 1;
                    if imported.bad_lines.len() < BAD_LINES_SHOWN {
                        imported.bad_lines.push(reject.detail);
                    }
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        if !batch.records.is_empty() {
            let stored = connection.request(batch).await;
            imported.records += stored.map_err(|exit| so_far(exit, imported.records))?;
        }
        bar.set_position(reader.position().byte());
        let rate = imported.records as f64 / started.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!("{} rows/s", text::count(rate as u64)));
    }
    bar.finish_and_clear();
    Ok(imported)
}

/// The next line: `None` at the end.
fn next<R: Read>(
    reader: &mut csv::Reader<R>,
    line: &mut StringRecord,
    plan: &CsvPlan,
) -> Result<Option<Result<Record, Reject>>, csv::Error> {
    match reader.read_record(line) {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(plan.record(line))),
        Err(error) => match error.kind() {
            csv::ErrorKind::Utf8 { pos, .. } => {
                let number = pos.as_ref().map_or(0, csv::Position::line);
                let detail = format!("line {number}: not UTF-8");
                Ok(Some(Err(Reject::new(Reason::NotUtf8, detail))))
            }
            _ => Err(error),
        },
    }
}

fn so_far(exit: Exit, records: u64) -> Exit {
    let stored = format!(
        "{} stored before that; remove their lines before importing the rest",
        text::of(records, "record")
    );
    if records == 0 {
        return exit;
    }
    match exit {
        Exit::Failed(text) => Exit::Failed(format!("{text} ({stored})")),
        Exit::Usage(text) => Exit::Usage(format!("{text} ({stored})")),
        found @ Exit::Found(_) => found,
    }
}

#[cfg(test)]
mod tests;
