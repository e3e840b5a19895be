//! Bands as columns.

use super::{
    CodecError,
    stored::{Present, SectionRef},
};
use crate::{
    block::pack::{self, PackedRef},
    rows::{Column, Columns, Values},
    sample::FieldType,
};

fn unpack_values(
    kind: FieldType,
    packed: PackedRef<'_>,
    count: usize,
) -> Result<Values, CodecError> {
    Ok(match kind {
        FieldType::F64 => Values::F64(numbers(packed, count)?),
        FieldType::F32 => Values::F32(numbers(packed, count)?),
        FieldType::I64 => Values::I64(numbers(packed, count)?),
        FieldType::Bool => Values::Bool(pack::unpack_flags(packed, count)?),
        FieldType::Text => Values::Text(pack::unpack_texts(packed, count)?),
    })
}

fn numbers<T: pack::Number>(packed: PackedRef<'_>, count: usize) -> Result<Vec<T>, CodecError> {
    let mut out = Vec::with_capacity(count);
    pack::unpack_numbers(packed, count, &mut out)?;
    Ok(out)
}

impl SectionRef<'_> {
    /// The number of the band that has the field at position `field`.
    pub(super) fn band_of(&self, field: usize) -> Option<usize> {
        let after = self.bands.partition_point(|band| band.first <= field);
        let band = after.checked_sub(1)?;
        (field < self.bands[band].first + self.bands[band].count).then_some(band)
    }
}

/// Unpacks columns of a section, each band once while its columns are asked for in a row.
pub(super) struct Unpacking<'a> {
    pub(super) section: &'a SectionRef<'a>,
    /// A band of several columns, by number, and all its values.
    open: Option<(usize, Values)>,
}

impl<'a> Unpacking<'a> {
    pub(super) const fn new(section: &'a SectionRef<'a>) -> Self {
        Self {
            section,
            open: None,
        }
    }

    /// The column of the field at position `field`; `None` if no row has a value.
    pub(super) fn column(&mut self, field: usize) -> Result<Option<Column>, CodecError> {
        let Some(number) = self.section.band_of(field) else {
            return Ok(None);
        };
        let (band, rows) = (&self.section.bands[number], self.section.rows);
        if band.count > 1 {
            if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
                let values = unpack_values(band.kind, band.values, rows * band.count)?;
                self.open = Some((number, values));
            }
            let mut values = Values::empty(band.kind);
            if let Some((_, all)) = &self.open {
                let start = (field - band.first) * rows;
                values.extend_from(all, start..start + rows);
            }
            let present = None;
            return Ok(Some(Column { values, present }));
        }
        let (values, present) = match band.present {
            Present::All => (unpack_values(band.kind, band.values, rows)?, None),
            Present::Padded(bits) => {
                let flags = pack::unpack_bits(bits, rows)?;
                (unpack_values(band.kind, band.values, rows)?, Some(flags))
            }
            Present::Some(packed) => {
                let flags = pack::unpack_rows(packed, rows)?;
                let count = flags.iter().filter(|there| **there).count();
                let values = unpack_values(band.kind, band.values, count)?;
                (values.spread(&flags), Some(flags))
            }
        };
        Ok(Some(Column { values, present }))
    }

    /// All columns that have a value.
    pub(super) fn columns(&mut self) -> Result<Columns, CodecError> {
        let mut columns = Columns::default();
        for band in &self.section.bands {
            for field in band.first..band.first + band.count {
                if let Some(column) = self.column(field)? {
                    columns.insert(field, column);
                }
            }
        }
        Ok(columns)
    }
}
