//! What must be true at any moment.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use dunlin_sync::{
    block::Block,
    buffer::{Matrix, Order, Query, SplitFilter, WhenFull},
    sample::{TimeRange, Timestamp, Value},
};

use crate::{
    device::{BYTES_MAX, Device, HEADROOM_BYTES, Kept, Row, rows_of},
    ops::AnyQuery,
};

impl Device {
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_before + self.buffer().stats().rows_dropped.load(Relaxed)
    }

    /// Everything the buffer holds, block by block.
    pub(crate) fn present(&self) -> BTreeMap<u64, Block> {
        let buffer = self.buffer();
        let mut present = BTreeMap::new();
        let mut seq = buffer.oldest_seq();
        while seq < buffer.next_seq() {
            if let Some(block) = buffer.read_block(seq).unwrap() {
                assert_eq!(block.seq, seq);
                present.insert(seq, block);
            }
            let next = buffer.next_stored(seq);
            assert!(next > seq);
            seq = next;
        }
        present
    }

    pub(crate) fn check(&self) {
        let buffer = self.buffer();
        let shape = buffer.shape();
        let present = self.present();
        let is_damaged = |kept: &Kept| self.damaged.contains(&kept.generation);

        let (mut gone, mut gone_perhaps) = (0, 0);
        for (seq, kept) in &self.blocks {
            let rows = kept.rows.len() as u64;
            if present.contains_key(seq) || *seq < self.uploaded && *seq < shape.oldest_seq {
                continue;
            }
            if is_damaged(kept) {
                gone_perhaps += rows;
            } else if *seq < shape.oldest_seq && self.options.when_full == WhenFull::DropOldest {
                gone += rows;
            } else {
                panic!(
                    "block {seq} of generation {} is gone: {shape:?}",
                    kept.generation
                );
            }
        }
        let dropped = self.dropped();
        if self.damaged.is_empty() {
            assert_eq!(dropped, self.dropped, "{shape:?}");
            assert!(gone <= dropped);
        }
        assert!(gone_perhaps == 0 || !self.damaged.is_empty());

        let mut last_ts = i64::MIN;
        let mut edge: Option<(u64, u64)> = None;
        for (seq, block) in &present {
            let kept = self
                .blocks
                .get(seq)
                .unwrap_or_else(|| panic!("block {seq} was never committed"));
            let rows = rows_of(block);
            assert_eq!(rows, kept.rows, "block {seq}");
            assert_eq!(block.first_row, kept.first_row, "block {seq}");
            assert_eq!(
                (block.first_ts, block.last_ts),
                (rows[0].ts, rows.last().unwrap().ts)
            );
            for row in &rows {
                assert!(row.ts > last_ts, "block {seq}: {} after {last_ts}", row.ts);
                last_ts = row.ts;
            }
            if let Some((next_seq, next_row)) = edge
                && next_seq == *seq
            {
                assert_eq!(block.first_row, next_row);
            }
            edge = Some((seq + 1, block.first_row + block.rows()));
            let times = buffer.times(*seq).unwrap();
            // Reading a later block may have shown that the generation is damaged: it is set aside as a whole.
            let is_set_aside = || !self.generations().contains(&kept.generation);
            if times.is_some() || !is_damaged(kept) || !is_set_aside() {
                assert_eq!(times, Some((block.first_ts, block.last_ts)));
            }
        }
        // A damaged generation may be found out while it is read.
        let shape = buffer.shape();
        assert_eq!(buffer.next_seq(), shape.next_seq);
        if self.damaged.is_empty() {
            let rows: u64 = present.values().map(Block::rows).sum();
            assert_eq!(shape.rows, rows, "{shape:?}");
            assert_eq!(shape.next_seq, self.next_seq);
            let newest = present.values().next_back().map(|block| block.last_ts);
            assert!(
                newest.is_none() || shape.newest_ts == newest,
                "{shape:?} {newest:?}"
            );
            for (seq, block) in present.iter().step_by(97) {
                assert_eq!(buffer.rows_before(*seq), block.first_row);
            }
        }
        assert_eq!(buffer.rows_before(u64::MAX), shape.rows_total);
        assert!(shape.bytes <= BYTES_MAX + HEADROOM_BYTES, "{shape:?}");

        let catalog = buffer.catalog();
        for (id, name) in &self.names {
            let now = catalog.stream(*id).map(|stream| &stream.name);
            assert_eq!(now, Some(name), "stream {id}");
        }
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for row in present.values().flat_map(rows_of) {
            *counts.entry(row.stream).or_default() += 1;
            let is_lost = || self.damaged.iter().next().is_some();
            assert!(catalog.resolve(row.stream).is_some() || is_lost());
        }
        if self.damaged.is_empty() {
            for stream in catalog.streams() {
                let rows = counts.get(&stream.id).copied().unwrap_or_default();
                assert_eq!(buffer.rows_of(stream.id), rows, "{stream:?}");
            }
        }
        assert!(catalog.schemas().len() >= self.schemas.schemas().len());
        for (known, now) in self.schemas.schemas().iter().zip(catalog.schemas()) {
            assert_eq!((known.id, &known.name), (now.id, &now.name));
            assert!(now.fields.starts_with(&known.fields));
        }
    }

    /// Rows of some streams after a moment, as counted without reading them all. Exact, unless there was damage:
    /// what was counted when it was committed and cannot be read any more is counted still, until its
    /// generation goes, so there are never fewer than can be read, and never more than were committed.
    pub(crate) fn check_counts(&self, share: u8) {
        let buffer = self.buffer();
        let rows: Vec<Row> = self.present().values().flat_map(rows_of).collect();
        let at = rows.len() * usize::from(share) / 256;
        let Some(ts) = rows.get(at).map(|row| row.ts - i64::from(share % 2)) else {
            return;
        };
        let streams = buffer.catalog();
        let streams = streams.streams().step_by(7);
        let found: Vec<_> = streams
            .map(|stream| (stream.id, buffer.rows_after(stream.id, ts).unwrap()))
            .collect();
        // Reading may have found out damage, whose generation was set aside then.
        let rows: Vec<Row> = self.present().values().flat_map(rows_of).collect();
        let committed = self.blocks.range(buffer.oldest_seq()..);
        let committed: Vec<&Row> = committed.flat_map(|(_, kept)| &kept.rows).collect();
        for (id, found) in found {
            let is_later = |row: &&Row| row.stream == id && row.ts > ts;
            let rows = rows.iter().filter(is_later).count() as u64;
            let committed = committed.iter().copied().filter(is_later).count() as u64;
            let expected = if self.damaged.is_empty() {
                rows..=rows
            } else {
                rows..=committed
            };
            assert!(
                expected.contains(&found.rows),
                "{found:?}, not {expected:?}, after {ts} of stream {id}"
            );
            assert_eq!(found.rows_seen, buffer.rows_seen(id));
        }
    }

    pub(crate) fn query(&self, any: &AnyQuery) {
        let catalog = self.buffer().catalog();
        let Some(stream) = catalog
            .streams()
            .nth(usize::from(any.stream) % catalog.streams().len().max(1))
        else {
            return;
        };
        let present = self.present();
        let rows: Vec<Row> = present.values().flat_map(rows_of).collect();
        let edge =
            |share: Option<u8>, otherwise: Timestamp| match (share, rows.first(), rows.last()) {
                (Some(share), Some(first), Some(last)) => {
                    Timestamp(first.ts + (last.ts - first.ts) / 255 * i64::from(share))
                }
                _ => otherwise,
            };
        let query = Query {
            stream: stream.id,
            fields: any.fields.clone(),
            range: TimeRange {
                from: edge(any.from, Timestamp::MIN),
                to: edge(any.to, Timestamp::MAX),
            },
            split: any.split,
            order: if any.newest_first {
                Order::NewestFirst
            } else {
                Order::OldestFirst
            },
            rows_max: any.rows_max.map(usize::from),
        };
        let takes = |row: &&Row| {
            let half = match any.split {
                SplitFilter::All => true,
                SplitFilter::Train => row.split.is_train,
                SplitFilter::Validation => !row.split.is_train,
                SplitFilter::Fold(fold) => row.split.fold == fold,
                SplitFilter::NotFold(fold) => row.split.fold != fold,
            };
            half && row.stream == stream.id && query.range.contains(Timestamp(row.ts))
        };
        let mut wanted: Vec<&Row> = rows.iter().filter(takes).collect();
        if any.newest_first {
            wanted.reverse();
        }
        wanted.truncate(query.rows_max.unwrap_or(usize::MAX));
        let cell = |row: &Row, field: usize| match row.values.get(field).cloned().flatten() {
            Some(Value::F64(x)) => x as f32,
            Some(Value::F32(x)) => x,
            Some(Value::I64(x)) => x as f32,
            Some(Value::Bool(x)) => f32::from(u8::from(x)),
            Some(Value::Text(_)) | None => f32::NAN,
        };
        let expected = Matrix {
            ts: wanted.iter().map(|row| row.ts).collect(),
            columns: any
                .fields
                .iter()
                .map(|field| wanted.iter().map(|row| cell(row, *field)).collect())
                .collect(),
        };
        let found = self.buffer().matrix(&query).unwrap();
        let bits = |matrix: &Matrix| -> Vec<Vec<u32>> {
            let columns = matrix.columns.iter();
            columns
                .map(|column| column.iter().map(|x| x.to_bits()).collect())
                .collect()
        };
        assert_eq!(found.ts, expected.ts, "{query:?}");
        assert_eq!(bits(&found), bits(&expected), "{query:?}");
    }
}
