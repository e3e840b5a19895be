//! `dunlin import`: a file as records of a stream, with timestamps of its own.

mod args;
mod columns;
mod row;
mod send;
mod show;
mod source;
pub(super) mod table;

use std::time::Instant;

use indicatif::ProgressBar;

pub use self::{
    args::{Comment, ImportArgs, delimiter},
    send::Imported,
    source::Encoding,
};
use self::{
    send::Sender,
    show::{NO_TIME, Preview, describe, notes, remarks, sum},
    source::Source,
    table::Table,
};
use super::{Exit, Outcome, connection::Connection, terminal};
use crate::{
    admin::operations::{ImportTarget, Target},
    base::text,
    record::decode::{Reason, Record, Reject, infer::Hints},
};

/// Imports the file and says what came of it.
///
/// # Errors
/// [`Exit::Failed`] if nothing could be imported, or something is in the way half-way; [`Exit::Found`] if rows
/// were refused.
pub async fn run(args: ImportArgs) -> Outcome {
    let hints = args.hints()?;
    let source = Source::open(&args.file)?;
    let mut connection = Connection::open(&args.connection).await?;
    let started = Instant::now();
    let imported = import(&mut connection, &source, &hints, &args).await;
    let closed = connection.close().await;
    let imported = imported?;
    closed?;
    report(&imported, &source, &args, started.elapsed().as_secs_f64())
}

fn report(imported: &Imported, source: &Source, args: &ImportArgs, seconds: f64) -> Outcome {
    for line in &imported.bad_lines {
        eprintln!("{}: {line}", source.name);
    }
    let more = imported
        .refused()
        .saturating_sub(imported.bad_lines.len() as u64);
    if more > 0 && !imported.bad_lines.is_empty() {
        eprintln!("{}: and {} more", source.name, text::count(more));
    }
    let sum = sum(imported);
    if imported.records == 0 && imported.already == 0 {
        return Err(Exit::Failed(format!(
            "{}: nothing was imported: {sum}",
            source.name
        )));
    }
    if imported.already > 0 && !args.dry_run {
        println!(
            "already imported: {}; --again stores them once more",
            text::of(imported.already, "row")
        );
    }
    let into = match &args.stream {
        Some(stream) => format!("into {stream}"),
        None => format!("into {}", text::of(imported.streams as u64, "stream")),
    };
    if args.dry_run {
        println!("would be   {sum}");
        return Ok(());
    }
    let rate = (imported.records as f64 / seconds.max(1e-3)) as u64;
    let took = text::seconds(seconds);
    let rate = text::count(rate);
    println!("{sum}; {into} in {took} ({rate} rows/s)");
    if imported.untold > 0 && imported.already > 0 {
        return Err(Exit::Found(format!(
            "{}: at least {} that an earlier import refused cannot be told from those that are stored, since \
             there were too many; if they can be stored now, import them from a file of their own",
            source.name,
            text::of(imported.untold, "row")
        )));
    }
    match imported.refused() {
        0 => Ok(()),
        refused => Err(Exit::Found(format!(
            "{}: {} refused, the rest is stored",
            source.name,
            text::of(refused, "row")
        ))),
    }
}

/// Imports every row of the file that fits; bad ones are counted and left out, or with `--strict` end it.
///
/// # Errors
/// [`Exit`] if the file cannot be read or the records not be stored; says how many were.
async fn import(
    connection: &mut Connection,
    source: &Source,
    hints: &Hints,
    args: &ImportArgs,
) -> Result<Imported, Exit> {
    let content = (!args.again).then_some(source.content);
    let stream = match &args.stream {
        Some(stream) => stream.clone(),
        None => first_stream(source, hints, args)?,
    };
    let target = connection.request(ImportTarget {
        stream: stream.clone(),
        content,
    });
    let target = target.await?;
    let mut table = Table::open(source, Some(&target.schema), hints, args.encoding)?;
    check_fields(source, &target, &table)?;
    let known = target.schema.fields.iter().chain(table.new_fields());
    let fields: Vec<_> = known.cloned().collect();
    let failed = |error: String| Exit::Failed(format!("{}: {error}", source.name));
    if args.dry_run {
        println!("{}", describe(&stream, &target, &table));
        let mut preview = Preview::default();
        while let Some(row) = table.next().map_err(failed)? {
            preview.take(row, &fields, &target.done);
        }
        println!("{}", preview.text());
        for remark in remarks(&preview.imported, &table) {
            println!("{remark}");
        }
        return Ok(preview.imported);
    }
    if !table.has_time() {
        eprintln!("{}: time {NO_TIME}", source.name);
    }
    for note in notes(&table) {
        eprintln!("{}: {note}", source.name);
    }
    let bar = ProgressBar::new(source.bytes);
    bar.set_style(terminal::style("importing {msg} {elapsed}"));
    let started = Instant::now();
    let into = args.stream.as_deref();
    let mut sender = Sender::new(connection, into, (&stream, &target), fields, content);
    let mut shown = 0;
    while let Some(mut row) = table.next().map_err(failed)? {
        let lacks_time = |record: &Record| record.source_ts.is_none() && table.has_time();
        if args.strict && row.record.as_ref().is_ok_and(lacks_time) {
            let detail = format!("row on line {}: its time is empty", row.from + 1);
            row.record = Err(Reject::new(Reason::BadTime, detail));
        }
        let refused = sender.imported.refused();
        sender.take(row).await?;
        if args.strict && sender.imported.refused() > refused {
            sender.flush().await?;
            let imported = sender.done();
            let first = imported.bad_lines.first().cloned().unwrap_or_default();
            return Err(failed(format!(
                "{first}; stopped there (--strict): {}",
                sum(&imported)
            )));
        }
        if sender.imported.records != shown {
            shown = sender.imported.records;
            bar.set_position(table.progress());
            let rate = shown as f64 / started.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(format!(
                "{} ({} rows/s)",
                text::of(shown, "row"),
                text::count(rate as u64)
            ));
        }
    }
    sender.flush().await?;
    bar.finish_and_clear();
    let imported = sender.done();
    for remark in remarks(&imported, &table) {
        eprintln!("{}: {remark}", source.name);
    }
    Ok(imported)
}

/// The stream that the first row of one of our own exports names.
fn first_stream(source: &Source, hints: &Hints, args: &ImportArgs) -> Result<String, Exit> {
    let mut table = Table::open(source, None, hints, args.encoding)?;
    let needed = || {
        Exit::Usage(format!(
            "{}: name the stream it goes into with --stream NAME; only a file of `dunlin export` names it by \
             itself",
            source.name
        ))
    };
    if !table.is_own() {
        return Err(needed());
    }
    let failed = |error: String| Exit::Failed(format!("{}: {error}", source.name));
    while let Some(row) = table.next().map_err(failed)? {
        if let Some(own) = row.own {
            return Ok(own.stream);
        }
    }
    Err(Exit::Usage(format!(
        "{}: no row names its stream",
        source.name
    )))
}

fn check_fields(source: &Source, target: &Target, table: &Table) -> Result<(), Exit> {
    let usage = |what: String| Err(Exit::Usage(format!("{}: {what}", source.name)));
    let new_fields = table.new_fields();
    if !new_fields.is_empty() && !target.infer {
        let names: Vec<&str> = new_fields.iter().map(|f| f.name.as_str()).collect();
        return usage(format!(
            "the stream {} takes declared fields only, and {} is not among them; remove these \
             columns, or declare them in its [[stream]]",
            target.schema.name,
            names.join(", ")
        ));
    }
    let fields = target.schema.fields.len() + new_fields.len();
    if fields > target.fields_max {
        return usage(format!(
            "{} would have {fields} fields; the most is {} (fields_max of its [[stream]])",
            target.schema.name, target.fields_max
        ));
    }
    Ok(())
}

/// Imports as the command does.
#[cfg(all(test, feature = "sqlite"))]
pub(crate) async fn imported(
    connection: &mut Connection,
    args: &ImportArgs,
) -> Result<Imported, Exit> {
    let source = Source::open(&args.file)?;
    import(connection, &source, &args.hints()?, args).await
}

#[cfg(test)]
mod tests;
