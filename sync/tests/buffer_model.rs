//! The buffer against a plain list in memory, over random sequences of operations.
//!
//! Invariants, after every operation: every block that must be there is there, row by row; timestamps
//! increase with `seq`; `first_row` has no gap; nothing that is not uploaded goes uncounted; numbers
//! are not used twice; catalog numbers stay. A damaged generation may lose blocks, and nothing else.
//!
//! `PROPTEST_CASES=1000` for more. A failing sequence is printed, and its seed is kept beside this
//! file and runs first the next time.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

use dunlin_sync::{
    block::Block,
    buffer::{Buffer, BufferOptions, CommitError, Matrix, Order, Query, SplitFilter, WhenFull},
    builder::BlockBuilder,
    codec::BlockBody,
    pack::Compression,
    sample::{Catalog, Field, FieldType, Sample, Split, TimeRange, Timestamp, Value},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tempfile::TempDir;

const BYTES_MAX: u64 = 8 << 20;
/// Room a commit asks for beyond twice its own bytes.
const HEADROOM_BYTES: u64 = 1 << 20;
/// Fields of the schema of wide records.
const WIDE_FIELDS: usize = 1_200;
/// Sizes are taken at slightly different moments.
const SIZE_SLACK_BYTES: u64 = 256 << 10;

#[derive(Clone, Debug)]
enum Op {
    /// `rows` small records over a few streams, a new field now and then.
    Commit {
        rows: u16,
        salt: u64,
    },
    /// `rows` records of almost a block each.
    CommitLarge {
        rows: u16,
        salt: u64,
    },
    /// `rows` records of several blocks' worth, of a schema of many fields, among small ones.
    CommitWide {
        rows: u16,
        salt: u64,
    },
    /// Large commits until one is refused, or (dropping) until there were enough.
    Fill {
        salt: u64,
    },
    /// A share of what is there, in 1/256.
    Upload {
        share: u8,
    },
    Reopen,
    /// Goes on with a copy taken while the buffer is open: what a SIGKILL leaves.
    Crash,
    /// A power cut during a commit: of the pages it wrote, some had reached the device.
    PowerCut {
        rows: u16,
        kind: Kind,
        salt: u64,
    },
    /// A record each of `streams` streams that were never seen, with names of up to `name_bytes`.
    NewStreams {
        streams: u16,
        name_bytes: u16,
        salt: u64,
    },
    /// Forgets every stream of which nothing is there.
    Forget,
    /// Moves what lies beyond a share of what is there.
    Correct {
        share: u8,
        delta: i16,
    },
    Query(AnyQuery),
    /// Flips bytes of a generation's database, the newest included if `newest`.
    Damage {
        pick: u8,
        at: Vec<(u16, u8)>,
        while_open: bool,
        newest: bool,
    },
    /// Harms files whose loss costs nothing, then reopens.
    Harm(Harm, u8),
    /// No disk is left, then there is some again.
    DiskFull,
}

/// What a commit holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Small records of a few streams.
    Small,
    /// Records of almost a block each.
    Large,
    /// Records of several blocks' worth among small ones.
    Wide,
    /// Records of new streams, with names of so many bytes.
    New(u16),
}

#[derive(Clone, Debug)]
enum Harm {
    Catalog(Torn),
    Summary(Torn),
    Corrections(Torn),
    CorrectionsCopy(Torn),
    Trash,
    HalfCreated { sled: bool },
    CompleteMark,
    TemporaryFile,
    Reserve,
}

#[derive(Clone, Copy, Debug)]
enum Torn {
    Gone,
    Empty,
    Half,
    Flipped,
}

#[derive(Clone, Debug)]
struct AnyQuery {
    stream: u8,
    fields: Vec<usize>,
    from: Option<u8>,
    to: Option<u8>,
    split: SplitFilter,
    newest_first: bool,
    rows_max: Option<u16>,
}

fn any_torn() -> impl Strategy<Value = Torn> {
    prop_oneof![
        Just(Torn::Gone),
        Just(Torn::Empty),
        Just(Torn::Half),
        Just(Torn::Flipped)
    ]
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any_torn().prop_map(Harm::Catalog),
        any_torn().prop_map(Harm::Summary),
        any_torn().prop_map(Harm::Corrections),
        any_torn().prop_map(Harm::CorrectionsCopy),
        Just(Harm::Trash),
        any::<bool>().prop_map(|sled| Harm::HalfCreated { sled }),
        Just(Harm::CompleteMark),
        Just(Harm::TemporaryFile),
        Just(Harm::Reserve),
    ]
}

fn any_query() -> impl Strategy<Value = AnyQuery> {
    let split = prop_oneof![
        Just(SplitFilter::All),
        Just(SplitFilter::Train),
        Just(SplitFilter::Validation),
        (0_u8..3).prop_map(SplitFilter::Fold),
        (0_u8..3).prop_map(SplitFilter::NotFold),
    ];
    (
        any::<u8>(),
        prop::collection::vec(0_usize..6, 0..4),
        any::<Option<u8>>(),
        any::<Option<u8>>(),
        split,
        any::<bool>(),
        prop::option::of(0_u16..400),
    )
        .prop_map(
            |(stream, fields, from, to, split, newest_first, rows_max)| AnyQuery {
                stream,
                fields,
                from,
                to,
                split,
                newest_first,
                rows_max,
            },
        )
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Small),
        Just(Kind::Large),
        // No more in all than is put at once: the pages of several puts cannot be mixed.
        (1_u16..200).prop_map(Kind::New)
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1_u16..600, any::<u64>()).prop_map(|(rows, salt)| Op::Commit { rows, salt }),
        5 => (1_u16..150, any::<u64>()).prop_map(|(rows, salt)| Op::CommitLarge { rows, salt }),
        4 => (1_u16..12, any::<u64>()).prop_map(|(rows, salt)| Op::CommitWide { rows, salt }),
        1 => any::<u64>().prop_map(|salt| Op::Fill { salt }),
        5 => any::<u8>().prop_map(|share| Op::Upload { share }),
        2 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        3 => (1_u16..150, any_kind(), any::<u64>())
            .prop_map(|(rows, kind, salt)| Op::PowerCut { rows, kind, salt }),
        2 => (1_u16..12, any::<u64>())
            .prop_map(|(rows, salt)| Op::PowerCut { rows, kind: Kind::Wide, salt }),
        2 => (1_u16..600, 1_u16..500, any::<u64>())
            .prop_map(|(streams, name_bytes, salt)| Op::NewStreams { streams, name_bytes, salt }),
        2 => Just(Op::Forget),
        2 => (any::<u8>(), any::<i16>()).prop_map(|(share, delta)| Op::Correct { share, delta }),
        4 => any_query().prop_map(Op::Query),
        1 => (any::<u8>(), prop::collection::vec(any::<(u16, u8)>(), 1..6), any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(pick, at, while_open, newest)| Op::Damage { pick, at, while_open, newest }),
        2 => (any_harm(), any::<u8>()).prop_map(|(harm, pick)| Op::Harm(harm, pick)),
        1 => Just(Op::DiskFull),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    stream: u32,
    ts: i64,
    split: Split,
    source_ts: Option<i64>,
    values: Vec<Option<Value>>,
}

/// One committed block, as it must come back.
#[derive(Clone, Debug)]
struct Kept {
    first_row: u64,
    rows: Vec<Row>,
    generation: u64,
}

struct Device {
    dir: TempDir,
    options: BufferOptions,
    buffer: Option<Buffer>,
    /// Everything ever committed, by number.
    blocks: BTreeMap<u64, Kept>,
    /// Generations whose blocks may be gone.
    damaged: BTreeSet<u64>,
    uploaded: u64,
    schemas: Catalog,
    /// Streams with a committed record, by number.
    names: BTreeMap<u32, String>,
    /// Numbers of streams with a committed record, those forgotten included.
    ids_used: BTreeSet<u32>,
    ts: i64,
    /// Drops counted by buffers that have been closed.
    dropped_before: u64,
    /// Rows that went before they were uploaded.
    dropped: u64,
    next_seq: u64,
    disk_full: bool,
}

fn noise(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

fn fields(count: usize) -> Vec<Field> {
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

fn value(kind: FieldType, n: u64) -> Value {
    match kind {
        FieldType::F64 => Value::F64((n % 100_000) as f64 / 7.0),
        FieldType::F32 => Value::F32((n % 1_000) as f32),
        FieldType::I64 => Value::I64(n as i64 >> 20),
        FieldType::Bool => Value::Bool(n.is_multiple_of(2)),
        FieldType::Text => Value::Text(format!("t{}", n % 50).into()),
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => dir_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Replaces some pages of `path` by what they are in `newer`, which may be longer.
fn mix_pages(path: &Path, newer: &Path, salt: u64) {
    const PAGE: usize = 4096;
    let (mut bytes, newer) = (fs::read(path).unwrap(), fs::read(newer).unwrap());
    let pages = newer.len().div_ceil(PAGE) as u64;
    let pages_kept = match salt % 3 {
        0 => pages,
        _ => bytes.len().div_ceil(PAGE) as u64 + (salt >> 8) % 4,
    };
    let len = newer.len().min(pages_kept as usize * PAGE).max(bytes.len());
    bytes.resize(len, 0);
    for (page, place) in bytes.chunks_mut(PAGE).enumerate() {
        if noise(salt ^ page as u64).is_multiple_of(2) {
            let from = page * PAGE;
            let to = newer.len().min(from + place.len());
            place[..to - from].copy_from_slice(&newer[from..to]);
        }
    }
    fs::write(path, bytes).unwrap();
}

fn tear(path: &Path, how: Torn) {
    let Ok(mut bytes) = fs::read(path) else {
        return;
    };
    match how {
        Torn::Gone => fs::remove_file(path).unwrap(),
        Torn::Empty => fs::write(path, b"").unwrap(),
        Torn::Half => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Torn::Flipped => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            fs::write(path, bytes).unwrap();
        }
    }
}

fn rows_of(block: &Block) -> Vec<Row> {
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
    fn new(when_full: WhenFull, replay_bytes_max: u64) -> Self {
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

    fn buffer(&self) -> &Buffer {
        self.buffer.as_ref().unwrap()
    }

    fn root(&self) -> PathBuf {
        self.options.dir.clone()
    }

    /// Numbers of the generations on the disk.
    fn generations(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = fs::read_dir(self.root())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok())
            .collect();
        ids.sort_unstable();
        ids
    }

    fn generation_dir(&self, id: u64) -> PathBuf {
        self.root().join(format!("{id:08}"))
    }

    fn close(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.dropped_before += buffer.stats().rows_dropped.load(Relaxed);
        }
    }

    fn open(&mut self) {
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
    }

    fn generation_of_newest_is_damaged(&self) -> bool {
        let newest = self.blocks.values().next_back();
        newest.is_some_and(|kept| self.damaged.contains(&kept.generation))
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn crash(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&self.root(), &copy.path().join("buffer"));
        self.close();
        self.options.dir = copy.path().join("buffer");
        self.dir = copy;
        self.open();
    }

    fn power_cut(&mut self, rows: u16, kind: Kind, salt: u64) {
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
            self.ids_used = ids_used;
        }
    }

    fn build(&mut self, rows: u16, salt: u64, kind: Kind) -> (Vec<BlockBody>, Vec<Row>) {
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
    fn commit(&mut self, rows: u16, salt: u64, kind: Kind) -> bool {
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

    fn place(&self, share: u8) -> u64 {
        let (oldest, next) = (self.buffer().oldest_seq(), self.buffer().next_seq());
        oldest + (next - oldest) * u64::from(share) / 255
    }

    fn upload(&mut self, share: u8) {
        let shape_before = self.buffer().shape();
        let sizes: BTreeMap<u64, u64> = self
            .generations()
            .into_iter()
            .map(|id| (id, dir_bytes(&self.generation_dir(id))))
            .collect();
        self.uploaded = self.uploaded.max(self.place(share));
        self.buffer().uploaded_to(self.uploaded);
        let left = self.generations();
        // One without blocks holds nothing of the window.
        let holds_blocks = |id: &u64| self.blocks.values().any(|kept| kept.generation == *id);
        let mut gone = sizes.keys().filter(|id| !left.contains(id));
        if let Some(newest_gone) = gone.rfind(|id| holds_blocks(id)) {
            let from_there: u64 = sizes.range(newest_gone..).map(|(_, bytes)| bytes).sum();
            // Now and then sled's file is longer for a moment: no telling then.
            let on_disk: u64 = sizes.values().sum();
            let steady = shape_before.bytes.abs_diff(on_disk) < SIZE_SLACK_BYTES;
            assert!(
                !steady || from_there + SIZE_SLACK_BYTES > self.options.replay_bytes_max,
                "{from_there} bytes of the replay window were trimmed: {shape_before:?}, {sizes:?}"
            );
        }
    }

    fn correct(&mut self, share: u8, delta: i16) {
        // What was uploaded is not moved; nor is it known what lies in a damaged generation.
        let from_seq = self.place(share).max(self.uploaded);
        let last_ts = |kept: &Kept| kept.rows.last().unwrap().ts;
        let before = self
            .blocks
            .range(..from_seq)
            .next_back()
            .map(|(_, kept)| last_ts(kept));
        let Some((_, first)) = self.blocks.range(from_seq..self.next_seq).next() else {
            return;
        };
        let first_ts = first.rows[0].ts;
        let lowest = before.map_or(-first_ts, |before| before + 1 - first_ts);
        let delta = i64::from(delta).max(lowest);
        self.buffer().correct(from_seq, delta).unwrap();
        for (_, kept) in self.blocks.range_mut(from_seq..self.next_seq) {
            kept.rows.iter_mut().for_each(|row| row.ts += delta);
        }
        let newest = self.blocks.values().next_back().map(last_ts);
        // The clock goes on above everything it has given out.
        self.ts = newest.unwrap_or(self.ts);
        if self.generation_of_newest_is_damaged() {
            self.ts = self.ts.max(self.buffer().shape().newest_ts.unwrap_or(0));
        }
    }

    fn damage(&mut self, pick: u8, at: &[(u16, u8)], while_open: bool, newest: bool) {
        let ids = self.generations();
        let (last, sealed) = ids.split_last().unwrap();
        let id = if newest {
            *last
        } else if sealed.is_empty() {
            return;
        } else {
            sealed[usize::from(pick) % sealed.len()]
        };
        let while_open = while_open && !newest;
        if !while_open {
            self.close();
        }
        self.damaged.insert(id);
        let path = self.generation_dir(id).join("db");
        let mut bytes = fs::read(&path).unwrap();
        for (place, mask) in at {
            // The end of the file is often an empty part of a segment.
            let place = (bytes.len() - 1) as u64 * u64::from(*place) / u64::from(u16::MAX);
            let place = place as usize;
            for byte in bytes.iter_mut().skip(place).take(40) {
                *byte ^= mask | 1;
            }
        }
        // In place: an open buffer sees it too.
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        drop(file);
        if !while_open {
            self.open();
        }
    }

    fn harm(&mut self, harm: &Harm, pick: u8) {
        let on_disk: Vec<Row> = self.present().values().flat_map(rows_of).collect();
        self.close();
        let ids = self.generations();
        let id = ids[usize::from(pick) % ids.len()];
        let generation = self.generation_dir(id);
        match harm {
            Harm::Catalog(how) => {
                tear(&self.root().join("catalog"), *how);
                // Streams of which nothing is there are known to nobody else.
                let rows: BTreeSet<u32> = on_disk.iter().map(|row| row.stream).collect();
                self.names.retain(|id, _| rows.contains(id));
            }
            Harm::Summary(how) => tear(&generation.join("summary"), *how),
            Harm::Corrections(how) => tear(&self.root().join("corrections"), *how),
            Harm::CorrectionsCopy(how) => tear(&self.root().join("corrections-copy"), *how),
            Harm::Trash => {
                let trash = self.root().join(format!("trash-{pick}"));
                fs::create_dir_all(trash.join("blobs")).unwrap();
                fs::write(trash.join("db"), [pick; 100]).unwrap();
            }
            Harm::HalfCreated { sled } => {
                let half = self.generation_dir(ids.last().unwrap() + 1);
                fs::create_dir_all(&half).unwrap();
                if *sled {
                    drop(sled::open(&half).unwrap());
                }
            }
            Harm::CompleteMark => fs::remove_file(generation.join("complete")).unwrap_or_default(),
            Harm::TemporaryFile => {
                fs::write(generation.join("summary.new"), b"half").unwrap();
                fs::write(self.root().join("corrections.new"), b"half").unwrap();
            }
            Harm::Reserve => fs::write(self.root().join("reserve"), b"short").unwrap(),
        }
        self.open();
    }

    fn fill(&mut self, salt: u64) {
        let dropped = self.dropped();
        for round in 0..40 {
            if !self.commit(120, salt.wrapping_add(round << 32), Kind::Large) {
                assert_eq!(self.options.when_full, WhenFull::Block);
                // Draining makes room at once.
                self.uploaded = self.next_seq;
                self.buffer().uploaded_to(self.uploaded);
                assert!(
                    self.commit(5, salt, Kind::Small),
                    "no room after everything was uploaded"
                );
                assert_eq!(self.buffer().stats().full.load(Relaxed), 0);
                return;
            }
            if self.dropped() > dropped {
                return;
            }
        }
        panic!("28 MB in a buffer of 8");
    }

    fn disk_full(&mut self) {
        self.disk_full = true;
        self.reopen();
        assert!(!self.commit(10, 1, Kind::Small));
        self.check();
        self.disk_full = false;
        self.reopen();
        let full = self.buffer().shape().bytes + 2 * HEADROOM_BYTES > BYTES_MAX;
        assert!(self.commit(10, 2, Kind::Small) || full);
    }

    fn dropped(&self) -> u64 {
        self.dropped_before + self.buffer().stats().rows_dropped.load(Relaxed)
    }

    /// Everything the buffer holds, block by block.
    fn present(&self) -> BTreeMap<u64, Block> {
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

    fn check(&self) {
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
            assert_eq!(
                buffer.times(*seq).unwrap(),
                Some((block.first_ts, block.last_ts))
            );
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

    /// Rows after a moment, by number of the stream, as counted without reading them all.
    fn check_counts(&self, share: u8) {
        let buffer = self.buffer();
        let rows: Vec<Row> = self.present().values().flat_map(rows_of).collect();
        let at = rows.len() * usize::from(share) / 256;
        let Some(ts) = rows.get(at).map(|row| row.ts - i64::from(share % 2)) else {
            return;
        };
        for stream in buffer.catalog().streams().step_by(7) {
            let later = rows
                .iter()
                .filter(|row| row.stream == stream.id && row.ts > ts);
            let found = buffer.rows_after(stream.id, ts).unwrap();
            // What was counted once and is damaged now is counted still.
            let is_exact = self.damaged.is_empty();
            let rows = later.count() as u64;
            assert!(
                !is_exact || found.rows == rows,
                "{found:?}, {rows} after {ts} of {stream:?}"
            );
            assert_eq!(found.rows_seen, buffer.rows_seen(stream.id));
        }
    }

    fn forget(&mut self) {
        let buffer = self.buffer.as_ref().unwrap();
        let rows: BTreeSet<u32> = self
            .present()
            .values()
            .flat_map(rows_of)
            .map(|row| row.stream)
            .collect();
        let kept = self.names.keys().next().copied();
        let kept = kept.and_then(|id| buffer.catalog().stream(id).cloned());
        buffer.keep_streams(kept.iter().map(|stream| stream.name.clone()).collect());
        let before = buffer.catalog();
        let forgotten = buffer.forget_idle(i64::MAX);
        let gone: BTreeSet<u32> = forgotten.iter().map(|stream| stream.id).collect();
        for stream in before.streams() {
            let is_needed = rows.contains(&stream.id) || kept.as_ref() == Some(stream);
            assert!(!is_needed || !gone.contains(&stream.id), "{stream:?}");
            let is_gone = gone.contains(&stream.id);
            // Of one that never had a record it is not known how idle it is.
            let had_records = self.names.contains_key(&stream.id) && self.damaged.is_empty();
            assert!(is_needed || is_gone || !had_records, "{stream:?}");
            assert_eq!(buffer.catalog().stream(stream.id).is_none(), is_gone);
        }
        self.names.retain(|id, _| !gone.contains(id));
    }

    fn query(&self, any: &AnyQuery) {
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

    fn run(&mut self, op: &Op) {
        match op {
            Op::Commit { rows, salt } => drop(self.commit(*rows, *salt, Kind::Small)),
            Op::CommitLarge { rows, salt } => drop(self.commit(*rows, *salt, Kind::Large)),
            Op::CommitWide { rows, salt } => drop(self.commit(*rows, *salt, Kind::Wide)),
            Op::Fill { salt } => self.fill(*salt),
            Op::Upload { share } => {
                self.upload(*share);
                self.check_counts(*share);
            }
            Op::Reopen => self.reopen(),
            Op::Crash => self.crash(),
            Op::PowerCut { rows, kind, salt } => self.power_cut(*rows, *kind, *salt),
            Op::NewStreams {
                streams,
                name_bytes,
                salt,
            } => drop(self.commit(*streams, *salt, Kind::New(*name_bytes))),
            Op::Forget => self.forget(),
            Op::Correct { share, delta } => {
                self.correct(*share, *delta);
                self.check_counts(*share);
            }
            Op::Query(query) => self.query(query),
            Op::Damage {
                pick,
                at,
                while_open,
                newest,
            } => self.damage(*pick, at, *while_open, *newest),
            Op::Harm(harm, pick) => self.harm(harm, *pick),
            Op::DiskFull => self.disk_full(),
        }
        self.check();
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(12),
        max_shrink_iters: 150,
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn behaves_like_a_list(
        ops in prop::collection::vec(any_op(), 1..40),
        drops in prop::bool::weighted(0.3),
        replay in prop_oneof![Just(0_u64), Just(2 << 20), Just(BYTES_MAX / 2)],
    ) {
        let when_full = if drops { WhenFull::DropOldest } else { WhenFull::Block };
        let mut device = Device::new(when_full, replay);
        for op in &ops {
            device.run(op);
        }
    }
}
