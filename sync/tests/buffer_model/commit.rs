//! Records of random streams, committed.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_sync::{
    block::{builder::BlockBuilder, codec::BlockBody, pack::Compression},
    buffer::{CommitError, WhenFull},
    sample::{Catalog, Sample, Split, Timestamp, Value},
};

use crate::{
    device::{BYTES_MAX, Device, HEADROOM_BYTES, Kept, Row, WIDE_FIELDS, fields, noise, value},
    ops::Kind,
};

impl Device {
    pub(crate) fn build(&mut self, rows: u16, salt: u64, kind: Kind) -> (Vec<BlockBody>, Vec<Row>) {
        let mut builder = BlockBuilder::new(Compression::Pco);
        let mut built = Vec::new();
        for n in 0..u64::from(rows) {
            let n = noise(salt.wrapping_add(n));
            let (schema_number, count) = match kind {
                Kind::Large => (2, 5),
                Kind::Wide if !n.is_multiple_of(3) => (3, WIDE_FIELDS),
                _ => (n % 2, 2 + (noise(salt) % 5) as usize),
            };
            let buffer = self.buffer.as_ref().unwrap();
            let name = format!("s{schema_number}");
            let known = buffer.catalog();
            let known = known.schema_named(&name).cloned();
            let known = known.filter(|schema| schema.fields.len() >= count);
            let schema = known.unwrap_or_else(|| {
                let declared = buffer.declare_schema(&name, &["device".into()], &fields(count));
                declared.unwrap()
            });
            let name = match kind {
                Kind::New(bytes) => {
                    let length = (n >> 8) as usize % usize::from(bytes);
                    format!("s{schema_number}/{n}-{}", "x".repeat(length))
                }
                _ => format!("s{schema_number}/{}", (n >> 8) % 5),
            };
            let is_new = buffer.catalog().stream_named(&name).is_none();
            let stream = buffer.declare_stream(schema.id, &name, &["d".into()]);
            let is_used = self.ids_used.contains(&stream.id);
            assert!(!is_new || !is_used, "{} is used twice", stream.id);
            self.ts += 1 + (n >> 16 & 0xFF) as i64;
            let mut values: Vec<Option<Value>> = schema
                .fields
                .iter()
                .enumerate()
                .map(|(i, field)| {
                    let n = noise(n.wrapping_add(i as u64));
                    (!n.is_multiple_of(4)).then(|| value(field.kind, n))
                })
                .collect();
            let text_bytes = match (kind, schema_number) {
                (Kind::Large, _) => 6_000,
                (_, 3) => noise(n) % 40_000,
                _ => 0,
            };
            if text_bytes > 0 {
                let digits = (0..text_bytes).map(|i| char::from(33 + (noise(n ^ i) % 90) as u8));
                let text: String = digits.collect();
                values[4] = Some(Value::Text(text.into()));
            }
            while values.last() == Some(&None) {
                values.pop();
            }
            let split = Split {
                is_train: !n.is_multiple_of(5),
                fold: (n % 3) as u8,
            };
            let row = Row {
                stream: stream.id,
                ts: self.ts,
                split,
                source_ts: n.is_multiple_of(3).then_some(n as i64 >> 8),
                values: values.clone(),
            };
            let (ts, source_ts) = (Timestamp(row.ts), row.source_ts);
            let sample = Sample {
                stream: stream.id,
                ts,
                split,
                source_ts,
                values: values.into(),
            };
            builder.push(&schema, sample).unwrap();
            built.push(row);
        }
        (builder.finish(), built)
    }

    /// Commits; false if the buffer was full.
    pub(crate) fn commit(&mut self, rows: u16, salt: u64, kind: Kind) -> bool {
        let (bodies, rows) = self.build(rows, salt, kind);
        let before = self.buffer().shape();
        let mut bytes: u64 = bodies.iter().map(|body| body.encoded_bytes() as u64).sum();
        if let Kind::New(name_bytes) = kind {
            bytes += rows.len() as u64 * (u64::from(name_bytes) + 64);
        }
        let result = self.buffer().commit(&bodies, &[]);
        let trimmed = before.oldest_seq.max(self.uploaded)..self.buffer().oldest_seq();
        // A damaged generation may have gone before the others.
        let trimmed = self
            .blocks
            .range(trimmed.start..trimmed.end.max(trimmed.start));
        let kept = trimmed.filter(|(_, kept)| !self.damaged.contains(&kept.generation));
        let dropped: u64 = kept.map(|(_, kept)| kept.rows.len() as u64).sum();
        assert!(
            dropped == 0 || self.options.when_full == WhenFull::DropOldest,
            "{dropped} rows went"
        );
        self.dropped += dropped;
        match result {
            Ok(next_seq) => {
                assert!(!self.disk_full, "committed to a full disk");
                let first_seq = next_seq - bodies.len() as u64;
                assert_eq!(first_seq, before.next_seq);
                let generation = *self.generations().last().unwrap();
                let (mut rest, mut first_row) = (&rows[..], before.rows_total);
                for (seq, body) in (first_seq..).zip(&bodies) {
                    let (here, later) = rest.split_at(body.rows as usize);
                    rest = later;
                    let kept = Kept {
                        first_row,
                        rows: here.to_vec(),
                        generation,
                    };
                    let used = self.blocks.insert(seq, kept);
                    assert!(
                        used.is_none_or(|used| self.damaged.contains(&used.generation)),
                        "number {seq} is used twice"
                    );
                    first_row += u64::from(body.rows);
                }
                assert!(rest.is_empty());
                self.next_seq = next_seq;
                self.schemas = Catalog::clone(&self.buffer().catalog());
                for row in &rows {
                    let name = &self.schemas.stream(row.stream).unwrap().name;
                    self.names.insert(row.stream, name.clone());
                    self.ids_used.insert(row.stream);
                }
                true
            }
            Err(CommitError::Full(why)) => {
                // It may have to begin a generation. sled's threads may have written since `before`.
                let used = before.bytes.max(self.buffer().shape().bytes);
                let short = used + 2 * bytes + 2 * HEADROOM_BYTES > BYTES_MAX;
                assert!(
                    short || self.disk_full,
                    "refused {bytes} with room to spare: {why}, {before:?}"
                );
                let policy = self.options.when_full;
                assert!(policy == WhenFull::Block || self.disk_full, "{why}");
                assert_eq!(self.buffer().stats().full.load(Relaxed), 1);
                assert_eq!(self.buffer().next_seq(), before.next_seq);
                let newest = self.buffer().shape().newest_ts;
                assert_eq!(newest, before.newest_ts);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }
}
