//! Stored bytes as sections and bands, of any format, checked before anything is unpacked.

use bincode::{BorrowDecode, config};

use super::{CodecError, Header};
use crate::{block::pack::PackedRef, files::frame, sample::FieldType};

/// Most rows a block may claim; more is corruption.
const ROWS_MAX: usize = 1 << 17;
/// Most cells of a block: rows times columns that have values. The builder keeps to it.
pub(crate) const CELLS_MAX: usize = 1 << 18;
/// The same for blocks of format 1, whose builder counted bytes alone: 64 KiB of rows, a block full of
/// columns.
const CELLS_MAX_1: usize = 1 << 22;
/// Highest position of a field that is believed.
const FIELD_MAX: u64 = u16::MAX as u64;
#[derive(BorrowDecode)]
pub(super) struct KeysRef<'a> {
    pub(super) schema: u32,
    pub(super) runs: Vec<(u32, u32)>,
    pub(super) ts: PackedRef<'a>,
    pub(super) is_train: &'a [u8],
    pub(super) fold: Option<&'a [u8]>,
    pub(super) source_ts: Option<(&'a [u8], PackedRef<'a>)>,
}

#[derive(BorrowDecode)]
struct WireSectionRef<'a> {
    keys: KeysRef<'a>,
    bands: Vec<WireBandRef<'a>>,
}

#[derive(BorrowDecode)]
struct WireBandRef<'a> {
    skip: u32,
    kind: u8,
    count: u32,
    present: Option<PackedRef<'a>>,
    values: PackedRef<'a>,
}

/// A section of format 1.
#[derive(BorrowDecode)]
struct WireSectionRef1<'a> {
    keys: KeysRef<'a>,
    columns: Vec<WireColumnRef1<'a>>,
}

#[derive(BorrowDecode)]
struct WireColumnRef1<'a> {
    kind: u8,
    /// `None`: every row has a value. An empty mask: no row has one, and nothing is packed.
    present: Option<&'a [u8]>,
    values: PackedRef<'a>,
}

/// A section as it lies in a block of any format, checked as far as memory depends on it.
pub(super) struct SectionRef<'a> {
    pub(super) keys: KeysRef<'a>,
    pub(super) rows: usize,
    pub(super) bands: Vec<BandRef<'a>>,
}

pub(super) struct BandRef<'a> {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) kind: FieldType,
    pub(super) present: Present<'a>,
    pub(super) values: PackedRef<'a>,
}

/// Which rows have a value.
#[derive(Clone, Copy)]
pub(super) enum Present<'a> {
    All,
    /// These, and the others have none.
    Some(PackedRef<'a>),
    /// These, and the others have a zero that counts for nothing.
    Padded(&'a [u8]),
}

pub(super) const fn kind_code(kind: FieldType) -> u8 {
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

/// Format, header and sections of stored bytes.
pub(super) fn opened(stored: &[u8]) -> Result<(u8, Header, &[u8]), CodecError> {
    let (format, body) = frame::unseal_any(stored).map_err(|e| CodecError(e.to_string()))?;
    let (header, used) = bincode::borrow_decode_from_slice::<Header, _>(body, config::standard())
        .map_err(|e| CodecError(e.to_string()))?;
    Ok((format, header, &body[used..]))
}

/// Header and sections of stored bytes. What the sections claim is bounded.
pub(super) fn header_and_sections(
    stored: &[u8],
) -> Result<(Header, Vec<SectionRef<'_>>), CodecError> {
    let (format, header, rest) = opened(stored)?;
    let (sections, cells_max) = if format == 1 {
        let wire: Vec<WireSectionRef1<'_>> = wire_sections(rest)?;
        let sections = wire.into_iter().map(section_1).collect::<Result<_, _>>();
        (sections, CELLS_MAX_1)
    } else {
        let wire: Vec<WireSectionRef<'_>> = wire_sections(rest)?;
        let sections = wire.into_iter().map(section_2).collect::<Result<_, _>>();
        (sections, CELLS_MAX)
    };
    let sections: Vec<SectionRef<'_>> = sections?;
    let (mut rows, mut cells) = (0_u64, 0_u64);
    for section in &sections {
        let columns: u64 = section.bands.iter().map(|band| band.count as u64).sum();
        // Both are far below where a product of 64 bits would come round.
        rows += section.rows as u64;
        cells += columns * section.rows as u64;
    }
    if rows > ROWS_MAX as u64 || cells > cells_max as u64 {
        Err(CodecError(format!("{rows} rows, {cells} cells")))
    } else if rows != u64::from(header.rows) {
        Err(CodecError("row count differs from the header's".into()))
    } else {
        Ok((header, sections))
    }
}

fn wire_sections<'a, T: BorrowDecode<'a, ()>>(rest: &'a [u8]) -> Result<Vec<T>, CodecError> {
    let config = config::standard().with_limit::<{ frame::DECODED_BYTES_MAX }>();
    let (sections, _) = bincode::borrow_decode_from_slice::<Vec<T>, _>(rest, config)
        .map_err(|e| CodecError(e.to_string()))?;
    Ok(sections)
}

fn section_1(wire: WireSectionRef1<'_>) -> Result<SectionRef<'_>, CodecError> {
    let rows = section_rows(&wire.keys)?;
    let mut bands = Vec::new();
    for (first, column) in wire.columns.into_iter().enumerate() {
        let present = match column.present {
            None => Present::All,
            Some([]) if rows > 0 => continue,
            Some(bits) => Present::Padded(bits),
        };
        bands.push(BandRef {
            first,
            count: 1,
            kind: kind_of(column.kind)?,
            present,
            values: column.values,
        });
    }
    Ok(SectionRef {
        keys: wire.keys,
        rows,
        bands,
    })
}

fn section_2(wire: WireSectionRef<'_>) -> Result<SectionRef<'_>, CodecError> {
    let rows = section_rows(&wire.keys)?;
    let mut bands = Vec::with_capacity(wire.bands.len());
    let mut next = 0_u64;
    for band in wire.bands {
        let first = next + u64::from(band.skip);
        next = first + u64::from(band.count);
        let alone = band.count == 1;
        if band.count == 0 || next > FIELD_MAX + 1 || (!alone && band.present.is_some()) {
            return Err(CodecError(format!("{} columns from {first}", band.count)));
        }
        bands.push(BandRef {
            first: first as usize,
            count: band.count as usize,
            kind: kind_of(band.kind)?,
            present: band.present.map_or(Present::All, Present::Some),
            values: band.values,
        });
    }
    Ok(SectionRef {
        keys: wire.keys,
        rows,
        bands,
    })
}

fn section_rows(keys: &KeysRef<'_>) -> Result<usize, CodecError> {
    // Wider than `usize` on 32-bit devices, where a sum could come round to few rows.
    let rows: u64 = keys.runs.iter().map(|(_, rows)| u64::from(*rows)).sum();
    if rows > ROWS_MAX as u64 {
        Err(CodecError(format!("{rows} rows")))
    } else {
        Ok(rows as usize)
    }
}
