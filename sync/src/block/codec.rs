//! Blocks as bytes and back. With `frame` and `pack`, the only files that name bincode.
//!
//! A stored block is `format byte | header | sections | CRC-32C` (the frame of [`crate::files::frame`]).
//! The header has the block's row position and time range, so that an index is read without
//! unpacking a column. Each section holds one schema: the runs of its streams, then those columns that
//! have values, each with how many fields were passed over, which rows have a value, and these values
//! alone. In a section of few rows, neighbours of one type are packed together, as one *band*.
//!
//! Format 1 had every column up to the last one with a value, and zeros where there was none.
//!
//! Memory. A decoded block has at most `ROWS_MAX` rows and `CELLS_MAX` cells (rows times columns that have
//! values; `CELLS_MAX_1` in format 1), over all sections: bytes that claim more are refused before
//! anything is unpacked.

mod encode;
mod stored;
mod unpack;

use bincode::{BorrowDecode, Encode, config};

pub(crate) use self::{encode::encode, stored::CELLS_MAX};
use self::{
    stored::{Present, SectionRef, header_and_sections, opened},
    unpack::Unpacking,
};
use crate::{
    block::{
        Block, Outline, Run, Section,
        pack::{self, PackedRef, Unpackable},
    },
    files::frame,
    rows::{Column, Rows, Values},
    sample::{FieldType, SchemaId, StreamId},
};

/// An encoded block that has not been given its place yet.
#[derive(Clone, Debug)]
pub struct BlockBody {
    /// Rows in it, over all streams.
    pub rows: u32,
    /// Its first timestamp, nanoseconds UTC.
    pub first_ts: i64,
    /// Its last timestamp, nanoseconds UTC.
    pub last_ts: i64,
    /// Whose rows they are.
    pub(crate) runs: Vec<Run>,
    sections: Vec<u8>,
}

/// Upper bound of what frame and header add to the sections.
const ENVELOPE_BYTES: usize = 1 + 4 + 9 + 5 + 9 + 9;

impl BlockBody {
    /// Bytes this will take when stored (an upper bound, exact within `ENVELOPE_BYTES`).
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

/// The header of stored bytes; verifies the checksum.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub fn decode_header(stored: &[u8]) -> Result<Header, CodecError> {
    Ok(opened(stored)?.1)
}

/// The whole block in stored bytes, known under number `seq`, timestamps moved by `shift_ns`
/// (nanoseconds, saturating).
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub fn decode(seq: u64, stored: &[u8], shift_ns: i64) -> Result<Block, CodecError> {
    let (header, sections) = header_and_sections(stored)?;
    let mut block = empty_block(seq, &header, shift_ns);
    for section in &sections {
        let mut rows = decode_keys(section, shift_ns)?;
        rows.source_ts = decode_source_times(section)?;
        rows.columns = Unpacking::new(section).columns()?;
        block.sections.push(section_of(section, rows));
    }
    Ok(block)
}

/// A field to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldColumns {
    /// Position of its column.
    pub(crate) position: usize,
    /// Those of the columns beside it for its values of other types.
    pub(crate) seconds: Vec<usize>,
    /// What its values are to come as; where there is one column alone, what that is held as.
    pub(crate) kind: FieldType,
}

/// As [`decode`], but only the sections for whose schema `fields` names fields: their `columns` are those
/// fields, in that order, and their source times are left out unless wanted.
///
/// # Errors
/// [`CodecError`] if the bytes are not an intact block of this format.
pub(crate) fn decode_fields<'f>(
    seq: u64,
    stored: &[u8],
    shift_ns: i64,
    source_times: bool,
    fields: impl Fn(SchemaId) -> Option<&'f [FieldColumns]>,
) -> Result<Block, CodecError> {
    let (header, sections) = header_and_sections(stored)?;
    let mut block = empty_block(seq, &header, shift_ns);
    for section in &sections {
        let Some(fields) = fields(section.keys.schema) else {
            continue;
        };
        let mut rows = decode_keys(section, shift_ns)?;
        if source_times {
            rows.source_ts = decode_source_times(section)?;
        }
        let mut unpacking = Unpacking::new(section);
        for field in fields {
            let column = unpacking.column(field.position)?;
            let column = if field.seconds.is_empty() {
                column.unwrap_or_else(|| Column::missing(field.kind, section.rows))
            } else {
                let mut parts = Vec::from_iter(column);
                for second in &field.seconds {
                    parts.extend(unpacking.column(*second)?);
                }
                match &parts[..] {
                    [only] if only.values.kind() == field.kind => parts.remove(0),
                    _ => {
                        let parts: Vec<&Column> = parts.iter().collect();
                        Column::joined(&parts, field.kind, 0..section.rows)
                    }
                }
            };
            rows.columns.push(column);
        }
        block.sections.push(section_of(section, rows));
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
    let (header, sections) = header_and_sections(stored)?;
    let mut runs = Vec::new();
    for section in &sections {
        if wanted(section.keys.schema) {
            runs.extend(runs_of(section));
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

/// The rows of a section with times and splits alone.
fn decode_keys(section: &SectionRef<'_>, shift_ns: i64) -> Result<Rows, CodecError> {
    let (keys, count) = (&section.keys, section.rows);
    let mut rows = Rows::default();
    unpack_times_shifted(keys.ts, count, shift_ns, &mut rows.ts)?;
    rows.is_train = pack::unpack_bits(keys.is_train, count)?;
    rows.fold = keys.fold.map_or_else(|| vec![0; count], <[u8]>::to_vec);
    if rows.fold.len() == count {
        Ok(rows)
    } else {
        Err(CodecError("wrong fold count".into()))
    }
}

fn decode_source_times(section: &SectionRef<'_>) -> Result<Vec<Option<i64>>, CodecError> {
    let count = section.rows;
    let Some((bits, packed)) = section.keys.source_ts else {
        return Ok(vec![None; count]);
    };
    let present = pack::unpack_bits(bits, count)?;
    let mut times = Vec::with_capacity(count);
    pack::unpack_times(packed, count, &mut times)?;
    let times = times.into_iter().zip(present);
    Ok(times.map(|(t, there)| there.then_some(t)).collect())
}

fn runs_of(section: &SectionRef<'_>) -> impl Iterator<Item = Run> {
    section.keys.runs.iter().map(|(stream, rows)| Run {
        stream: *stream,
        rows: *rows,
    })
}

fn section_of(section: &SectionRef<'_>, rows: Rows) -> Section {
    Section {
        schema: section.keys.schema,
        runs: runs_of(section).collect(),
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
    fields: &[FieldColumns],
    shift_ns: i64,
    out: &mut [Vec<f32>],
) -> Result<Option<Projection>, CodecError> {
    let (_, sections) = header_and_sections(stored)?;
    let section = sections
        .iter()
        .find(|section| section.keys.schema == schema);
    let Some(section) = section else {
        return Ok(None);
    };
    let (keys, count) = (&section.keys, section.rows);
    let mut start = 0;
    let mut range = None;
    for (id, rows) in &keys.runs {
        let end = start + *rows as usize;
        if *id == stream {
            range = Some(start..end);
            break;
        }
        start = end;
    }
    let Some(range) = range else { return Ok(None) };
    let mut ts = Vec::with_capacity(count);
    unpack_times_shifted(keys.ts, count, shift_ns, &mut ts)?;
    let is_train = pack::unpack_bits(keys.is_train, count)?;
    let mut unpacking = Unpacking::new(section);
    for (field, column) in fields.iter().zip(&mut *out) {
        let start = column.len();
        append_f32(&mut unpacking, field.position, &range, column)?;
        for second in &field.seconds {
            if section.band_of(*second).is_some() {
                let mut beside = Vec::with_capacity(range.len());
                append_f32(&mut unpacking, *second, &range, &mut beside)?;
                for (value, beside) in column[start..].iter_mut().zip(beside) {
                    if value.is_nan() {
                        *value = beside;
                    }
                }
            }
        }
    }
    let fold = keys
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
    unpacking: &mut Unpacking<'_>,
    field: usize,
    range: &std::ops::Range<usize>,
    out: &mut Vec<f32>,
) -> Result<(), CodecError> {
    let (start, section) = (out.len(), unpacking.section);
    let band = section.band_of(field).map(|band| &section.bands[band]);
    if let Some(band) = band
        && band.kind == FieldType::F32
        && matches!(band.present, Present::All)
        && band.count == 1
        && range.len() == section.rows
    {
        pack::unpack_numbers(band.values, section.rows, out)?;
        return Ok(());
    }
    let Some(column) = unpacking.column(field)? else {
        out.resize(start + range.len(), f32::NAN);
        return Ok(());
    };
    match &column.values {
        Values::F32(v) => out.extend_from_slice(&v[range.clone()]),
        Values::F64(v) => out.extend(v[range.clone()].iter().map(|x| *x as f32)),
        // By way of f64, as where it is one field with a column of floats: the same bits everywhere.
        Values::I64(v) => out.extend(v[range.clone()].iter().map(|x| *x as f64 as f32)),
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
