//! Columns as one `TDengine` raw block, built in one pass.
//!
//! ```text
//! header   version 1, bytes, rows, columns, flags: u32 each; group: u64; little-endian
//! schemas  a column: type u8, bytes of a value u32 (0 where they vary)
//! lengths  a column: bytes of its values u32
//! columns  fixed width: a bit a row (most significant first, set if missing), then the values
//!          texts: an i32 a row (where it starts, -1 if missing), then length u16 and bytes of each
//! ```
//!
//! The connector's own builder makes several copies on the way, and is unsound in two places.

use taos::{Precision, RawBlock, Ty};

const HEADER_BYTES: usize = 28;

pub(super) struct BlockBuilder {
    rows: usize,
    schemas: Vec<u8>,
    lengths: Vec<u8>,
    data: Vec<u8>,
    names: Vec<String>,
}

impl BlockBuilder {
    /// For `rows` rows, reserving `bytes` for the values.
    pub(super) fn new(rows: usize, bytes: usize) -> Self {
        Self {
            rows,
            schemas: Vec::new(),
            lengths: Vec::new(),
            data: Vec::with_capacity(bytes),
            names: Vec::new(),
        }
    }

    fn head(&mut self, name: &str, ty: Ty, value_bytes: usize) {
        self.names.push(name.to_owned());
        self.schemas.push(ty as u8);
        self.schemas
            .extend_from_slice(&(value_bytes as u32).to_le_bytes());
    }

    fn length(&mut self, bytes: usize) {
        self.lengths
            .extend_from_slice(&(bytes as u32).to_le_bytes());
    }

    /// A column of fixed width: little-endian bytes, `None` where missing, one value a row.
    pub(super) fn fixed<const BYTES: usize>(
        &mut self,
        name: &str,
        ty: Ty,
        values: impl Iterator<Item = Option<[u8; BYTES]>>,
    ) {
        self.head(name, ty, BYTES);
        let missing = self.data.len();
        self.data.resize(missing + self.rows.div_ceil(8), 0);
        for (row, value) in values.enumerate() {
            if value.is_none() {
                self.data[missing + row / 8] |= 0x80 >> (row % 8);
            }
            self.data.extend_from_slice(&value.unwrap_or([0; BYTES]));
        }
        self.length(self.rows * BYTES);
    }

    /// A VARCHAR column: texts of at most 65,535 bytes, one a row.
    pub(super) fn texts<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = Option<&'a str>> + Clone,
    ) {
        self.head(name, Ty::VarChar, 0);
        let mut start = 0_i32;
        for text in values.clone() {
            let offset = if text.is_some() { start } else { -1 };
            self.data.extend_from_slice(&offset.to_le_bytes());
            start += text.map_or(0, |text| text.len() as i32 + 2);
        }
        for text in values.flatten() {
            self.data
                .extend_from_slice(&(text.len() as u16).to_le_bytes());
            self.data.extend_from_slice(text.as_bytes());
        }
        self.length(start as usize);
    }

    /// The block, for subtable `table`.
    pub(super) fn finish(self, table: &str) -> RawBlock {
        let head = HEADER_BYTES + self.schemas.len() + self.lengths.len();
        let mut bytes = Vec::with_capacity(head + self.data.len());
        let total = (head + self.data.len()) as u32;
        for word in [
            1,
            total,
            self.rows as u32,
            self.names.len() as u32,
            u32::MAX,
            0,
            0,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for part in [self.schemas, self.lengths, self.data] {
            bytes.extend_from_slice(&part);
        }
        let mut block = RawBlock::parse_from_raw_block(bytes, Precision::Nanosecond);
        block.with_table_name(table);
        block.with_field_names(self.names);
        block
    }
}

#[cfg(test)]
mod tests;
