//! Writing out records: block by block, so that memory does not grow with what is read.

pub mod files;

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Write},
    sync::{Arc, Mutex},
};

use dunlin_sync::{
    block::Block,
    buffer::Buffer,
    lock::unpoisoned,
    rows::Rows,
    sample::{Catalog, Schema, Stream, StreamId, TimeRange},
};
use serde::{Deserialize, Serialize};

use self::files::{CsvExport, ExportError, ParquetExport};
use super::{Listener, Need, Operation, OperationError, OperationParts, Request};
use crate::{
    base::glob::means,
    grid::{GridSpec, GridStream, each_grid_row},
};

/// Names listed in an error.
const NAMES_MAX: usize = 10;

/// Kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum ExportFormat {
    /// Text with a header line
    Csv,
    /// Apache Parquet
    Parquet,
}

/// Writes out records as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecords {
    /// Name of a stream, or a pattern: `*` stands for any characters, `?` for one.
    pub stream: String,
    /// Timestamps wanted.
    pub range: TimeRange,
    /// Kind of file.
    pub format: ExportFormat,
    /// Rows of this grid in place of the records; `range` is of their times then.
    pub grid: Option<GridSpec>,
}

/// What was written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDone {
    /// Rows.
    pub rows: u64,
    /// Streams they came from.
    pub streams: u64,
    /// Records that are in no row of the grid because they came too late.
    pub late: u64,
}

impl Operation for ExportRecords {
    type Answer = ExportDone;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Export(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<ExportDone, OperationError> {
        match &self.grid {
            None => export(&parts.buffer, &self, listener),
            Some(grid) => export_grid(&parts.buffer, grid, &self, listener),
        }
    }
}

/// Blocks follow one another in time; in a block the streams follow one another, each in order of time.
fn export(
    buffer: &Buffer,
    wanted: &ExportRecords,
    listener: &mut dyn Listener,
) -> Result<ExportDone, OperationError> {
    let catalog = buffer.catalog();
    let (schema, streams) = select(&catalog, &wanted.stream)?;
    let (first, end) = buffer
        .blocks_within(wanted.range)
        .map_err(OperationError::Failed)?;
    let listener = Mutex::new(listener);
    let mut file = File::begin(wanted.format, Data(&listener), &schema).map_err(failed)?;
    let (mut rows, mut seen) = (0, HashSet::new());
    let mut seq = first;
    while seq < end {
        let told = unpoisoned(listener.lock()).progress(seq - first, end - first);
        told.map_err(OperationError::failed)?;
        if let Some(block) = buffer.read_block(seq).map_err(OperationError::Failed)? {
            for (id, part) in rows_of(block, &schema, &streams, wanted.range) {
                if let Some(stream) = catalog.stream(id) {
                    file.write(stream, &part).map_err(failed)?;
                    rows += part.len() as u64;
                    seen.insert(id);
                }
            }
        }
        seq = buffer.next_stored(seq);
    }
    file.finish().map_err(failed)?;
    Ok(ExportDone {
        rows,
        streams: seen.len() as u64,
        late: 0,
    })
}

/// The rows of a stream follow one another in time; those of several streams come in stretches.
fn export_grid(
    buffer: &Arc<Buffer>,
    grid: &GridSpec,
    wanted: &ExportRecords,
    listener: &mut dyn Listener,
) -> Result<ExportDone, OperationError> {
    let catalog = buffer.catalog();
    let (schema, streams) = select(&catalog, &wanted.stream)?;
    let streams = streams.iter().filter_map(|id| catalog.stream(*id));
    let streams: Vec<GridStream> = streams
        .map(|stream| (Arc::clone(stream), Arc::clone(&schema)))
        .collect();
    if let Some(mistake) = grid.mistake() {
        return Err(OperationError::Asked(mistake));
    }
    let listener = Mutex::new(listener);
    let as_rows = grid.schema(&schema);
    let mut file = File::begin(wanted.format, Data(&listener), &as_rows).map_err(failed)?;
    let tell = |done, total| {
        let told = unpoisoned(listener.lock()).progress(done, total);
        told.map_err(OperationError::failed)
    };
    let (mut rows, mut seen) = (0, HashSet::new());
    let late = each_grid_row(
        buffer,
        grid,
        &streams,
        wanted.range,
        &tell,
        |stream, part| {
            rows += part.len() as u64;
            seen.insert(stream.id);
            file.write(stream, part).map_err(failed)
        },
    )?;
    file.finish().map_err(failed)?;
    Ok(ExportDone {
        rows,
        streams: seen.len() as u64,
        late,
    })
}

pub(super) fn failed(error: ExportError) -> OperationError {
    OperationError::failed(error)
}

/// The streams that a pattern names, and the one schema they must share.
fn select(
    catalog: &Catalog,
    pattern: &str,
) -> Result<(Arc<Schema>, HashSet<StreamId>), OperationError> {
    let exact = catalog.meant(pattern).map(|stream| vec![stream]);
    let streams = exact.unwrap_or_else(|| {
        let all = catalog.streams();
        all.filter(|stream| means(pattern, catalog, stream))
            .collect()
    });
    let schemas: BTreeSet<_> = streams.iter().map(|stream| stream.schema).collect();
    let schemas: Vec<_> = schemas
        .iter()
        .filter_map(|id| catalog.schema(*id))
        .collect();
    match schemas[..] {
        [schema] => Ok((
            Arc::clone(schema),
            streams.iter().map(|stream| stream.id).collect(),
        )),
        [] => Err(OperationError::Asked(format!(
            "no stream is called \"{}\"; there {}",
            pattern.escape_debug(),
            listed(catalog.streams().map(|stream| catalog.shown(stream)))
        ))),
        _ => Err(OperationError::Asked(format!(
            "\"{}\" takes streams with different columns; export one kind at a time: --stream \
             'NAME*', where NAME {}",
            pattern.escape_debug(),
            listed(schemas.iter().map(|schema| schema.name.as_str()))
        ))),
    }
}

fn listed<N: AsRef<str>>(names: impl Iterator<Item = N> + Clone) -> String {
    let count = names.clone().count();
    let shown = names.take(NAMES_MAX).map(|name| name.as_ref().to_owned());
    let shown: Vec<String> = shown.collect();
    match count {
        0 => "are none yet".into(),
        1 => format!("is {}", shown[0]),
        _ if count > NAMES_MAX => {
            format!("are {} and {} more", shown.join(", "), count - NAMES_MAX)
        }
        _ => format!("are {}", shown.join(", ")),
    }
}

/// The rows of a block that are wanted, by stream.
fn rows_of(
    block: Block,
    schema: &Schema,
    streams: &HashSet<StreamId>,
    range: TimeRange,
) -> Vec<(StreamId, Rows)> {
    let mut parts = Vec::new();
    for section in block.sections {
        if section.schema != schema.id {
            continue;
        }
        let mut start = 0;
        for run in &section.runs {
            let end = start + run.rows as usize;
            let ts = &section.rows.ts[start..end];
            let from = start + ts.partition_point(|ts| *ts < range.from.0);
            let to = start + ts.partition_point(|ts| *ts <= range.to.0);
            start = end;
            if from < to && streams.contains(&run.stream) {
                let mut rows = Rows::default();
                rows.extend_from(&section.rows, from..to);
                parts.push((run.stream, rows));
            }
        }
    }
    parts
}

pub(super) type SharedListener<'l> = Mutex<&'l mut dyn Listener>;

/// Hands bytes on as data.
pub(super) struct Data<'g, 'l>(pub(super) &'g SharedListener<'l>);

impl Write for Data<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unpoisoned(self.0.lock()).data(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) enum File<'g, 'l> {
    Csv(Box<CsvExport<Data<'g, 'l>>>),
    Parquet(Box<ParquetExport<Data<'g, 'l>>>),
}

impl<'g, 'l> File<'g, 'l> {
    pub(super) fn begin(
        format: ExportFormat,
        out: Data<'g, 'l>,
        schema: &Arc<Schema>,
    ) -> Result<Self, ExportError> {
        Ok(match format {
            ExportFormat::Csv => Self::Csv(Box::new(CsvExport::new(out, schema)?)),
            ExportFormat::Parquet => Self::Parquet(Box::new(ParquetExport::new(out, schema)?)),
        })
    }

    pub(super) fn write(&mut self, stream: &Stream, rows: &Rows) -> Result<(), ExportError> {
        match self {
            Self::Csv(file) => file.write(stream, rows),
            Self::Parquet(file) => file.write(stream, rows),
        }
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Csv(file) => file.finish().map(drop),
            Self::Parquet(file) => file.finish().map(drop),
        }
    }
}
