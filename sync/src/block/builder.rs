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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sample::{Field, FieldType, Value};

    fn schema(id: SchemaId, kinds: &[FieldType]) -> Schema {
        let fields = kinds.iter().enumerate();
        let fields = fields
            .map(|(i, kind)| Field {
                name: format!("f{i}"),
                kind: *kind,
            })
            .collect();
        Schema {
            id,
            name: format!("s{id}"),
            tag_names: vec!["device".into()],
            fields,
        }
    }

    fn sample(stream: StreamId, ts: i64, values: Vec<Option<Value>>) -> Sample {
        let split = Split {
            is_train: ts % 5 != 0,
            fold: 0,
        };
        Sample {
            stream,
            ts: Timestamp(ts),
            split,
            source_ts: None,
            values: values.into(),
        }
    }

    #[test]
    fn blocks_never_exceed_the_bound_and_follow_each_other_in_time() {
        let numbers = schema(0, &[FieldType::F64, FieldType::F64]);
        let texts = schema(1, &[FieldType::Text]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        let mut state = 1_u64;
        for ts in 0..20_000_i64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let noise = f64::from_bits(state >> 2);
            if ts % 97 == 0 {
                let text: String = (0..6000)
                    .map(|i| char::from(33 + ((state >> (i % 50)) % 90) as u8))
                    .collect();
                builder
                    .push(&texts, sample(9, ts, vec![Some(Value::Text(text.into()))]))
                    .unwrap();
            } else {
                let values = vec![
                    Some(Value::F64(noise)),
                    (ts % 3 == 0).then_some(Value::F64(1.0)),
                ];
                builder
                    .push(&numbers, sample((ts % 7) as u32, ts, values))
                    .unwrap();
            }
        }
        let blocks = builder.finish();
        assert!(builder.is_empty());
        let mut next_ts = 0;
        for block in &blocks {
            assert!(
                block.encoded_bytes() <= BLOCK_BYTES_MAX,
                "{} bytes",
                block.encoded_bytes()
            );
            assert_eq!(block.first_ts, next_ts);
            next_ts = block.last_ts + 1;
        }
        assert_eq!(next_ts, 20_000);
        assert_eq!(
            blocks.iter().map(|b| u64::from(b.rows)).sum::<u64>(),
            20_000
        );
    }

    #[test]
    fn a_sample_that_cannot_fit_is_refused_and_leaves_nothing() {
        let texts = schema(0, &[FieldType::Text]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        let text = |bytes: usize| vec![Some(Value::Text("x".repeat(bytes).into()))];
        let bound = RECORD_BYTES_MAX - 27;
        let refused = builder.push(&texts, sample(0, 1, text(bound + 1)));
        let error = refused.unwrap_err();
        assert!(matches!(error, PushError::TooLarge { .. }));
        let said = error.to_string();
        assert!(
            said.contains("65537 bytes") && said.contains("65536") && said.contains("several"),
            "{said}"
        );
        let number = vec![Some(Value::F64(1.0))];
        assert!(matches!(
            builder.push(&texts, sample(0, 1, number)),
            Err(PushError::WrongType { .. })
        ));
        let second = vec![None, Some(Value::F64(1.0))];
        assert!(matches!(
            builder.push(&texts, sample(0, 1, second)),
            Err(PushError::NoField {
                field: 1,
                fields: 1
            })
        ));
        assert!(builder.is_empty() && builder.finish().is_empty());
        builder.push(&texts, sample(0, 1, text(bound))).unwrap();
        assert_eq!(builder.finish().len(), 1);
    }

    #[test]
    fn a_small_sample_may_follow_a_wide_one() {
        let kinds = [vec![FieldType::Text], vec![FieldType::Bool; 1_100]].concat();
        let wide = schema(0, &kinds);
        let mut builder = BlockBuilder::new(Compression::Pco);
        let text = |seed: u64, bytes: u64| {
            let noise = |i: u64| (seed + i).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
            let text: String = (0..bytes).map(|i| char::from(noise(i) as u8)).collect();
            vec![Some(Value::Text(text.into()))]
        };
        let flags = [text(1, 1), vec![Some(Value::Bool(true)); 1_000]].concat();
        builder.push(&wide, sample(0, 1, flags)).unwrap();
        for ts in 2..5 {
            let values = text(ts as u64, 6_000);
            builder.push(&wide, sample(0, ts, values)).unwrap();
        }
        let blocks = builder.finish();
        assert_eq!(blocks.iter().map(|block| block.rows).sum::<u32>(), 4);
        assert!(
            blocks
                .iter()
                .all(|block| block.encoded_bytes() <= BLOCK_BYTES_MAX)
        );
    }

    #[test]
    fn a_block_above_the_bound_holds_one_record_and_fits_a_put() {
        // What the buffer can put at once without beginning a generation.
        const PUT_BYTES_MAX: usize = 128 << 10;
        for kind in [FieldType::Bool, FieldType::F64, FieldType::Text] {
            // Fields apart from each other, values that cannot be packed.
            let wide = schema(0, &vec![kind; 2 * FIELDS_MAX]);
            let mut builder = BlockBuilder::new(Compression::Pco);
            for ts in 0..4_u64 {
                let noise = |n: usize| (ts << 20 | n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let values = (0..2 * FIELDS_MAX).map(|n| match (kind, n % 2) {
                    (_, 1) => None,
                    (FieldType::Bool, _) => Some(Value::Bool(true)),
                    (FieldType::F64, _) => Some(Value::F64(f64::from_bits(noise(n) >> 2))),
                    _ => Some(Value::Text(format!("{:011x}", noise(n) >> 20).into())),
                });
                let values = values.collect();
                builder.push(&wide, sample(0, ts as i64, values)).unwrap();
            }
            let blocks = builder.finish();
            assert_eq!(blocks.iter().map(|block| block.rows).sum::<u32>(), 4);
            for block in blocks {
                assert!(block.encoded_bytes() <= BLOCK_BYTES_MAX || block.rows == 1);
                assert!(block.encoded_bytes() < PUT_BYTES_MAX - BLOCK_BYTES_MAX);
            }
        }
    }

    #[test]
    fn a_record_of_one_field_costs_one_field_wherever_it_lies() {
        let blocks_of = |field: &dyn Fn(i64) -> usize| {
            let wide = schema(0, &vec![FieldType::F64; FIELDS_MAX]);
            let mut builder = BlockBuilder::new(Compression::Pco);
            for ts in 0..5_000 {
                let mut values = vec![None; field(ts)];
                values.push(Some(Value::F64(f64::from_bits(
                    (ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2,
                ))));
                builder.push(&wide, sample(0, ts, values)).unwrap();
            }
            let blocks = builder.finish();
            blocks.iter().map(BlockBody::encoded_bytes).sum::<usize>()
        };
        let (first, last) = (blocks_of(&|_| 0), blocks_of(&|_| FIELDS_MAX - 1));
        assert!(last < first * 11 / 10, "{first} bytes, at the end {last}");
        let everywhere = blocks_of(&|ts| (ts * 7919 % FIELDS_MAX as i64) as usize);
        assert!(
            everywhere < 5_000 * 40,
            "{everywhere} bytes for 5,000 records"
        );
    }

    #[test]
    fn the_target_learns_what_compresses_well() {
        let numbers = schema(0, &[FieldType::F64]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        for ts in 0..200_000 {
            builder
                .push(&numbers, sample(0, ts, vec![Some(Value::F64(21.5))]))
                .unwrap();
        }
        let blocks = builder.finish();
        assert!(blocks.len() < 120, "{} blocks", blocks.len());
    }
}
