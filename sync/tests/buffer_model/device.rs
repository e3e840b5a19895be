//! A buffer, and the list that it must behave like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::atomic::Ordering::Relaxed,
};

use dunlin_sync::{
    block::Block,
    buffer::{Buffer, BufferOptions, WhenFull},
    sample::{Catalog, Field, FieldType, Split, Value},
};
use tempfile::TempDir;

use crate::{
    disk::{copy_dir, mix_pages},
    ops::Kind,
};

pub(crate) const BYTES_MAX: u64 = 8 << 20;
/// Room a commit asks for beyond twice its own bytes.
pub(crate) const HEADROOM_BYTES: u64 = 1 << 20;
/// Fields of the schema of wide records.
pub(crate) const WIDE_FIELDS: usize = 1_200;
/// Sizes are taken at slightly different moments.
pub(crate) const SIZE_SLACK_BYTES: u64 = 256 << 10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) stream: u32,
    pub(crate) ts: i64,
    pub(crate) split: Split,
    pub(crate) source_ts: Option<i64>,
    pub(crate) values: Vec<Option<Value>>,
}

/// One committed block, as it must come back.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) first_row: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) generation: u64,
}

pub(crate) struct Device {
    pub(crate) dir: TempDir,
    pub(crate) options: BufferOptions,
    pub(crate) buffer: Option<Buffer>,
    /// Everything ever committed, by number.
    pub(crate) blocks: BTreeMap<u64, Kept>,
    /// Generations whose blocks may be gone.
    pub(crate) damaged: BTreeSet<u64>,
    pub(crate) uploaded: u64,
    pub(crate) schemas: Catalog,
    /// Streams with a committed record, by number.
    pub(crate) names: BTreeMap<u32, String>,
    /// Numbers of streams with a committed record, those forgotten included.
    pub(crate) ids_used: BTreeSet<u32>,
    pub(crate) ts: i64,
    /// Drops counted by buffers that have been closed.
    pub(crate) dropped_before: u64,
    /// Rows that went before they were uploaded.
    pub(crate) dropped: u64,
    pub(crate) next_seq: u64,
    pub(crate) disk_full: bool,
}

pub(crate) fn noise(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

pub(crate) fn fields(count: usize) -> Vec<Field> {
    let kinds = [
        FieldType::F64,
        FieldType::F32,
        FieldType::I64,
        FieldType::Bool,
        FieldType::Text,
    ];
    (0..count)
        .map(|n| Field {
            name: format!("f{n}"),
            kind: kinds[n % kinds.len()],
        })
        .collect()
}

pub(crate) fn value(kind: FieldType, n: u64) -> Value {
    match kind {
        FieldType::F64 => Value::F64((n % 100_000) as f64 / 7.0),
        FieldType::F32 => Value::F32((n % 1_000) as f32),
        FieldType::I64 => Value::I64(n as i64 >> 20),
        FieldType::Bool => Value::Bool(n.is_multiple_of(2)),
        FieldType::Text => Value::Text(format!("t{}", n % 50).into()),
    }
}

pub(crate) fn rows_of(block: &Block) -> Vec<Row> {
    let mut rows = Vec::new();
    for section in &block.sections {
        let mut row = 0;
        for run in &section.runs {
            for _ in 0..run.rows {
                let columns = &section.rows.columns;
                let width = columns.iter().last().map_or(0, |(last, _)| last + 1);
                let values = (0..width).map(|field| columns.get(field)?.get(row));
                let mut values: Vec<_> = values.collect();
                while values.last() == Some(&None) {
                    values.pop();
                }
                rows.push(Row {
                    stream: run.stream,
                    ts: section.rows.ts[row],
                    split: Split {
                        is_train: section.rows.is_train[row],
                        fold: section.rows.fold[row],
                    },
                    source_ts: section.rows.source_ts[row],
                    values,
                });
                row += 1;
            }
        }
    }
    rows.sort_by_key(|row| row.ts);
    rows
}

impl Device {
    pub(crate) fn new(when_full: WhenFull, replay_bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = BufferOptions {
            when_full,
            replay_bytes_max,
            ..BufferOptions::new(dir.path().join("buffer"), BYTES_MAX)
        };
        let mut device = Self {
            dir,
            options,
            buffer: None,
            blocks: BTreeMap::new(),
            damaged: BTreeSet::new(),
            uploaded: 0,
            schemas: Catalog::default(),
            names: BTreeMap::new(),
            ids_used: BTreeSet::new(),
            ts: 1_000,
            dropped_before: 0,
            dropped: 0,
            next_seq: 0,
            disk_full: false,
        };
        device.open();
        device
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        self.buffer.as_ref().unwrap()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.options.dir.clone()
    }

    /// Numbers of the generations on the disk.
    pub(crate) fn generations(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = fs::read_dir(self.root())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok())
            .collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn generation_dir(&self, id: u64) -> PathBuf {
        self.root().join(format!("{id:08}"))
    }

    pub(crate) fn close(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.dropped_before += buffer.stats().rows_dropped.load(Relaxed);
        }
    }

    pub(crate) fn open(&mut self) {
        self.options.seq_floor = self.uploaded;
        self.options.disk_free_bytes_min = if self.disk_full { u64::MAX / 2 } else { 0 };
        let newest_id = if self.root().exists() {
            self.generations().pop()
        } else {
            None
        };
        let newest_damaged = self.generation_of_newest_is_damaged()
            || newest_id.is_some_and(|id| self.damaged.contains(&id));
        let (buffer, recovery) = Buffer::open(self.options.clone()).unwrap();
        assert!(
            newest_damaged || !recovery.newest_lost,
            "the newest records are said to be lost: {recovery:?}"
        );
        assert!(
            buffer.next_seq() >= self.uploaded,
            "numbers that were uploaded come again"
        );
        if newest_damaged {
            // Streams and blocks known to the lost generation alone are gone.
            self.schemas = Catalog::clone(&buffer.catalog());
            self.names.retain(|id, name| {
                let found = self.schemas.stream(*id);
                found.is_some_and(|found| found.name == *name)
            });
            self.next_seq = buffer.next_seq();
            let newest_ts = buffer.shape().newest_ts.unwrap_or(0);
            self.ts = self.ts.max(newest_ts);
        } else {
            assert!(
                buffer.next_seq() >= self.next_seq,
                "committed blocks are gone"
            );
        }
        // What the uploader does first.
        buffer.uploaded_to(self.uploaded);
        self.buffer = Some(buffer);
        if newest_damaged {
            self.forget_lost_numbers();
        }
    }

    /// Numbers of streams that only lost blocks of a damaged generation have used were seen by nobody: they
    /// may be given out again, as those of its blocks may.
    fn forget_lost_numbers(&mut self) {
        let here = self
            .present()
            .into_values()
            .flat_map(|block| rows_of(&block));
        let whole = |kept: &&Kept| !self.damaged.contains(&kept.generation);
        let others = self
            .blocks
            .values()
            .filter(whole)
            .flat_map(|kept| &kept.rows);
        let used: BTreeSet<u32> = here
            .map(|row| row.stream)
            .chain(others.map(|row| row.stream))
            .chain(self.names.keys().copied())
            .collect();
        self.ids_used.retain(|id| used.contains(id));
    }

    pub(crate) fn generation_of_newest_is_damaged(&self) -> bool {
        let newest = self.blocks.values().next_back();
        newest.is_some_and(|kept| self.damaged.contains(&kept.generation))
    }

    pub(crate) fn reopen(&mut self) {
        self.close();
        self.open();
    }

    pub(crate) fn crash(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&self.root(), &copy.path().join("buffer"));
        self.close();
        self.options.dir = copy.path().join("buffer");
        self.dir = copy;
        self.open();
    }

    pub(crate) fn power_cut(&mut self, rows: u16, kind: Kind, salt: u64) {
        let image = tempfile::tempdir().unwrap();
        let cut = image.path().join("buffer");
        copy_dir(&self.root(), &cut);
        let (before, known) = (self.generations(), self.next_seq);
        let (schemas, dropped) = (self.schemas.clone(), self.dropped);
        let (names, ids_used) = (self.names.clone(), self.ids_used.clone());
        if !self.commit(rows, salt, kind) || self.dropped != dropped {
            return;
        }
        let after = self.generations();
        if before.iter().any(|id| !after.contains(id)) {
            return;
        }
        // The catalog is replaced as a whole, before a generation begins.
        if after.len() > before.len() || salt.is_multiple_of(5) {
            let file = self.root().join("catalog");
            if file.exists() {
                fs::copy(file, cut.join("catalog")).unwrap();
            }
        }
        for (position, id) in after.iter().enumerate() {
            let name = format!("{id:08}");
            if before.contains(id) {
                let salt = noise(salt ^ id);
                mix_pages(
                    &cut.join(&name).join("db"),
                    &self.root().join(&name).join("db"),
                    salt,
                );
            } else if position + 1 == after.len() && salt.is_multiple_of(3) {
                // The new generation's creation had just begun.
                fs::create_dir_all(cut.join(&name)).unwrap();
                fs::write(
                    cut.join(&name).join("db"),
                    &[0; 5_000][..salt as usize % 5_000],
                )
                .unwrap();
            } else if salt.is_multiple_of(2) {
                copy_dir(&self.root().join(&name), &cut.join(&name));
            }
        }
        self.close();
        self.options.dir = cut;
        self.dir = image;
        // All of the commit or nothing: it was not acknowledged.
        let all = self.next_seq;
        let kept = std::mem::replace(&mut self.next_seq, known);
        let newest_damaged = self.generation_of_newest_is_damaged();
        let schemas = std::mem::replace(&mut self.schemas, schemas);
        let names = std::mem::replace(&mut self.names, names);
        self.open();
        let found = self.buffer().next_seq();
        if found == all {
            (self.next_seq, self.schemas, self.names) = (kept, schemas, names);
        } else {
            assert!(
                found == known || newest_damaged,
                "{known}..{all} is cut at {found}"
            );
            self.blocks.retain(|seq, _| *seq < known);
            // Nobody has seen the numbers of its streams.
            self.ids_used.retain(|id| ids_used.contains(id));
        }
    }
}
