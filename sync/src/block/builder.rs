//! Gathers samples into blocks.
//!
//! Promises: it takes every record that [`Fitted`] lets through; every block it hands out is at most
//! [`BLOCK_BYTES_MAX`] encoded, or holds a single record; and the blocks of one commit follow each other
//! in time. (sled would write values of twice that size to separate files, which are never reclaimed and
//! do not survive a power cut: a larger block is stored in parts.)
//!
//! A record costs what it holds here too, however many fields its schema has.

use crate::{
    block::{
        codec::{self, BlockBody},
        pack::Compression,
        section::OpenSection,
    },
    sample::{RecordValues, Sample, Schema, SchemaId, Split, StreamId, Timestamp},
};

/// Most bytes of one encoded block of several records.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of one record, counted as [`RecordValues::record_bytes`] does.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Most values of one record, so also most fields worth having in a schema.
pub const FIELDS_MAX: usize = 4_096;

/// Most bytes of one block before compression, unless it is of one record; bounds the memory a reader
/// needs.
const RAW_BYTES_MAX: usize = 64 * 1024;
const RAW_BYTES_MIN: usize = 6 * 1024;

/// A record that no block can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Larger than [`RECORD_BYTES_MAX`], or of more values than [`FIELDS_MAX`].
    #[error(
        "a record of {bytes} bytes in {values} fields; the most are {RECORD_BYTES_MAX} bytes in \
         {FIELDS_MAX} fields: send its fields in several records, or shorter texts"
    )]
    TooLarge {
        /// Its size before compression.
        bytes: usize,
        /// How many values it has.
        values: usize,
    },
    /// A value's type is not its field's.
    #[error("field {field}: value of another type than {expected}")]
    WrongType {
        /// The field's name.
        field: String,
        /// What the field holds.
        expected: &'static str,
    },
    /// A value for a field that the schema does not have.
    #[error("a value for field number {field}; the schema has {fields}")]
    NoField {
        /// Its position, from 0.
        field: usize,
        /// Fields of the schema.
        fields: usize,
    },
}

/// Whether a block can take a record with these values, as far as its size goes.
///
/// # Errors
/// [`PushError::TooLarge`]
pub fn check_size(values: &RecordValues) -> Result<(), PushError> {
    let bytes = values.record_bytes();
    if bytes > RECORD_BYTES_MAX || values.len() > FIELDS_MAX {
        let values = values.len();
        return Err(PushError::TooLarge { bytes, values });
    }
    Ok(())
}

/// The values of a record that a block can take: what no later step may refuse.
#[derive(Debug)]
pub struct Fitted {
    schema: SchemaId,
    values: RecordValues,
}

impl Fitted {
    /// `values` of a record of `schema`.
    ///
    /// # Errors
    /// [`PushError`] if no block can take it.
    pub fn new(schema: &Schema, values: RecordValues) -> Result<Self, PushError> {
        check_size(&values)?;
        for (position, value) in values.iter() {
            let Some(field) = schema.fields.get(position) else {
                let fields = schema.fields.len();
                return Err(PushError::NoField {
                    field: position,
                    fields,
                });
            };
            if value.kind() != field.kind {
                let expected = field.kind.name();
                return Err(PushError::WrongType {
                    field: field.name.clone(),
                    expected,
                });
            }
        }
        Ok(Self {
            schema: schema.id,
            values,
        })
    }
}

/// Collects samples and encodes them, full block by full block.
#[derive(Debug)]
pub struct BlockBuilder {
    compression: Compression,
    open: Vec<OpenSection>,
    open_bytes: usize,
    open_rows: usize,
    /// Uncompressed bytes that fill a block, learnt from the blocks before.
    raw_bytes_target: usize,
    done: Vec<BlockBody>,
    done_bytes: usize,
    largest_bytes: usize,
}

impl BlockBuilder {
    /// An empty one.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            open: Vec::new(),
            open_bytes: 0,
            open_rows: 0,
            raw_bytes_target: BLOCK_BYTES_MAX,
            done: Vec::new(),
            done_bytes: 0,
            largest_bytes: 0,
        }
    }

    /// Adds a sample. Timestamps must increase from call to call; `schema` is the sample's own.
    /// A refused sample leaves nothing behind.
    ///
    /// # Errors
    /// [`PushError`] if no block can take it.
    pub fn push(&mut self, schema: &Schema, sample: Sample) -> Result<(), PushError> {
        let values = Fitted::new(schema, sample.values)?;
        self.push_fitted(
            values,
            sample.stream,
            sample.ts,
            sample.split,
            sample.source_ts,
        );
        Ok(())
    }

    /// Adds a record of `stream`. Timestamps must increase from call to call.
    pub fn push_fitted(
        &mut self,
        record: Fitted,
        stream: StreamId,
        ts: Timestamp,
        split: Split,
        source_ts: Option<i64>,
    ) {
        let Fitted { schema, values } = record;
        let bytes = values.record_bytes();
        let find = |open: &[OpenSection]| open.iter().position(|section| section.schema == schema);
        let mut index = find(&self.open);
        if self.open_rows > 0 {
            // Every value may turn out to be the first of its field.
            let cells = self.open.iter().enumerate().map(|(other, section)| {
                if Some(other) == index {
                    (section.streams.len() + 1) * (section.columns.len() + values.len())
                } else {
                    section.cells()
                }
            });
            if self.open_bytes + bytes > self.raw_bytes_target
                || cells.sum::<usize>() > codec::CELLS_MAX
            {
                self.close();
                index = None;
            }
        }
        let index = index.unwrap_or_else(|| {
            self.open.push(OpenSection::of(schema));
            self.open.len() - 1
        });
        self.open[index].push(values, stream, ts, split, source_ts);
        self.open_bytes += bytes;
        self.open_rows += 1;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.open_rows == 0 && self.done.is_empty()
    }

    /// Whether at least one block is full.
    pub fn has_full_block(&self) -> bool {
        !self.done.is_empty()
    }

    /// Encoded bytes of the full blocks.
    pub fn full_bytes(&self) -> usize {
        self.done_bytes
    }

    /// Encoded bytes of the largest block since the last but one call of [`BlockBuilder::finish`]: what
    /// the next one may take.
    pub fn largest_bytes(&self) -> usize {
        self.largest_bytes
    }

    /// Everything pushed so far, as blocks in time order; the builder is empty afterwards.
    pub fn finish(&mut self) -> Vec<BlockBody> {
        if self.open_rows > 0 {
            self.close();
        }
        self.done_bytes = 0;
        let sizes = self.done.iter().map(BlockBody::encoded_bytes);
        self.largest_bytes = sizes.max().unwrap_or_default();
        std::mem::take(&mut self.done)
    }

    fn close(&mut self) {
        let raw_bytes = self.open_bytes;
        let open = std::mem::take(&mut self.open);
        let blocks_before = self.done.len();
        let encoded_bytes = self.encode(open);
        if self.done.len() == blocks_before + 1 || encoded_bytes > BLOCK_BYTES_MAX {
            // Aim a little below the bound, so that few blocks must be halved. The product outgrows 32 bits.
            let full = raw_bytes as u64 * BLOCK_BYTES_MAX as u64 * 9 / 10;
            let full = (full / encoded_bytes.max(1) as u64) as usize;
            let target = usize::midpoint(full, self.raw_bytes_target);
            self.raw_bytes_target = target.clamp(RAW_BYTES_MIN, RAW_BYTES_MAX);
        }
        self.open_bytes = 0;
        self.open_rows = 0;
    }

    /// Encodes the sections as one block, or as halves in time if one of several records is too large;
    /// returns the size that the whole had or would have had.
    fn encode(&mut self, mut sections: Vec<OpenSection>) -> usize {
        let body = codec::encode(&sections, self.compression);
        let bytes = body.encoded_bytes();
        if bytes <= BLOCK_BYTES_MAX || body.rows == 1 {
            self.done_bytes += bytes;
            self.largest_bytes = self.largest_bytes.max(bytes);
            self.done.push(body);
            return bytes;
        }
        let mut times: Vec<i64> = sections
            .iter()
            .flat_map(|s| s.keys.ts.iter().copied())
            .collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        let mut later: Vec<_> = sections.iter_mut().map(|s| s.split_off(middle)).collect();
        sections.retain(|section| !section.streams.is_empty());
        later.retain(|section| !section.streams.is_empty());
        self.encode(sections);
        self.encode(later);
        bytes
    }
}

#[cfg(test)]
mod tests;
