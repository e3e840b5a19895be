//! Writes the rows of one schema's streams as CSV or Parquet, for other programs to read.
//!
//! Columns: `ts` (nanoseconds UTC), `time` (the same as RFC 3339; CSV only), `is_train`, `fold`,
//! `source_ts`, `stream` (its name), one `tag.<name>` for each tag, then the fields under their own names. A field
//! whose name is taken is called `field.<name>`. A missing value is an empty cell in CSV and a
//! null in Parquet.
//!
//! In CSV every value that is text is quoted, every float has a point or an exponent, and nothing that is missing
//! is quoted: so `dunlin import` tells a text from a number, an integer from a float, and an empty text from a
//! missing one.
//!
//! Texts come from the network, and a spreadsheet runs a CSV cell that begins with `=`, `+`, `-`,
//! `@`, a tab or a line break as a formula. So in CSV such a text (a value, a tag, a name in the
//! header; never a number) gets a `'` in front, which spreadsheets take for "this is text"; and one more if it
//! has some already, so that an import knows which is ours. For byte-exact texts, use Parquet.
//!
//! Memory is bounded: CSV holds one row, Parquet one row group.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use dunlin_sync::{
    rows::{Column, Rows, Values},
    sample::{FieldType, Schema, Stream, Value},
};
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
    },
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{Type, TypePtr},
};

use crate::record::decode::infer::own::{FIELD, FIXED, TAG, is_formula};

/// Most rows in one Parquet row group.
pub const GROUP_ROWS_MAX: usize = 65_536;
/// A row group is closed early when its texts reach this, bytes.
pub const GROUP_TEXT_BYTES_MAX: usize = 16 << 20;

/// Why an export stopped. What was written so far is not a complete file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output could not be written.
    #[error("cannot write the export: {0}")]
    Io(#[from] io::Error),
    /// Parquet refused.
    #[error("cannot write the Parquet file: {0}")]
    Parquet(#[from] ParquetError),
    /// A column of the rows has not the type its field has in the schema.
    #[error("field `{field}` is {declared} in the schema but {found} in the data")]
    Type {
        /// The field's name.
        field: String,
        /// As in the schema.
        declared: FieldType,
        /// As in the rows.
        found: FieldType,
    },
}

/// Names of the exported tags and fields, all different from one another and from the fixed ones. Taking the
/// prefix away gives the field back.
fn names(schema: &Schema) -> (Vec<String>, Vec<String>) {
    let tags = schema.tag_names.iter().map(|tag| format!("{TAG}{tag}"));
    let fields = schema.fields.iter().map(|field| {
        let name = &field.name;
        let is_taken = FIXED.contains(&name.as_str());
        if is_taken || name.starts_with(TAG) || name.starts_with(FIELD) {
            format!("{FIELD}{name}")
        } else {
            name.clone()
        }
    });
    (tags.collect(), fields.collect())
}

/// One value a tag name; a tag the stream does not have is empty.
fn tag_values<'s>(schema: &Schema, stream: &'s Stream) -> Vec<&'s str> {
    let given = stream.tags.iter().map(String::as_str);
    given
        .chain(std::iter::repeat(""))
        .take(schema.tag_names.len())
        .collect()
}

/// Every column must have the type of its field.
fn check_types(schema: &Schema, rows: &Rows) -> Result<(), ExportError> {
    for (position, column) in rows.columns.iter() {
        let Some(field) = schema.fields.get(position) else {
            continue;
        };
        let found = column.values.kind();
        if found != field.kind {
            return Err(ExportError::Type {
                field: field.name.clone(),
                declared: field.kind,
                found,
            });
        }
    }
    Ok(())
}

/// Writes CSV with a header line.
#[derive(Debug)]
pub struct CsvExport<W: Write> {
    out: BufWriter<W>,
    schema: Arc<Schema>,
}

impl<W: Write> CsvExport<W> {
    /// Writes the header. `schema` is the newest age of the streams' schema.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn new(out: W, schema: &Arc<Schema>) -> Result<Self, ExportError> {
        let mut out = BufWriter::new(out);
        let (tags, fields) = names(schema);
        out.write_all(FIXED.join(",").as_bytes())?;
        for name in tags.iter().chain(&fields) {
            out.write_all(b",")?;
            write_name(&mut out, name)?;
        }
        out.write_all(b"\n")?;
        Ok(Self {
            out,
            schema: Arc::clone(schema),
        })
    }

    /// Appends `rows` of `stream`.
    ///
    /// # Errors
    /// The output could not be written, or a column has not the type of its field.
    pub fn write(&mut self, stream: &Stream, rows: &Rows) -> Result<(), ExportError> {
        check_types(&self.schema, rows)?;
        let mut names = Vec::new();
        write_name(&mut names, stream.plain_name())?;
        for tag in tag_values(&self.schema, stream) {
            names.push(b',');
            write_name(&mut names, tag)?;
        }
        let out = &mut self.out;
        for row in 0..rows.len() {
            let ts = rows.ts[row];
            let (is_train, fold) = (rows.is_train[row], rows.fold[row]);
            write!(out, "{ts},{},{is_train},{fold},", rfc3339(ts))?;
            if let Some(source_ts) = rows.source_ts[row] {
                write!(out, "{source_ts}")?;
            }
            out.write_all(b",")?;
            out.write_all(&names)?;
            for index in 0..self.schema.fields.len() {
                out.write_all(b",")?;
                match rows.columns.get(index).and_then(|column| column.get(row)) {
                    None => {}
                    Some(Value::Bool(x)) => write!(out, "{x}")?,
                    Some(Value::I64(x)) => write!(out, "{x}")?,
                    Some(Value::F64(x)) => write!(out, "{x:?}")?,
                    Some(Value::F32(x)) => write!(out, "{x:?}")?,
                    Some(Value::Text(x)) => write_text(out, &defused(&x))?,
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn finish(self) -> Result<W, ExportError> {
        self.out
            .into_inner()
            .map_err(|error| ExportError::Io(error.into_error()))
    }
}

/// A name, quoted where it must be.
fn write_name(out: &mut impl Write, name: &str) -> io::Result<()> {
    let name = defused(name);
    if name.contains([',', '"', '\r', '\n']) || name.trim() != name || name.starts_with('#') {
        write_text(out, &name)
    } else {
        out.write_all(name.as_bytes())
    }
}

fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.write_all(b"\"\"")?;
        }
        out.write_all(part.as_bytes())?;
    }
    out.write_all(b"\"")
}

/// No spreadsheet takes the result for a formula.
fn defused(text: &str) -> std::borrow::Cow<'_, str> {
    if is_formula(text) {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

fn rfc3339(ts: i64) -> String {
    // Every i64 of nanoseconds lies between the years 1677 and 2262, which jiff covers.
    jiff::Timestamp::from_nanosecond(i128::from(ts))
        .map(|time| format!("{time:.9}"))
        .unwrap_or_default()
}

/// Writes Parquet: snappy, row groups of at most [`GROUP_ROWS_MAX`] rows.
pub struct ParquetExport<W: Write + Send> {
    out: SerializedFileWriter<W>,
    schema: Arc<Schema>,
    /// Whose rows the group holds: stream name and tags, and how many in a row.
    runs: Vec<(Vec<ByteArray>, usize)>,
    /// The row group being filled, and the bytes its texts take.
    group: Rows,
    text_bytes: usize,
}

impl<W: Write + Send> ParquetExport<W> {
    /// Begins a file. `schema` is the newest age of the streams' schema.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn new(out: W, schema: &Arc<Schema>) -> Result<Self, ExportError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("dunlin ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        Ok(Self {
            out: SerializedFileWriter::new(out, file_type(schema)?, Arc::new(properties))?,
            schema: Arc::clone(schema),
            runs: Vec::new(),
            group: Rows::default(),
            text_bytes: 0,
        })
    }

    /// Appends `rows` of `stream`.
    ///
    /// # Errors
    /// The output could not be written, or a column has not the type of its field.
    pub fn write(&mut self, stream: &Stream, rows: &Rows) -> Result<(), ExportError> {
        check_types(&self.schema, rows)?;
        let mut names = vec![ByteArray::from(stream.plain_name())];
        names.extend(
            tag_values(&self.schema, stream)
                .into_iter()
                .map(ByteArray::from),
        );
        let mut from = 0;
        while from < rows.len() {
            let room = GROUP_ROWS_MAX - self.group.len();
            let to = rows.len().min(from + room);
            match self.runs.last_mut() {
                Some((last, count)) if *last == names => *count += to - from,
                _ => self.runs.push((names.clone(), to - from)),
            }
            self.group.extend_from(rows, from..to);
            self.text_bytes += text_bytes(rows, from..to);
            from = to;
            if self.group.len() == GROUP_ROWS_MAX || self.text_bytes >= GROUP_TEXT_BYTES_MAX {
                self.close_group()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the footer, and gives the output back.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn finish(mut self) -> Result<W, ExportError> {
        self.close_group()?;
        Ok(self.out.into_inner()?)
    }

    fn close_group(&mut self) -> Result<(), ExportError> {
        let rows = std::mem::take(&mut self.group);
        let runs = std::mem::take(&mut self.runs);
        self.text_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.out.next_row_group()?;
        let folds: Vec<i32> = rows.fold.iter().map(|fold| i32::from(*fold)).collect();
        put::<Int64Type, _>(&mut group, &rows.ts, None)?;
        put::<BoolType, _>(&mut group, &rows.is_train, None)?;
        put::<Int32Type, _>(&mut group, &folds, None)?;
        let sources: Vec<i64> = rows.source_ts.iter().flatten().copied().collect();
        let known = rows.source_ts.iter().map(Option::is_some);
        put::<Int64Type, _>(&mut group, &sources, Some(&levels(known)))?;
        for name in 0..=self.schema.tag_names.len() {
            let of_rows = runs
                .iter()
                .flat_map(|(names, count)| std::iter::repeat_n(names[name].clone(), *count));
            put::<ByteArrayType, _>(&mut group, &of_rows.collect::<Vec<_>>(), None)?;
        }
        for (index, field) in self.schema.fields.iter().enumerate() {
            match rows.columns.get(index) {
                Some(column) => put_column(&mut group, column)?,
                None => put_column(&mut group, &Column::missing(field.kind, rows.len()))?,
            }
        }
        group.close()?;
        Ok(())
    }
}

fn text_bytes(rows: &Rows, range: std::ops::Range<usize>) -> usize {
    let texts = rows
        .columns
        .iter()
        .filter_map(|(_, column)| match &column.values {
            Values::Text(texts) => Some(&texts[range.clone()]),
            _ => None,
        });
    texts.flatten().map(|text| text.len()).sum()
}

/// The columns, in the order in which `close_group` writes them.
fn file_type(schema: &Schema) -> Result<TypePtr, ParquetError> {
    let (optional, required) = (Repetition::OPTIONAL, Repetition::REQUIRED);
    let column = |name: &str, physical, logical, repetition| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let time = Some(LogicalType::timestamp(true, TimeUnit::NANOS));
    let byte = Some(LogicalType::integer(8, false));
    let text = Some(LogicalType::String);
    let mut columns = vec![
        column("ts", Physical::INT64, time.clone(), required)?,
        column("is_train", Physical::BOOLEAN, None, required)?,
        column("fold", Physical::INT32, byte, required)?,
        column("source_ts", Physical::INT64, time, optional)?,
        column("stream", Physical::BYTE_ARRAY, text.clone(), required)?,
    ];
    let (tags, fields) = names(schema);
    for name in tags {
        columns.push(column(&name, Physical::BYTE_ARRAY, text.clone(), required)?);
    }
    for (name, field) in fields.iter().zip(&schema.fields) {
        let (physical, logical) = match field.kind {
            FieldType::F64 => (Physical::DOUBLE, None),
            FieldType::F32 => (Physical::FLOAT, None),
            FieldType::I64 => (Physical::INT64, None),
            FieldType::Bool => (Physical::BOOLEAN, None),
            FieldType::Text => (Physical::BYTE_ARRAY, text.clone()),
        };
        columns.push(column(name, physical, logical, optional)?);
    }
    Type::group_type_builder("rows")
        .with_fields(columns)
        .build()
        .map(Arc::new)
}

fn levels(present: impl Iterator<Item = bool>) -> Vec<i16> {
    present.map(i16::from).collect()
}

fn put_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column,
) -> Result<(), ParquetError> {
    let levels = levels((0..column.len()).map(|row| column.is_present(row)));
    let levels = Some(levels.as_slice());
    match &column.values {
        Values::F64(v) => put::<DoubleType, _>(group, &present(column, v), levels),
        Values::F32(v) => put::<FloatType, _>(group, &present(column, v), levels),
        Values::I64(v) => put::<Int64Type, _>(group, &present(column, v), levels),
        Values::Bool(v) => put::<BoolType, _>(group, &present(column, v), levels),
        Values::Text(v) => {
            let texts: Vec<ByteArray> = present(column, v)
                .iter()
                .map(|text| ByteArray::from(&**text))
                .collect();
            put::<ByteArrayType, _>(group, &texts, levels)
        }
    }
}

/// The values that are there: Parquet stores no placeholder for a null.
fn present<T: Clone>(column: &Column, values: &[T]) -> Vec<T> {
    let rows = values.iter().enumerate();
    rows.filter(|(row, _)| column.is_present(*row))
        .map(|(_, value)| value.clone())
        .collect()
}

/// Writes the group's next column: `levels` holds 1 for a value and 0 for a null, one a row.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("more columns than the schema has".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

#[cfg(test)]
mod tests;
