//! Blocks as bytes and back. With `frame` and `pack`, the only files that name bincode.
//!
//! A stored block is `format byte | header | sections | CRC-32C` (the frame of [`crate::frame`]).
//! The header has the block's row position and time range, so that an index is read without
//! unpacking a column. Each section holds one schema: the runs of its streams, then column by column.

use bincode::{BorrowDecode, Encode, config};

use crate::{
    block::{Block, Outline, Run, Section},
    builder::OpenSection,
    frame,
    pack::{self, Compression, Packed, PackedRef, Unpackable},
    rows::{Column, Rows, Values},
    sample::{FieldType, SchemaId, StreamId},
};

/// Most rows a block may claim; more is corruption.
const ROWS_MAX: usize = 1 << 17;

/// An encoded block that has not been given its place yet.
#[derive(Clone, Debug)]
pub struct BlockBody {
    /// Rows in it, over all streams.
    pub rows: u32,
    /// Its first timestamp, nanoseconds UTC.
    pub first_ts: i64,
    /// Its last timestamp, nanoseconds UTC.
    pub last_ts: i64,
    sections: Vec<u8>,
}

/// Upper bound of what frame and header add to the sections.
const ENVELOPE_BYTES: usize = 1 + 4 + 9 + 5 + 9 + 9;

impl BlockBody {
    /// Bytes this will take when stored (an upper bound, exact within [`ENVELOPE_BYTES`]).
    pub fn encoded_bytes(&self) -> usize {
        self.sections.len() + ENVELOPE_BYTES
    }

    /// The stored form, with `first_row` rows committed before it.
    ///
    /// # Errors
    /// Never in practice: a header of four integers always encodes.
    pub fn stored(&self, first_row: u64) -> Result<Vec<u8>, CodecError> {
        let header = Header {
            first_row,
            rows: self.rows,
            first_ts: self.first_ts,
            last_ts: self.last_ts,
        };
        let mut bytes = bincode::encode_to_vec(header, config::standard())
            .map_err(|e| CodecError(e.to_string()))?;
        bytes.extend_from_slice(&self.sections);
        Ok(frame::seal(&bytes))
    }
}

/// What a block holds, without its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Header {
    /// Rows committed on this device before this block.
    pub first_row: u64,
    /// Rows in it.
    pub rows: u32,
    /// Its first timestamp, nanoseconds UTC, before corrections.
    pub first_ts: i64,
    /// Its last timestamp, nanoseconds UTC, before corrections.
    pub last_ts: i64,
}

/// Stored bytes that are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable block: {0}")]
pub struct CodecError(pub(crate) String);

impl From<Unpackable> for CodecError {
    fn from(what: Unpackable) -> Self {
        Self(format!("wrong {}", what.0))
    }
}

#[derive(Encode)]
struct WireSection {
    schema: u32,
    runs: Vec<(u32, u32)>,
    ts: Packed,
    is_train: Vec<u8>,
    fold: Option<Vec<u8>>,
    source_ts: Option<(Vec<u8>, Packed)>,
    columns: Vec<WireColumn>,
}

#[derive(Encode)]
struct WireColumn {
    kind: u8,
    /// `None`: every row has a value. An empty mask: no row has one, and nothing is packed.
    present: Option<Vec<u8>>,
    values: Packed,
}

#[derive(BorrowDecode)]
struct SectionRef<'a> {
    schema: u32,
    runs: Vec<(u32, u32)>,
    ts: PackedRef<'a>,
    is_train: &'a [u8],
    fold: Option<&'a [u8]>,
    source_ts: Option<(&'a [u8], PackedRef<'a>)>,
    columns: Vec<ColumnRef<'a>>,
}

#[derive(BorrowDecode)]
struct ColumnRef<'a> {
    kind: u8,
    present: Option<&'a [u8]>,
    values: PackedRef<'a>,
}

const fn kind_code(kind: FieldType) -> u8 {
    match kind {
        FieldType::F64 => 0,
        FieldType::F32 => 1,
        FieldType::I64 => 2,
        FieldType::Bool => 3,
        FieldType::Text => 4,
    }
}

fn kind_of(code: u8) -> Result<FieldType, CodecError> {
    Ok(match code {
        0 => FieldType::F64,
        1 => FieldType::F32,
        2 => FieldType::I64,
        3 => FieldType::Bool,
        4 => FieldType::Text,
        other => return Err(CodecError(format!("unknown field type {other}"))),
    })
}

/// Encodes sections whose rows are in order of arrival. There must be at least one row.
pub(crate) fn encode(sections: &[OpenSection], compression: Compression) -> BlockBody {
    let times = || sections.iter().flat_map(|s| s.rows.ts.iter().copied());
    let wire: Vec<WireSection> = sections
        .iter()
        .map(|s| encode_section(s, compression))
        .collect();
    BlockBody {
        rows: times().count() as u32,
        first_ts: times().min().unwrap_or_default(),
        last_ts: times().max().unwrap_or_default(),
        // Encoding into memory cannot fail; an empty body would be caught by every reader.
        sections: bincode::encode_to_vec(wire, config::standard()).unwrap_or_default(),
    }
}

fn encode_section(section: &OpenSection, compression: Compression) -> WireSection {
    let rows = &section.rows;
    let sorted;
    let (streams, rows) = if section.streams.is_sorted() {
        (&section.streams, rows)
    } else {
        sorted = sort_by_stream(section);
        (&sorted.0, &sorted.1)
    };
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for stream in streams {
        match runs.last_mut() {
            Some((last, count)) if last == stream => *count += 1,
            _ => runs.push((*stream, 1)),
        }
    }
    let source_ts = rows.source_ts.iter().any(Option::is_some).then(|| {
        let present: Vec<bool> = rows.source_ts.iter().map(Option::is_some).collect();
        // A missing time repeats the one before: it costs next to nothing then.
        let mut last = 0;
        let times: Vec<i64> = rows
            .source_ts
            .iter()
            .map(|t| t.inspect(|t| last = *t).unwrap_or(last))
            .collect();
        (
            pack::pack_bits(&present),
            pack::pack_times(&times, compression),
        )
    });
    WireSection {
        schema: section.schema,
        runs,
        ts: pack::pack_times(&rows.ts, compression),
        is_train: pack::pack_bits(&rows.is_train),
        fold: rows
            .fold
            .iter()
            .any(|fold| *fold != 0)
            .then(|| rows.fold.clone()),
        source_ts,
        columns: rows.columns[..columns_used(rows)]
            .iter()
            .map(|column| encode_column(column, compression))
            .collect(),
    }
}

/// Columns up to the last in which any row has a value; readers know the rest as missing.
fn columns_used(rows: &Rows) -> usize {
    let has_values = |column: &Column| {
        let present = column.present.as_ref();
        present.is_none_or(|present| present.contains(&true))
    };
    rows.columns
        .iter()
        .rposition(has_values)
        .map_or(0, |last| last + 1)
}

/// Streams and rows in order of stream, each stream's rows still in order of arrival.
fn sort_by_stream(section: &OpenSection) -> (Vec<StreamId>, Rows) {
    let mut order: Vec<usize> = (0..section.streams.len()).collect();
    order.sort_by_key(|row| section.streams[*row]);
    let mut rows = Rows::default();
    // Whole runs at a time: neighbours in the new order are often neighbours in the old one.
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && order[end] == order[end - 1] + 1 {
            end += 1;
        }
        rows.extend_from(&section.rows, order[start]..order[end - 1] + 1);
        start = end;
    }
    (
        order.iter().map(|row| section.streams[*row]).collect(),
        rows,
    )
}

fn encode_column(column: &Column, compression: Compression) -> WireColumn {
    let kind = kind_code(column.values.kind());
    if column
        .present
        .as_ref()
        .is_some_and(|present| !present.contains(&true))
    {
        let values = pack::pack_numbers::<f64>(&[], Compression::None);
        return WireColumn {
            kind,
            present: Some(Vec::new()),
            values,
        };
    }
    let values = match &column.values {
        Values::F64(v) => pack::pack_numbers(v, compression),
        Values::F32(v) => pack::pack_numbers(v, compression),
        Values::I64(v) => pack::pack_numbers(v, compression),
        Values::Bool(v) => pack::pack_flags(v),
        Values::Text(v) => pack::pack_texts(v),
    };
    WireColumn {
        kind,
        present: column.present.as_deref().map(pack::pack_bits),
        values,
    }
}

fn decode_column(wire: &ColumnRef<'_>, rows: usize) -> Result<Column, CodecError> {
    let kind = kind_of(wire.kind)?;
    let present = match wire.present {
        None => None,
        Some([]) if rows > 0 => return Ok(Column::missing(kind, rows)),
        Some(bits) => Some(pack::unpack_bits(bits, rows)?),
    };
    let values = match kind {
        FieldType::F64 => Values::F64(numbers(wire.values, rows)?),
        FieldType::F32 => Values::F32(numbers(wire.values, rows)?),
        FieldType::I64 => Values::I64(numbers(wire.values, rows)?),
        FieldType::Bool => Values::Bool(pack::unpack_flags(wire.values, rows)?),
        FieldType::Text => Values::Text(pack::unpack_texts(wire.values, rows)?),
    };
    Ok(Column { values, present })
}

fn numbers<T: pack::Number>(packed: PackedRef<'_>, rows: usize) -> Result<Vec<T>, CodecError> {
    let mut out = Vec::with_capacity(rows);
    pack::unpack_numbers(packed, rows, &mut out)?;
    Ok(out)
}

fn header_and_rest(stored: &[u8]) -> Result<(Header, &[u8]), CodecError> {
    let body = frame::unseal(stored).map_err(|e| CodecError(e.to_string()))?;
    let (header, used) = bincode::borrow_decode_from_slice::<Header, _>(body, config::standard())
        .map_err(|e| CodecError(e.to_string()))?;
    Ok((header, &body[used..]))
}

fn sections(rest: &[u8]) -> Result<Vec<SectionRef<'_>>, CodecError> {
    let config = config::standard().with_limit::<{ frame::DECODED_BYTES_MAX }>();
    let (sections, _) = bincode::borrow_decode_from_slice::<Vec<SectionRef<'_>>, _>(rest, config)
        .map_err(|e| CodecError(e.to_string()))?;
    Ok(sections)
}

fn section_rows(section: &SectionRef<'_>) -> Result<usize, CodecError> {
    // Wider than `usize` on 32-bit devices, where a sum could come round to few rows.
    let rows: u64 = section.runs.iter().map(|(_, rows)| u64::from(*rows)).sum();
    if rows > ROWS_MAX as u64 {
        Err(CodecError(format!("{rows} rows")))
    } else {
        Ok(rows as usize)
    }
}

/// The header of stored bytes; verifies the checksum.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub fn decode_header(stored: &[u8]) -> Result<Header, CodecError> {
    Ok(header_and_rest(stored)?.0)
}

/// The whole block in stored bytes, known under number `seq`, timestamps moved by `shift_ns`
/// (nanoseconds, saturating).
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub fn decode(seq: u64, stored: &[u8], shift_ns: i64) -> Result<Block, CodecError> {
    let (header, rest) = header_and_rest(stored)?;
    let mut block = empty_block(seq, &header, shift_ns);
    for wire in sections(rest)? {
        let (count, mut rows) = decode_keys(&wire, shift_ns)?;
        rows.source_ts = match wire.source_ts {
            None => vec![None; count],
            Some((bits, packed)) => {
                let present = pack::unpack_bits(bits, count)?;
                let mut times = Vec::with_capacity(count);
                pack::unpack_times(packed, count, &mut times)?;
                let times = times.into_iter().zip(present);
                times.map(|(t, there)| there.then_some(t)).collect()
            }
        };
        let columns = wire
            .columns
            .iter()
            .map(|column| decode_column(column, count));
        rows.columns = columns.collect::<Result<_, _>>()?;
        block.sections.push(section_of(&wire, rows));
    }
    if block.rows() == u64::from(header.rows) {
        Ok(block)
    } else {
        Err(CodecError("row count differs from the header's".into()))
    }
}

/// As [`decode`], but only the sections for whose schema `fields` names positions of fields: their
/// `columns` are those fields, in that order, and their source times are left out.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub(crate) fn decode_fields<'f>(
    seq: u64,
    stored: &[u8],
    shift_ns: i64,
    fields: impl Fn(SchemaId) -> Option<&'f [(usize, FieldType)]>,
) -> Result<Block, CodecError> {
    let (header, rest) = header_and_rest(stored)?;
    let mut block = empty_block(seq, &header, shift_ns);
    for wire in sections(rest)? {
        let Some(fields) = fields(wire.schema) else {
            continue;
        };
        let (count, mut rows) = decode_keys(&wire, shift_ns)?;
        for (field, kind) in fields {
            rows.columns.push(match wire.columns.get(*field) {
                Some(column) => decode_column(column, count)?,
                None => Column::missing(*kind, count),
            });
        }
        block.sections.push(section_of(&wire, rows));
    }
    Ok(block)
}

/// Whose rows are in a block, of the schemas that `wanted` accepts, without unpacking a column.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub(crate) fn outline(
    stored: &[u8],
    shift_ns: i64,
    wanted: impl Fn(SchemaId) -> bool,
) -> Result<Outline, CodecError> {
    let (header, rest) = header_and_rest(stored)?;
    let mut runs = Vec::new();
    for wire in sections(rest)? {
        section_rows(&wire)?;
        if wanted(wire.schema) {
            runs.extend(runs_of(&wire));
        }
    }
    Ok(Outline {
        first_ts: header.first_ts.saturating_add(shift_ns),
        last_ts: header.last_ts.saturating_add(shift_ns),
        runs,
    })
}

fn empty_block(seq: u64, header: &Header, shift_ns: i64) -> Block {
    Block {
        seq,
        first_row: header.first_row,
        first_ts: header.first_ts.saturating_add(shift_ns),
        last_ts: header.last_ts.saturating_add(shift_ns),
        sections: Vec::new(),
    }
}

/// How many rows a section has, and those with times and splits alone.
fn decode_keys(wire: &SectionRef<'_>, shift_ns: i64) -> Result<(usize, Rows), CodecError> {
    let count = section_rows(wire)?;
    let mut rows = Rows::default();
    unpack_times_shifted(wire.ts, count, shift_ns, &mut rows.ts)?;
    rows.is_train = pack::unpack_bits(wire.is_train, count)?;
    rows.fold = wire.fold.map_or_else(|| vec![0; count], <[u8]>::to_vec);
    if rows.fold.len() == count {
        Ok((count, rows))
    } else {
        Err(CodecError("wrong fold count".into()))
    }
}

fn runs_of(wire: &SectionRef<'_>) -> impl Iterator<Item = Run> {
    wire.runs.iter().map(|(stream, rows)| Run {
        stream: *stream,
        rows: *rows,
    })
}

fn section_of(wire: &SectionRef<'_>, rows: Rows) -> Section {
    Section {
        schema: wire.schema,
        runs: runs_of(wire).collect(),
        rows,
    }
}

fn unpack_times_shifted(
    packed: PackedRef<'_>,
    rows: usize,
    shift_ns: i64,
    out: &mut Vec<i64>,
) -> Result<(), CodecError> {
    let start = out.len();
    pack::unpack_times(packed, rows, out)?;
    if shift_ns != 0 {
        out[start..]
            .iter_mut()
            .for_each(|ts| *ts = ts.saturating_add(shift_ns));
    }
    Ok(())
}

/// One stream's share of a block, reduced to the wanted fields as `f32`.
pub(crate) struct Projection {
    /// Timestamps, nanoseconds UTC.
    pub(crate) ts: Vec<i64>,
    /// Train or validation, and fold.
    pub(crate) is_train: Vec<bool>,
    /// Empty: fold 0 throughout.
    pub(crate) fold: Vec<u8>,
}

/// Appends one stream's rows of stored bytes to `out`, one `f32` vector a wanted field (NaN where
/// missing or text), without touching other columns. Returns times and splits of the rows appended;
/// `None` if the block has no row of the stream.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub(crate) fn project(
    stored: &[u8],
    schema: SchemaId,
    stream: StreamId,
    fields: &[usize],
    shift_ns: i64,
    out: &mut [Vec<f32>],
) -> Result<Option<Projection>, CodecError> {
    let (_, rest) = header_and_rest(stored)?;
    let Some(wire) = sections(rest)?
        .into_iter()
        .find(|section| section.schema == schema)
    else {
        return Ok(None);
    };
    let count = section_rows(&wire)?;
    let mut start = 0;
    let mut range = None;
    for (id, rows) in &wire.runs {
        let end = start + *rows as usize;
        if *id == stream {
            range = Some(start..end);
            break;
        }
        start = end;
    }
    let Some(range) = range else { return Ok(None) };
    let mut ts = Vec::with_capacity(count);
    unpack_times_shifted(wire.ts, count, shift_ns, &mut ts)?;
    let is_train = pack::unpack_bits(wire.is_train, count)?;
    for (field, column) in fields.iter().zip(&mut *out) {
        match wire.columns.get(*field) {
            Some(packed) => append_f32(packed, count, &range, column)?,
            None => column.resize(column.len() + range.len(), f32::NAN),
        }
    }
    let fold = wire
        .fold
        .and_then(|fold| fold.get(range.clone()))
        .unwrap_or_default()
        .to_vec();
    Ok(Some(Projection {
        ts: ts[range.clone()].to_vec(),
        is_train: is_train[range].to_vec(),
        fold,
    }))
}

fn append_f32(
    wire: &ColumnRef<'_>,
    rows: usize,
    range: &std::ops::Range<usize>,
    out: &mut Vec<f32>,
) -> Result<(), CodecError> {
    let kind = kind_of(wire.kind)?;
    let start = out.len();
    if kind == FieldType::F32 && wire.present.is_none() && range.len() == rows {
        pack::unpack_numbers(wire.values, rows, out)?;
        return Ok(());
    }
    let column = decode_column(wire, rows)?;
    match &column.values {
        Values::F32(v) => out.extend_from_slice(&v[range.clone()]),
        Values::F64(v) => out.extend(v[range.clone()].iter().map(|x| *x as f32)),
        Values::I64(v) => out.extend(v[range.clone()].iter().map(|x| *x as f32)),
        Values::Bool(v) => out.extend(v[range.clone()].iter().map(|x| f32::from(u8::from(*x)))),
        Values::Text(_) => out.resize(start + range.len(), f32::NAN),
    }
    if let Some(present) = &column.present {
        for (value, present) in out[start..].iter_mut().zip(&present[range.clone()]) {
            if !present {
                *value = f32::NAN;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
