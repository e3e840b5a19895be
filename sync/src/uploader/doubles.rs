//! A buffer, an upstream and a quarantine in memory, with faults on demand.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::watch, time::Instant};

use super::{BlockSource, RejectError, RejectedRow, RejectedRows};
use crate::{
    block::{Block, Run, Section},
    rows::{Batch, Column, Rows, Values},
    sample::{Catalog, Field, FieldType, Schema, Stream, StreamId, TimeRange},
    upstream::{Description, Rejection, Upstream, UpstreamError, WriteReport},
};

/// Where a row lives upstream.
pub(crate) type NamedRow = (String, i64);

pub(crate) fn catalog(streams: u32) -> Catalog {
    let schema = Schema {
        id: 0,
        name: "s".into(),
        tag_names: vec!["device".into()],
        fields: vec![Field {
            name: "x".into(),
            kind: FieldType::I64,
        }],
        origins: Vec::new(),
    };
    let streams = (0..streams).map(|id| Stream {
        id,
        schema: 0,
        name: format!("s/{id}"),
        tags: vec!["gw1".into()],
        first_tags: None,
    });
    let mut catalog = Catalog::default();
    catalog.put_schema(Arc::new(schema));
    streams.for_each(|stream| catalog.put_stream(Arc::new(stream)));
    catalog
}

/// Committed blocks in memory.
pub(crate) struct MemorySource {
    pub(crate) catalog: Arc<Catalog>,
    /// All blocks ever committed; `None`: set aside as damaged.
    blocks: Mutex<Vec<Option<Block>>>,
    rows_before: Mutex<Vec<u64>>,
    oldest: AtomicU64,
    committed: watch::Sender<u64>,
    /// Every position it was told, in order.
    pub(crate) told: Mutex<Vec<u64>>,
    pub(crate) fail_reads: AtomicUsize,
}

impl MemorySource {
    pub(crate) fn new(streams: u32) -> Arc<Self> {
        Arc::new(Self {
            catalog: Arc::new(catalog(streams)),
            blocks: Mutex::default(),
            rows_before: Mutex::new(vec![0]),
            oldest: AtomicU64::default(),
            committed: watch::Sender::new(0),
            told: Mutex::default(),
            fail_reads: AtomicUsize::default(),
        })
    }

    /// One block with that many rows of each stream; timestamps are row numbers times 10.
    pub(crate) fn commit(&self, runs: &[(StreamId, u32)]) {
        let mut blocks = self.blocks.lock().unwrap();
        let first_row = *self.rows_before.lock().unwrap().last().unwrap();
        let count: u32 = runs.iter().map(|(_, rows)| rows).sum();
        let ts: Vec<i64> = (0..i64::from(count))
            .map(|row| (first_row as i64 + row) * 10)
            .collect();
        let block = Block {
            seq: blocks.len() as u64,
            first_row,
            first_ts: ts[0],
            last_ts: *ts.last().unwrap(),
            sections: vec![Section {
                schema: 0,
                runs: runs
                    .iter()
                    .map(|&(stream, rows)| Run { stream, rows })
                    .collect(),
                rows: Rows {
                    is_train: vec![true; ts.len()],
                    fold: vec![0; ts.len()],
                    source_ts: vec![None; ts.len()],
                    columns: vec![Column {
                        values: Values::I64(ts.clone()),
                        present: None,
                    }]
                    .into(),
                    ts,
                },
            }],
        };
        blocks.push(Some(block));
        self.rows_before
            .lock()
            .unwrap()
            .push(first_row + u64::from(count));
        self.committed.send_replace(blocks.len() as u64);
    }

    /// The block is damaged from now on.
    pub(crate) fn damage(&self, seq: u64) {
        self.blocks.lock().unwrap()[seq as usize] = None;
    }

    pub(crate) fn drop_below(&self, seq: u64) {
        self.oldest.store(seq, SeqCst);
    }

    /// Every row that can be read, by place.
    pub(crate) fn places(&self) -> BTreeSet<NamedRow> {
        let blocks = self.blocks.lock().unwrap();
        let mut places = BTreeSet::new();
        for block in blocks
            .iter()
            .skip(self.oldest.load(SeqCst) as usize)
            .flatten()
        {
            for section in &block.sections {
                let mut ts = section.rows.ts.iter();
                for run in &section.runs {
                    let name = format!("s/{}", run.stream);
                    let run = ts.by_ref().take(run.rows as usize);
                    places.extend(run.map(|ts| (name.clone(), *ts)));
                }
            }
        }
        places
    }
}

impl BlockSource for MemorySource {
    fn read_block(&self, seq: u64) -> Result<Option<Block>, String> {
        let failing = self
            .fail_reads
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err("the disk is tired".into());
        }
        if seq < self.oldest.load(SeqCst) {
            return Ok(None);
        }
        Ok(self
            .blocks
            .lock()
            .unwrap()
            .get(seq as usize)
            .cloned()
            .flatten())
    }

    fn next_stored(&self, seq: u64) -> u64 {
        seq + 1
    }

    fn oldest_seq(&self) -> u64 {
        self.oldest.load(SeqCst)
    }

    fn next_seq(&self) -> u64 {
        self.blocks.lock().unwrap().len() as u64
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    fn rows_before(&self, seq: u64) -> u64 {
        self.rows_before.lock().unwrap()[seq as usize]
    }

    fn uploaded_to(&self, position: u64) {
        self.told.lock().unwrap().push(position);
    }
}

/// What the next call does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing is written.
    Unavailable,
    /// Everything is written, but the answer is lost.
    LostAnswer,
    /// The database refuses us.
    Refuse,
    /// The connector panics.
    Panic,
}

/// An upstream that remembers what it was given.
#[derive(Default)]
pub(crate) struct MemoryUpstream {
    pub(crate) rows: Mutex<BTreeMap<NamedRow, i64>>,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    /// Streams it refuses until repaired.
    pub(crate) refused: Mutex<HashSet<StreamId>>,
    /// Whether it says which streams of a batch it refuses, and takes the others.
    pub(crate) names_refused: AtomicBool,
    /// Streams of which it will take no row.
    pub(crate) rejected: Mutex<HashSet<StreamId>>,
    /// Rows it will never take.
    pub(crate) rejected_ts: Mutex<HashSet<i64>>,
    /// Whether these lie outside the time that it keeps.
    pub(crate) is_out_of_time: AtomicBool,
    /// Rows that break the connection.
    pub(crate) breaking_ts: Mutex<HashSet<i64>>,
    /// More rows than this are not taken in time; 0: any number is.
    pub(crate) rows_in_time_max: AtomicUsize,
    pub(crate) delay: Mutex<Duration>,
    /// When each call came, and the timestamps of its rows, sorted.
    pub(crate) calls: Mutex<Vec<(Instant, Vec<i64>)>>,
    in_flight: AtomicUsize,
    pub(crate) in_flight_seen: AtomicUsize,
}

impl MemoryUpstream {
    pub(crate) fn places(&self) -> BTreeSet<NamedRow> {
        self.rows.lock().unwrap().keys().cloned().collect()
    }

    fn apply(&self, batch: &Batch) -> WriteReport {
        let mut report = WriteReport::default();
        let rejected = self.rejected_ts.lock().unwrap();
        let streams = self.rejected.lock().unwrap();
        let refused = self.refused.lock().unwrap();
        let mut rows = self.rows.lock().unwrap();
        for (table, of) in batch.tables.iter().enumerate() {
            let Values::I64(values) = &of.rows.columns[0].values else {
                panic!("wrong column");
            };
            if refused.contains(&of.stream.id) {
                report.refuse(table, 0, "wrong type of a column".into());
                continue;
            }
            for (row, ts) in of.rows.ts.iter().enumerate() {
                assert_eq!(*ts, values[row], "values stay with their timestamps");
                if rejected.contains(ts) || streams.contains(&of.stream.id) {
                    report.rejected.push(Rejection {
                        table,
                        row,
                        reason: "too old".into(),
                        is_out_of_time: self.is_out_of_time.load(SeqCst),
                    });
                } else {
                    rows.insert((of.stream.name.clone(), *ts), values[row]);
                    report.rows_written += 1;
                }
            }
        }
        report
    }
}

#[async_trait]
impl Upstream for MemoryUpstream {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        let tables = batch.tables.iter();
        let mut ts: Vec<i64> = tables.flat_map(|table| table.rows.ts.clone()).collect();
        ts.sort_unstable();
        self.calls.lock().unwrap().push((Instant::now(), ts));
        let under_way = self.in_flight.fetch_add(1, SeqCst) + 1;
        self.in_flight_seen.fetch_max(under_way, SeqCst);
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.in_flight.fetch_sub(1, SeqCst);
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Unavailable) => Err(UpstreamError::Unavailable("away".into())),
            Some(Fault::Refuse) => Err(UpstreamError::Rejected("wrong password".into())),
            Some(Fault::Panic) => panic!("the connector panicked"),
            Some(Fault::LostAnswer) => {
                self.apply(batch);
                Err(UpstreamError::Unavailable("lost".into()))
            }
            None => {
                let most = self.rows_in_time_max.load(SeqCst);
                if most > 0 && batch.rows() > most {
                    return Err(UpstreamError::Unavailable("no answer in time".into()));
                }
                let breaking = self.breaking_ts.lock().unwrap();
                let mut ts = batch.tables.iter().flat_map(|table| &table.rows.ts);
                if ts.any(|ts| breaking.contains(ts)) {
                    return Err(UpstreamError::Unavailable("the connection broke".into()));
                }
                drop(breaking);
                let refused = self.refused.lock().unwrap();
                if !self.names_refused.load(SeqCst)
                    && batch
                        .tables
                        .iter()
                        .any(|table| refused.contains(&table.stream.id))
                {
                    return Err(UpstreamError::Rejected("wrong type of a column".into()));
                }
                drop(refused);
                Ok(self.apply(batch))
            }
        }
    }

    async fn count(
        &self,
        stream: &Stream,
        _: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        if let Some(Fault::Unavailable) = self.faults.lock().unwrap().pop_front() {
            return Err(UpstreamError::Unavailable("away".into()));
        }
        let name = &stream.name;
        let rows = self.rows.lock().unwrap();
        let places = rows.range((name.clone(), range.from.0)..=(name.clone(), range.to.0));
        Ok(places.count() as u64)
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let mut faults = self.faults.lock().unwrap();
        // A database that refuses us does so whatever we ask.
        if let Some(Fault::Refuse) = faults.front() {
            faults.pop_front();
            return Err(UpstreamError::Rejected("wrong password".into()));
        }
        Ok(Description {
            product: "memory".into(),
            database: None,
        })
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

/// A quarantine in memory.
#[derive(Default)]
pub(crate) struct MemoryRejected {
    pub(crate) rows: Mutex<Vec<RejectedRow>>,
    pub(crate) failures: AtomicUsize,
    pub(crate) is_full: AtomicBool,
}

impl RejectedRows for MemoryRejected {
    fn reject(&self, rows: Vec<RejectedRow>) -> Result<(), RejectError> {
        if self.is_full.load(SeqCst) {
            return Err(RejectError::Full);
        }
        let failing = self
            .failures
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(RejectError::Failed("the disk is tired".into()));
        }
        self.rows.lock().unwrap().extend(rows);
        Ok(())
    }
}
