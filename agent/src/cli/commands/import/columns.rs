//! Rows of a Parquet file: flat columns, read a thousand rows at a time.
//!
//! The reader is somebody else's and was made for files that are whole: one that is damaged may make it panic,
//! which is caught here and ends the file. It holds a page of each column, which is part of a chunk: a chunk that
//! is larger than [`CHUNK_BYTES_MAX`] is refused.

mod kind;

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use dunlin_sync::sample::Schema;
use parquet::{
    column::reader::ColumnReader,
    data_type::{ByteArray, Int96},
    errors::ParquetError,
    file::{
        metadata::ColumnChunkMetaData, reader::FileReader, serialized_reader::SerializedFileReader,
    },
};

use self::kind::{Kind, kind_of};
use super::{row::Row, source::Hashed};
use crate::record::decode::{
    Cell, Reason, Record, Reject,
    infer::{Hints, OwnRow, TypedColumn, TypedPlan, is_recent, typed_split},
};

/// Rows held at a time.
const ROWS_MAX: usize = 1_024;
/// Most bytes of a column in one group of rows, without compression.
const CHUNK_BYTES_MAX: i64 = 256 << 20;

/// Values of a column, those of present rows only.
#[derive(Default)]
struct Held {
    bools: Vec<bool>,
    i32s: Vec<i32>,
    i64s: Vec<i64>,
    i96s: Vec<Int96>,
    f32s: Vec<f32>,
    f64s: Vec<f64>,
    texts: Vec<ByteArray>,
    levels: Vec<i16>,
    /// Place of each row's value.
    places: Vec<Option<usize>>,
}

struct Leaf {
    /// In the file.
    index: usize,
    kind: Kind,
    level: i16,
    held: Held,
}

/// A Parquet file that is understood.
pub(super) struct Columns {
    pub(super) plan: TypedPlan,
    /// Columns that are left out, and why.
    pub(super) left_out: Vec<String>,
    file: SerializedFileReader<Hashed>,
    leaves: Vec<Leaf>,
    /// The group of rows that is read next.
    group: usize,
    readers: Vec<ColumnReader>,
    /// Rows held, and which comes next.
    held: usize,
    at: usize,
    row: u64,
    stream: String,
}

impl Columns {
    /// Works out how to read `file` into `schema`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn open(
        file: Hashed,
        schema: Option<&Schema>,
        hints: &Hints,
    ) -> Result<Self, String> {
        let file = guarded(|| SerializedFileReader::new(file))?;
        let description = file.metadata().file_metadata().schema_descr_ptr();
        let (mut leaves, mut columns, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in description.columns().iter().enumerate() {
            let name = column.path().string();
            match kind_of(column) {
                Ok(kind) => {
                    columns.push(TypedColumn {
                        name,
                        kind: kind.field(),
                        is_time: kind.is_time(),
                    });
                    leaves.push(Leaf {
                        index,
                        kind,
                        level: column.max_def_level(),
                        held: Held::default(),
                    });
                }
                Err(why) => left_out.push(format!("{name} ({why})")),
            }
        }
        let empty = TypedPlan {
            time: None,
            format: crate::record::decode::infer::TimeFormat::Rfc3339,
            columns: Vec::new(),
            new_fields: Vec::new(),
            own: None,
        };
        let mut all = Self {
            plan: empty,
            left_out,
            file,
            leaves,
            group: 0,
            readers: Vec::new(),
            held: 0,
            at: 0,
            row: 0,
            stream: String::new(),
        };
        if !all.fill()? {
            return Err("the file holds no row".to_owned());
        }
        let plan = TypedPlan::of(&columns, schema, hints, &|column, format| {
            let mut first = (0..all.held).filter_map(|row| all.leaves.get(column)?.cell(row));
            let text = first.find_map(|cell| Some(cell.ok()?.text()?.into_owned()));
            let is_number = text
                .as_ref()
                .is_some_and(|text| text.parse::<f64>().is_ok());
            let ns = text.and_then(|text| format.ns(&text).ok());
            ns.is_some_and(|ns| !is_number || is_recent(ns))
        });
        all.plan = plan.map_err(|error| {
            let left_out = match all.left_out.len() {
                0 => String::new(),
                _ => format!(" (left out: {})", all.left_out.join(", ")),
            };
            format!("{error}{left_out}")
        })?;
        Ok(all)
    }

    /// Rows passed.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// In words, if the file cannot be read any further.
    pub(super) fn next(&mut self) -> Result<Option<Row>, String> {
        while self.at == self.held {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let at = self.at;
        self.at += 1;
        self.row += 1;
        let mut row = Row {
            from: self.row - 1,
            to: self.row,
            span: 1,
            is_time_doubtful: false,
            own: None,
            tags: Vec::new(),
            record: Ok(Record::default()),
        };
        let read = self.record(at).and_then(|record| {
            row.own = self.own_row(at)?;
            record.check_size()?;
            Ok(record)
        });
        row.record = read.map_err(|mut reject| {
            reject.detail = format!("row {}: {}", self.row, reject.detail);
            reject
        });
        if let Some(own) = &row.own
            && own.stream != self.stream
        {
            self.stream.clone_from(&own.stream);
            let tags = self.plan.own.iter().flat_map(|own| &own.tags);
            let tags = tags.map(|(column, name)| (name.clone(), self.text(*column, at)));
            row.tags = tags.collect();
        }
        Ok(Some(row))
    }

    fn record(&self, at: usize) -> Result<Record, Reject> {
        let mut values = Vec::with_capacity(self.plan.columns.len());
        for (position, (column, ..)) in self.plan.columns.iter().enumerate() {
            if let Some(cell) = self.cell(*column, at) {
                values.extend(self.plan.value(position, &cell?)?);
            }
        }
        let source_ts = match (&self.plan.own, self.plan.time) {
            (_, Some(column)) => self.time_ns(column, at)?,
            (Some(own), None) => {
                let source = own.source_ts.map(|column| self.time_ns(column, at));
                match source.transpose()?.flatten() {
                    Some(ns) => Some(ns),
                    None => self.time_ns(own.ts, at)?,
                }
            }
            (None, None) => None,
        };
        let record = Record {
            source_ts,
            values: values.into(),
        };
        if record.source_ts.is_none() && record.values.is_empty() {
            return Err(Reject::new(Reason::Empty, "nothing in it"));
        }
        Ok(record)
    }

    fn own_row(&self, at: usize) -> Result<Option<OwnRow>, Reject> {
        let Some(own) = &self.plan.own else {
            return Ok(None);
        };
        let cell = |column| self.cell(column, at).transpose();
        let is_train = cell(own.is_train)?.unwrap_or(Cell::Null);
        let fold = cell(own.fold)?.unwrap_or(Cell::Null);
        Ok(Some(OwnRow {
            stream: self.text(own.stream, at),
            split: typed_split(&is_train, &fold)?,
        }))
    }

    fn cell(&self, column: usize, at: usize) -> Option<Result<Cell<'_>, Reject>> {
        self.leaves.get(column)?.cell(at)
    }

    fn text(&self, column: usize, at: usize) -> String {
        let cell = self.cell(column, at).and_then(Result::ok);
        let text = cell.as_ref().and_then(Cell::text);
        text.unwrap_or_default().into_owned()
    }

    fn time_ns(&self, column: usize, at: usize) -> Result<Option<i64>, Reject> {
        let Some(leaf) = self.leaves.get(column) else {
            return Ok(None);
        };
        if leaf.kind.is_time() {
            let ns = leaf.ns(at).transpose()?;
            let is_local = matches!(leaf.kind, Kind::Time(_, false) | Kind::Days);
            return match ns {
                Some(ns) if is_local => self.plan.local_ns(ns).map(Some),
                ns => Ok(ns),
            };
        }
        match leaf.cell(at) {
            Some(cell) => self.plan.time_ns(&cell?),
            None => Ok(None),
        }
    }

    /// Holds the next rows; `false` at the end.
    fn fill(&mut self) -> Result<bool, String> {
        loop {
            if self.readers.is_empty() {
                if self.group == self.file.num_row_groups() {
                    return Ok(false);
                }
                let (file, leaves, group) = (&self.file, &self.leaves, self.group);
                let chunks = file.metadata().row_group(group).columns();
                let chunks = leaves.iter().filter_map(|leaf| chunks.get(leaf.index));
                check_sizes(chunks)?;
                self.readers = guarded(|| {
                    let group = file.get_row_group(group)?;
                    let columns = leaves
                        .iter()
                        .map(|leaf| group.get_column_reader(leaf.index));
                    columns.collect()
                })?;
                self.group += 1;
            }
            let mut rows = None;
            for (leaf, reader) in self.leaves.iter_mut().zip(&mut self.readers) {
                let read = guarded(|| leaf.read(reader))?;
                if *rows.get_or_insert(read) != read {
                    return Err("damaged: its columns are not of one length".to_owned());
                }
            }
            (self.held, self.at) = (rows.unwrap_or_default(), 0);
            if self.held > 0 {
                return Ok(true);
            }
            self.readers.clear();
            if self.leaves.is_empty() {
                return Err("there is no column that can be read".to_owned());
            }
        }
    }
}

impl Leaf {
    /// Reads up to [`ROWS_MAX`] rows.
    fn read(&mut self, reader: &mut ColumnReader) -> Result<usize, ParquetError> {
        let held = &mut self.held;
        let levels = &mut held.levels;
        levels.clear();
        let levels = (self.level > 0).then_some(levels);
        macro_rules! read {
            ($reader:expr, $values:expr) => {{
                $values.clear();
                $reader.read_records(ROWS_MAX, levels, None, $values)?
            }};
        }
        let (rows, values, _) = match reader {
            ColumnReader::BoolColumnReader(reader) => read!(reader, &mut held.bools),
            ColumnReader::Int32ColumnReader(reader) => read!(reader, &mut held.i32s),
            ColumnReader::Int64ColumnReader(reader) => read!(reader, &mut held.i64s),
            ColumnReader::Int96ColumnReader(reader) => read!(reader, &mut held.i96s),
            ColumnReader::FloatColumnReader(reader) => read!(reader, &mut held.f32s),
            ColumnReader::DoubleColumnReader(reader) => read!(reader, &mut held.f64s),
            ColumnReader::ByteArrayColumnReader(reader) => read!(reader, &mut held.texts),
            ColumnReader::FixedLenByteArrayColumnReader(_) => (0, 0, 0),
        };
        held.places.clear();
        let mut next = 0;
        for row in 0..rows {
            let is_there = self.level == 0 || held.levels.get(row) == Some(&self.level);
            held.places
                .push((is_there && next < values).then_some(next));
            next += usize::from(is_there);
        }
        Ok(rows)
    }

    /// The time in a row of a column of times.
    fn ns(&self, row: usize) -> Option<Result<i64, Reject>> {
        const DAY_NS: i64 = 86_400 * 1_000_000_000;
        const JULIAN_DAY_OF_1970: i64 = 2_440_588;
        let place = (*self.held.places.get(row)?)?;
        let ns = match self.kind {
            Kind::Time(unit_ns, _) => self.held.i64s.get(place)?.checked_mul(unit_ns),
            Kind::Days => i64::from(*self.held.i32s.get(place)?).checked_mul(DAY_NS),
            Kind::Int96 => {
                let [low, high, day] = *self.held.i96s.get(place)?.data() else {
                    return None;
                };
                let within = (i64::from(high) << 32) | i64::from(low);
                let days = i64::from(day) - JULIAN_DAY_OF_1970;
                days.checked_mul(DAY_NS)
                    .and_then(|ns| ns.checked_add(within))
            }
            _ => return None,
        };
        Some(ns.ok_or_else(|| {
            Reject::new(Reason::BadTime, "a time that is none between 1677 and 2262")
        }))
    }

    /// What is in a row; `None`: nothing.
    fn cell(&self, row: usize) -> Option<Result<Cell<'_>, Reject>> {
        let held = &self.held;
        let place = (*held.places.get(row)?)?;
        let whole = || {
            let short = held.i32s.get(place).map(|value| i64::from(*value));
            held.i64s.get(place).copied().or(short)
        };
        Some(Ok(match self.kind {
            Kind::Bool => Cell::Bool(*held.bools.get(place)?),
            Kind::Integer => Cell::Integer(whole()?.into()),
            Kind::Unsigned(64) => Cell::Integer((whole()? as u64).into()),
            Kind::Unsigned(_) => Cell::Integer((whole()? as u32).into()),
            Kind::Decimal(scale) => Cell::Float(whole()? as f64 / 10_f64.powi(scale)),
            Kind::F32 => Cell::Float((*held.f32s.get(place)?).into()),
            Kind::F64 => Cell::Float(*held.f64s.get(place)?),
            Kind::Text => {
                let Ok(text) = held.texts.get(place)?.as_utf8() else {
                    let detail = "a text that is not UTF-8";
                    return Some(Err(Reject::new(Reason::NotUtf8, detail)));
                };
                Cell::Text(Cow::Borrowed(text))
            }
            Kind::Time(..) | Kind::Days | Kind::Int96 => match self.ns(row)? {
                Ok(ns) => {
                    let time = jiff::Timestamp::from_nanosecond(ns.into());
                    let mut text = time.ok()?.to_string();
                    if self.kind == Kind::Days {
                        text.truncate("2026-05-04".len());
                    }
                    Cell::Text(Cow::Owned(text))
                }
                Err(reject) => return Some(Err(reject)),
            },
        }))
    }
}

/// Refuses what would take too much memory.
fn check_sizes<'c>(
    mut chunks: impl Iterator<Item = &'c ColumnChunkMetaData>,
) -> Result<(), String> {
    match chunks.find(|chunk| chunk.uncompressed_size() > CHUNK_BYTES_MAX) {
        None => Ok(()),
        Some(chunk) => Err(format!(
            "column {} holds {} bytes in one group of rows; the most is {CHUNK_BYTES_MAX}: write smaller groups \
             (pandas: df.to_parquet(..., row_group_size=100_000))",
            chunk.column_path(),
            chunk.uncompressed_size()
        )),
    }
}

/// What a reader says that may panic, in words.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ParquetError::NYI(what) | ParquetError::General(what)))
            if what.contains("isabled feature") =>
        {
            Err(format!(
                "{what}: write it with compression \"snappy\" or without (pandas: \
                 df.to_parquet(..., compression=\"snappy\"))"
            ))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("damaged: its reader gave up".to_owned()),
    }
}

#[cfg(test)]
mod tests;
