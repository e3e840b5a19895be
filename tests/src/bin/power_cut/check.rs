//! What must hold in a copy taken at a cut, given what was known outside at that moment.
//!
//! - Every acknowledged record is in the buffer exactly once, or upstream and no longer in the buffer.
//! - What is in the buffer and upstream has one timestamp and one split.
//! - The upload cursor calls no block done whose rows are not upstream, but for those of streams that it holds.
//! - Timestamps rise from block to block, and the newest one known outside is not above them.
//! - Every acknowledged publish that was no record is in the quarantine.
//! - Nothing is set aside: a power cut damages nothing.
//!
//! And what `learning` names.

use std::{collections::BTreeMap, path::Path};

use dunlin_agent::record::clock::ClockRecord;
use dunlin_sync::{
    block::Block,
    buffer::{Buffer, BufferOptions},
    cursor::Cursor,
    files::state_file,
    quarantine::Quarantine,
    sample::{Catalog, StreamId, Value},
};
use dunlin_tests::{
    central::{Answer, Row},
    records::{Numbered, number_in},
};

use super::learning::{self, Answers};

pub(crate) const BUFFER_BYTES_MAX: u64 = 16 << 20;
pub(crate) const QUARANTINE_BYTES_MAX: u64 = 2 << 20;
const FINGERPRINTS_MAX: usize = 16_384;
const ANSWERS_LATE_NS_MAX: i64 = 10_000_000_000;

/// What is known outside the device: the promises it has made.
pub(crate) struct Known {
    numbered: Numbered,
    acknowledged: Vec<bool>,
    acknowledged_before: u64,
    acknowledged_now: u64,
    upstream: BTreeMap<u64, Row>,
    newest_ts: i64,
    /// Every good record below this number is upstream, for good.
    settled_below: u64,
    settled_ts: i64,
    answers: Answers,
    /// No answer upstream is later, nanoseconds UTC.
    newest_answer_ts: i64,
}

impl Known {
    pub(crate) fn new(numbered: Numbered) -> Self {
        Self {
            answers: Answers::new(numbered.clone()),
            numbered,
            acknowledged: Vec::new(),
            acknowledged_before: 0,
            acknowledged_now: 0,
            upstream: BTreeMap::new(),
            newest_ts: i64::MIN,
            settled_below: 0,
            settled_ts: i64::MIN,
            newest_answer_ts: 0,
        }
    }

    pub(crate) fn acknowledged(&mut self, acknowledged: Vec<bool>) {
        self.acknowledged_before = self.acknowledged_now;
        self.acknowledged_now = acknowledged.iter().filter(|yes| **yes).count() as u64;
        self.acknowledged = acknowledged;
    }

    /// Acknowledged since the look before.
    pub(crate) fn fresh(&self) -> u64 {
        self.acknowledged_now - self.acknowledged_before
    }

    pub(crate) fn settled_ts(&self) -> i64 {
        self.settled_ts
    }

    pub(crate) fn upstream_rows(&self) -> usize {
        self.upstream.len()
    }

    pub(crate) fn answers(&mut self) -> &mut Answers {
        &mut self.answers
    }

    /// Answers up to here have all been seen: batches under way at once arrive in any order, but not
    /// that much later than each other.
    pub(crate) fn answers_seen_ts(&self) -> i64 {
        self.newest_answer_ts - ANSWERS_LATE_NS_MAX
    }

    /// Adds answers found upstream, after the records there.
    pub(crate) fn answered(&mut self, answers: &[Answer]) -> Result<(), String> {
        let newest = answers.iter().map(|answer| answer.ts).max();
        self.newest_answer_ts = self.newest_answer_ts.max(newest.unwrap_or_default());
        self.answers.add(answers, &self.upstream)
    }

    pub(crate) fn row(&self, n: u64) -> Option<Row> {
        self.upstream.get(&n).copied()
    }

    /// Adds rows found upstream.
    pub(crate) fn upstream(
        &mut self,
        rows: impl IntoIterator<Item = (u64, Row)>,
    ) -> Result<(), String> {
        for (n, row) in rows {
            let before = self.upstream.insert(n, row);
            if before.is_some_and(|before| before != row) {
                return Err(format!("record {n} upstream was {before:?} and is {row:?}"));
            }
            self.newest_ts = self.newest_ts.max(row.ts);
        }
        loop {
            let n = self.settled_below;
            match self.upstream.get(&n) {
                Some(row) => self.settled_ts = row.ts,
                None if self.numbered.is_bad(n) => {}
                None => return Ok(()),
            }
            self.settled_below += 1;
        }
    }
}

#[derive(Default)]
pub(crate) struct Found {
    pub(crate) rows: u64,
    pub(crate) quarantined: u64,
    pub(crate) answers: u64,
    pub(crate) versions: u64,
    pub(crate) checkpoints: u64,
    pub(crate) violations: Vec<String>,
}

impl Found {
    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}

/// Opens the data directory of a copy and compares.
pub(crate) fn check(data_dir: &Path, known: &Known) -> Found {
    let mut found = Found::default();
    if known.acknowledged_now == 0 && !data_dir.join("buffer").exists() {
        return found;
    }
    let cursor = Cursor::read(&data_dir.join("state/cursor.uploader"));
    let cursor = cursor.unwrap_or_else(|error| {
        found.wrong(error.to_string());
        None
    });
    let cursor = cursor.unwrap_or_default();
    let opened = Buffer::open(BufferOptions {
        fingerprints_max: FINGERPRINTS_MAX,
        seq_floor: cursor.done().end(),
        ..BufferOptions::new(data_dir.join("buffer"), BUFFER_BYTES_MAX)
    });
    let (buffer, recovery) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            found.wrong(format!("the buffer does not open: {error}"));
            return found;
        }
    };
    for what in recovery.set_aside {
        found.wrong(format!("set aside: {what}"));
    }
    let mut buffered = BTreeMap::new();
    let answers = read_blocks(&buffer, &cursor, known, &mut buffered, &mut found);
    found.rows = buffered.len() as u64;
    check_acknowledged(known, &buffered, &mut found);
    check_clock(data_dir, &buffer, known, &mut found);
    check_quarantine(data_dir, known, &mut found);
    let records = [&known.upstream, &buffered];
    learning::check(data_dir, &known.answers, &answers, &records, &mut found);
    found
}

fn read_blocks(
    buffer: &Buffer,
    cursor: &Cursor,
    known: &Known,
    buffered: &mut BTreeMap<u64, Row>,
    found: &mut Found,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    if cursor.done().end() > buffer.next_seq() {
        found.wrong(format!(
            "the cursor stands at {}, the buffer ends at {}",
            cursor.done().end(),
            buffer.next_seq()
        ));
    }
    let catalog = buffer.catalog();
    let mut last_ts = i64::MIN;
    let mut seq = buffer.oldest_seq();
    while seq < buffer.next_seq() {
        match buffer.read_block(seq) {
            Ok(Some(block)) => {
                if block.first_ts <= last_ts {
                    found.wrong(format!(
                        "block {seq} begins before the end of the one before"
                    ));
                }
                last_ts = block.last_ts;
                answers.extend(learning::answers_in(&block, &catalog));
                for (stream, n, row) in rows_of(&block, &catalog) {
                    if buffered.insert(n, row).is_some() {
                        found.wrong(format!("record {n} is in the buffer twice"));
                    }
                    let upstream = known.upstream.get(&n);
                    if upstream.is_some_and(|upstream| *upstream != row) {
                        found.wrong(format!("record {n} is {row:?}, upstream {upstream:?}"));
                    }
                    let held = cursor.held().get(&stream);
                    let is_held = held.is_some_and(|held| held.seq <= seq);
                    if upstream.is_none() && cursor.done().contains(seq) && !is_held {
                        found.wrong(format!(
                            "the cursor calls block {seq} done; its record {n} is not upstream"
                        ));
                    }
                }
            }
            Ok(None) => found.wrong(format!("block {seq} is not readable")),
            Err(error) => found.wrong(format!("block {seq}: {error}")),
        }
        seq = buffer.next_stored(seq);
    }
    answers
}

fn rows_of(block: &Block, catalog: &Catalog) -> Vec<(StreamId, u64, Row)> {
    let mut rows = Vec::new();
    for section in &block.sections {
        let column = catalog
            .schema(section.schema)
            .and_then(|schema| schema.field("n"))
            .and_then(|field| section.rows.columns.get(field));
        let streams = section.runs.iter();
        let streams = streams.flat_map(|run| std::iter::repeat_n(run.stream, run.rows as usize));
        for (at, stream) in streams.enumerate() {
            let n = match column.and_then(|column| column.get(at)) {
                Some(Value::F64(n)) => n as u64,
                Some(Value::I64(n)) => n as u64,
                _ => continue,
            };
            let (ts, is_train) = (section.rows.ts[at], section.rows.is_train[at]);
            rows.push((stream, n, Row { ts, is_train }));
        }
    }
    rows
}

fn check_acknowledged(known: &Known, buffered: &BTreeMap<u64, Row>, found: &mut Found) {
    let from = known.settled_below as usize;
    let acknowledged = known.acknowledged.iter().enumerate().skip(from);
    for (n, _) in acknowledged.filter(|(_, yes)| **yes) {
        let n = n as u64;
        let is_kept = buffered.contains_key(&n) || known.upstream.contains_key(&n);
        if !known.numbered.is_bad(n) && !is_kept {
            found.wrong(format!("record {n} was acknowledged and is lost"));
        }
    }
}

fn check_clock(data_dir: &Path, buffer: &Buffer, known: &Known, found: &mut Found) {
    let newest = buffer.shape().newest_ts;
    if known.newest_ts > i64::MIN && newest.is_none_or(|newest| newest < known.newest_ts) {
        let outside = known.newest_ts;
        found.wrong(format!(
            "the buffer ends at {newest:?}, upstream has {outside}"
        ));
    }
    let record: Result<Option<Vec<u8>>, _> = state_file::read(&data_dir.join("state/clock"));
    match record.map(|bytes| bytes.map(|bytes| ClockRecord::from_bytes(&bytes))) {
        Ok(Some(Ok(record))) => {
            if newest.is_some_and(|newest| record.ceiling_ns < newest) {
                found.wrong("a timestamp above the clock's ceiling was issued");
            }
        }
        Ok(None) if newest.is_none() => {}
        other => found.wrong(format!("the clock's record: {other:?}")),
    }
}

fn check_quarantine(data_dir: &Path, known: &Known, found: &mut Found) {
    let dir = data_dir.join("quarantine");
    let items = Quarantine::open(&dir, QUARANTINE_BYTES_MAX, || 0)
        .and_then(|quarantine| quarantine.list(0, usize::MAX));
    let items = match items {
        Ok(items) => items,
        Err(error) => return found.wrong(error.to_string()),
    };
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some() {
            found.wrong(format!("set aside: {}", entry.path().display()));
        }
    }
    let mut kept = std::collections::BTreeSet::new();
    for (_, item) in &items {
        if let Some(publish) = item.content.publish() {
            kept.extend(number_in(publish.payload));
        }
    }
    found.quarantined = kept.len() as u64;
    // A full quarantine forgets its oldest part: then what is older than its first item is gone.
    let has_forgotten = !dir.join("00000001").exists();
    let from = match kept.first() {
        Some(first) if has_forgotten => *first,
        _ => 0,
    };
    for n in from..known.acknowledged.len() as u64 {
        let expected = known.acknowledged[n as usize] && known.numbered.is_bad(n);
        if expected && !kept.contains(&n) {
            found.wrong(format!(
                "publish {n} was acknowledged and is not in quarantine"
            ));
        }
    }
}
