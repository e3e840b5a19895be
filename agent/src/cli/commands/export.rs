//! `dunlin export`: records as CSV or Parquet.

use std::{
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use clap::Args;
use dunlin_sync::{
    files::umask,
    sample::{TimeRange, Timestamp},
};
use tempfile::NamedTempFile;

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    grid::GridArgs,
    terminal::Show,
};
use crate::{
    admin::operations::{ExportFormat, ExportRecords, Operation},
    base::{owner, text, time_text},
};

/// Arguments of `dunlin export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Stream to export, or a pattern over streams of one kind: 'vibration/*'
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// First timestamp: RFC 3339, YYYY-MM-DD (UTC), or nanoseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Last timestamp, itself included; a date stands for its whole day
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Rows of a regular grid in place of the records
    #[command(flatten)]
    pub grid: GridArgs,
    /// Kind of file
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// File to write, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Writes the records; a file appears only when it is whole.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: ExportArgs) -> Outcome {
    let export = ExportRecords {
        stream: args.stream.clone(),
        range: range(args.from.as_deref(), args.to.as_deref())?,
        format: args.format,
        grid: args.grid.spec()?,
    };
    if args.format == ExportFormat::Parquet && args.output.is_none() {
        return Err(Exit::Usage("a Parquet file needs --output FILE".into()));
    }
    let mut connection = Connection::open(&args.connection).await?;
    let (done, place) = written(&mut connection, export, args.output.as_deref()).await?;
    connection.close().await?;
    if let Some(done) = done {
        let (rows, streams) = (text::of(done.rows, "row"), text::of(done.streams, "stream"));
        eprintln!("{rows} of {streams} to {place}");
        if done.late > 0 {
            let late = text::of(done.late, "record");
            eprintln!("without {late} that came too late; a longer --late-ms-max waits for them");
        }
    }
    Ok(())
}

/// Writes the data of `operation` to a file or to standard output; the answer, and where the data went.
pub(super) async fn written<O: Operation>(
    connection: &mut Connection,
    operation: O,
    output: Option<&Path>,
) -> Result<(Option<O::Answer>, String), Exit> {
    Ok(match output {
        Some(path) => (
            Some(to_file(connection, operation, path).await?),
            path.display().to_string(),
        ),
        None => (
            to_stdout(connection, operation).await?,
            "standard output".into(),
        ),
    })
}

/// `None` if the reader left before the end: whoever wanted only the beginning has it.
async fn to_stdout<O: Operation>(
    connection: &mut Connection,
    operation: O,
) -> Result<Option<O::Answer>, Exit> {
    let show = Show::with("exporting", BufWriter::new(io::stdout()));
    let reader_left = Arc::clone(&show.reader_left);
    match connection.request_with(operation, show).await {
        Err(_) if reader_left.load(Relaxed) => Ok(None),
        Err(error) => Err(error),
        Ok((done, mut show)) => match show.out.flush() {
            Ok(()) => Ok(Some(done)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(error) => Err(Exit::Failed(format!("standard output: {error}"))),
        },
    }
}

/// Writes the data of `operation` to a temporary file beside `path`, renamed when it is whole and durable.
///
/// # Errors
/// [`Exit`]; nothing has appeared at `path` then.
pub async fn to_file<O: Operation>(
    connection: &mut Connection,
    operation: O,
    path: &Path,
) -> Result<O::Answer, Exit> {
    let failed = |error: io::Error| Exit::Failed(format!("{}: {error}", path.display()));
    let file = beside(path, ".dunlin-export-").map_err(failed)?;
    let show = Show::with("exporting", BufWriter::new(file));
    let (done, mut show) = connection.request_with(operation, show).await?;
    show.out.flush().map_err(failed)?;
    let file: &NamedTempFile = show.out.get_ref();
    file.as_file().sync_all().map_err(failed)?;
    owner::as_caller(|| std::fs::rename(file.path(), path)).map_err(failed)?;
    Ok(done)
}

/// A temporary file beside `path`, as the caller's other files are.
pub(super) fn beside(path: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    owner::as_caller(|| {
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir.unwrap_or(Path::new(".")))?;
        umask::open_to_others(file.as_file())?;
        Ok(file)
    })
}

pub(super) fn range(from: Option<&str>, to: Option<&str>) -> Result<TimeRange, Exit> {
    let time = |flag: &str, text: Option<&str>, end| {
        text.map(|text| {
            time_text::parse(text, end).ok_or_else(|| {
                let examples = time_text::EXAMPLES;
                Exit::Usage(format!("{flag} {text:?} is no time; write {examples}"))
            })
        })
        .transpose()
    };
    let range = TimeRange {
        from: time("--from", from, false)?.map_or(Timestamp::MIN, Timestamp),
        to: time("--to", to, true)?.map_or(Timestamp::MAX, Timestamp),
    };
    if range.from > range.to {
        return Err(Exit::Usage("--from is later than --to; swap them".into()));
    }
    Ok(range)
}

#[cfg(test)]
mod tests;
