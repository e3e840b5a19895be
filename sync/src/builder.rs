//! Gathers samples into blocks.
//!
//! Promises: every block it hands out is at most [`BLOCK_BYTES_MAX`] encoded (sled would write larger
//! values to separate files, which are never reclaimed and do not survive a power cut), and the
//! blocks of one commit follow each other in time.

use crate::{
    codec::{self, BlockBody},
    pack::Compression,
    rows::{Column, Rows},
    sample::{Sample, Schema, SchemaId, StreamId},
};

/// Most bytes of one encoded block.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of one sample before compression: leaves room for names, lengths and checksums.
pub const SAMPLE_BYTES_MAX: usize = 6_500;

/// Bytes that a column of a single row takes in a block beside its value, at most.
const COLUMN_BYTES: usize = 6;
/// Bytes that a block of a single row takes beside its columns, at most.
const ROW_BYTES: usize = 128;

/// Most bytes of one block before compression; bounds the memory a reader needs.
const RAW_BYTES_MAX: usize = 64 * 1024;
const RAW_BYTES_MIN: usize = 6 * 1024;

/// A sample that no block can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Larger than [`SAMPLE_BYTES_MAX`], or of so many fields that their columns do not fit.
    #[error(
        "a record of {bytes} bytes; at most {SAMPLE_BYTES_MAX} fit a block, less the more fields it has"
    )]
    TooLarge {
        /// Its size before compression.
        bytes: usize,
    },
    /// A value's type is not its field's.
    #[error("field {field}: value of another type than {expected}")]
    WrongType {
        /// The field's name.
        field: String,
        /// What the field holds.
        expected: &'static str,
    },
}

/// Rows of one schema in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct OpenSection {
    pub(crate) schema: SchemaId,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) rows: Rows,
}

impl OpenSection {
    fn push(&mut self, schema: &Schema, sample: Sample) {
        for (index, field) in schema
            .fields
            .iter()
            .enumerate()
            .skip(self.rows.columns.len())
        {
            if index >= sample.values.len() {
                break;
            }
            self.rows
                .columns
                .push(Column::missing(field.kind, self.streams.len()));
        }
        self.streams.push(sample.stream);
        self.rows.ts.push(sample.ts.0);
        self.rows.is_train.push(sample.split.is_train);
        self.rows.fold.push(sample.split.fold);
        self.rows.source_ts.push(sample.source_ts);
        let mut values = sample.values.into_iter();
        for column in &mut self.rows.columns {
            // Types were checked before anything was touched.
            let _checked = column.push(values.next().flatten());
        }
    }

    /// The rows at or after `ts` go to the result, the others stay.
    fn split_off(&mut self, ts: i64) -> Self {
        let at = self.rows.ts.partition_point(|t| *t < ts);
        let mut later = Self {
            schema: self.schema,
            ..Self::default()
        };
        later.streams = self.streams.split_off(at);
        let rows = self.rows.len();
        later.rows.extend_from(&self.rows, at..rows);
        let mut earlier = Rows::default();
        earlier.extend_from(&self.rows, 0..at);
        self.rows = earlier;
        later
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
        }
    }

    /// Adds a sample. Timestamps must increase from call to call; `schema` is the sample's own.
    /// A refused sample leaves nothing behind.
    ///
    /// # Errors
    /// [`PushError`] if no block can take it.
    pub fn push(&mut self, schema: &Schema, sample: Sample) -> Result<(), PushError> {
        let bytes = sample.bytes();
        let columns = sample.values.iter().rposition(Option::is_some);
        // Alone in a block it must fit, whatever its neighbours are: blocks are halved down to that.
        let alone = bytes + columns.map_or(0, |last| last + 1) * COLUMN_BYTES + ROW_BYTES;
        if bytes > SAMPLE_BYTES_MAX || alone > BLOCK_BYTES_MAX {
            return Err(PushError::TooLarge { bytes });
        }
        for (field, value) in schema.fields.iter().zip(&sample.values) {
            if value
                .as_ref()
                .is_some_and(|value| value.kind() != field.kind)
            {
                let expected = field.kind.name();
                return Err(PushError::WrongType {
                    field: field.name.clone(),
                    expected,
                });
            }
        }
        if self.open_bytes + bytes > self.raw_bytes_target && self.open_rows > 0 {
            self.close();
        }
        let index = self
            .open
            .iter()
            .position(|section| section.schema == schema.id);
        let index = index.unwrap_or_else(|| {
            self.open.push(OpenSection {
                schema: schema.id,
                ..OpenSection::default()
            });
            self.open.len() - 1
        });
        self.open[index].push(schema, sample);
        self.open_bytes += bytes;
        self.open_rows += 1;
        Ok(())
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

    /// Everything pushed so far, as blocks in time order; the builder is empty afterwards.
    pub fn finish(&mut self) -> Vec<BlockBody> {
        if self.open_rows > 0 {
            self.close();
        }
        self.done_bytes = 0;
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

    /// Encodes the sections as one block, or as halves in time if one is too large; returns the size
    /// that the whole had or would have had.
    fn encode(&mut self, mut sections: Vec<OpenSection>) -> usize {
        let body = codec::encode(&sections, self.compression);
        let bytes = body.encoded_bytes();
        if bytes <= BLOCK_BYTES_MAX {
            self.done_bytes += bytes;
            self.done.push(body);
            return bytes;
        }
        let mut times: Vec<i64> = sections
            .iter()
            .flat_map(|s| s.rows.ts.iter().copied())
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
    use crate::sample::{Field, FieldType, Split, Timestamp, Value};

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
            values,
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
        let text = Some(Value::Text("x".repeat(SAMPLE_BYTES_MAX).into()));
        assert!(matches!(
            builder.push(&texts, sample(0, 1, vec![text])),
            Err(PushError::TooLarge { .. })
        ));
        let number = vec![Some(Value::F64(1.0))];
        assert!(matches!(
            builder.push(&texts, sample(0, 1, number)),
            Err(PushError::WrongType { .. })
        ));
        assert!(builder.is_empty() && builder.finish().is_empty());
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
    fn a_sample_of_very_many_fields_is_refused_if_its_columns_fill_a_block() {
        let mut refused = 0;
        for fields in (900..4_000).step_by(20) {
            for kind in [FieldType::Bool, FieldType::I64, FieldType::Text] {
                let wide = schema(0, &vec![kind; fields]);
                let mut builder = BlockBuilder::new(Compression::Pco);
                let values = (0..fields).map(|n| match (kind, n % 2) {
                    (_, 1) => None,
                    (FieldType::Bool, _) => Some(Value::Bool(true)),
                    (FieldType::I64, _) => Some(Value::I64(n as i64)),
                    _ => Some(Value::Text("t".into())),
                });
                match builder.push(&wide, sample(0, 1, values.collect())) {
                    Ok(()) => {
                        let blocks = builder.finish();
                        assert_eq!(blocks.len(), 1);
                        assert!(blocks[0].encoded_bytes() <= BLOCK_BYTES_MAX);
                    }
                    Err(error) => {
                        assert!(matches!(error, PushError::TooLarge { .. }));
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 100);
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
