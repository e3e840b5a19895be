//! Rows on their way to their streams, in batches that say which rows of the file they hold.

use std::collections::{BTreeMap, HashMap};

use dunlin_sync::sample::{Field, Split};

use super::{
    super::{Exit, connection::Connection},
    row::Row,
};
use crate::{
    admin::operations::{
        BATCH_BYTES_MAX, BATCH_RECORDS_MAX, FileRows, ImportBatch, ImportTarget, Target,
    },
    base::ranges::Ranges,
    record::{
        decode::{Reason, Record, Reject},
        writer::Imported as Done,
    },
};

/// Bad lines shown; the rest are counted.
const BAD_LINES_SHOWN: usize = 5;
/// Most streams that one file may hold.
const STREAMS_MAX: usize = 4_096;

/// What an import came to: read = stored + there already + refused.
#[derive(Debug, Default)]
pub struct Imported {
    /// Rows read.
    pub read: u64,
    /// Records that are durable.
    pub records: u64,
    /// Rows that an import before has stored.
    pub already: u64,
    /// Rows that an import before has refused, which are taken for stored: there were too many.
    pub untold: u64,
    /// Rows stored without a time of their own.
    pub timeless: u64,
    /// Rows stored whose clock shows their time twice or never.
    pub doubtful_times: u64,
    /// Rows refused, by reason.
    pub bad: BTreeMap<Reason, u64>,
    /// The first of these, in words.
    pub bad_lines: Vec<String>,
    /// Streams that had rows.
    pub streams: usize,
}

impl Imported {
    /// Rows refused.
    pub fn refused(&self) -> u64 {
        self.bad.values().sum()
    }

    pub(super) fn refuse(&mut self, reject: Reject, rows: u64) {
        *self.bad.entry(reject.reason).or_default() += rows;
        if self.bad_lines.len() < BAD_LINES_SHOWN {
            self.bad_lines.push(reject.detail);
        }
    }
}

/// A stream that rows go into.
struct Open {
    name: String,
    /// What is there already.
    done: Done,
    /// Rows were sent.
    is_used: bool,
    tags: Vec<(String, String)>,
    records: Vec<Record>,
    splits: Vec<Split>,
}

/// Sends rows.
pub(super) struct Sender<'c> {
    connection: &'c mut Connection,
    /// The stream that everything goes into; `None`: the one that each row names.
    into: Option<String>,
    fields: Vec<Field>,
    /// `None`: whatever was stored before.
    content: Option<u128>,
    /// In the order of the file, so that timestamps follow it.
    streams: Vec<Open>,
    /// Where each of these is.
    places: HashMap<String, usize>,
    /// One past the last line of the last row.
    at: u64,
    /// Rows refused; which streams they are for is not known.
    refused: Ranges,
    records: usize,
    bytes: usize,
    pub(super) imported: Imported,
}

impl<'c> Sender<'c> {
    /// For a file whose first stream is `stream`.
    pub(super) fn new(
        connection: &'c mut Connection,
        into: Option<&str>,
        (stream, target): (&str, &Target),
        fields: Vec<Field>,
        content: Option<u128>,
    ) -> Self {
        let mut sender = Self {
            connection,
            into: into.map(str::to_owned),
            fields,
            content,
            streams: Vec::new(),
            places: HashMap::new(),
            at: 0,
            refused: Ranges::default(),
            records: 0,
            bytes: 0,
            imported: Imported::default(),
        };
        sender.open(stream.to_owned(), target, Vec::new());
        sender
    }

    fn open(&mut self, stream: String, target: &Target, tags: Vec<(String, String)>) {
        self.places.insert(stream.clone(), self.streams.len());
        self.imported.untold = self.imported.untold.max(target.done.refused.more());
        self.streams.push(Open {
            name: stream,
            done: target.done.clone(),
            is_used: target.done.rows > 0,
            tags,
            records: Vec::new(),
            splits: Vec::new(),
        });
    }

    /// Takes the next row, and sends what has gathered.
    ///
    /// # Errors
    /// [`Exit`] if records cannot be stored.
    pub(super) async fn take(&mut self, row: Row) -> Result<(), Exit> {
        self.imported.read += row.span;
        self.at = row.to;
        let record = match row.record {
            Ok(record) => record,
            Err(reject) => {
                self.refused.add(row.from, row.to);
                self.imported.refuse(reject, row.span);
                return Ok(());
            }
        };
        let stream = match (&self.into, &row.own) {
            (Some(stream), _) => stream,
            (None, Some(own)) => &own.stream,
            (None, None) => return Ok(()),
        };
        if !self.places.contains_key(stream) {
            let stream = stream.clone();
            if self.streams.len() >= STREAMS_MAX {
                let detail = format!("more than {STREAMS_MAX} streams in one file");
                let reject = Reject::new(Reason::TooManyStreams, detail);
                self.imported.refuse(reject, row.span);
                return Ok(());
            }
            let target = self.connection.request(ImportTarget {
                stream: stream.clone(),
                content: self.content,
            });
            match target.await {
                Ok(target) => self.open(stream, &target, row.tags.clone()),
                // One name that cannot be one stops no other.
                Err(Exit::Usage(why)) => {
                    let reject = Reject::new(Reason::UnknownTopic, why);
                    self.imported.refuse(reject, row.span);
                    return Ok(());
                }
                Err(exit) => return Err(exit),
            }
        }
        let stream = match (&self.into, &row.own) {
            (None, Some(own)) => &own.stream,
            (stream, _) => stream.as_deref().unwrap_or_default(),
        };
        let place = self.places.get(stream).copied();
        let Some(open) = place.and_then(|place| self.streams.get_mut(place)) else {
            return Ok(());
        };
        if open.tags.is_empty() {
            open.tags = row.tags;
        }
        // A row that was refused may fit now: read otherwise, or since the stream has changed.
        if row.from < open.done.rows && !open.done.refused.contains(row.from) {
            self.imported.already += row.span;
            return Ok(());
        }
        self.imported.doubtful_times += u64::from(row.is_time_doubtful);
        self.imported.timeless += u64::from(record.source_ts.is_none());
        self.bytes += ImportBatch::weight(&record);
        self.records += 1;
        open.records.push(record);
        open.splits.extend(row.own.map(|own| own.split));
        if self.records >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// [`Exit`] if records cannot be stored.
    pub(super) async fn flush(&mut self) -> Result<(), Exit> {
        let (at, refused) = (self.at, &self.refused);
        let full = self.streams.iter_mut();
        for open in full.filter(|open| !open.records.is_empty()) {
            let to = open.done.with(at, refused);
            let rows = self.content.map(|content| FileRows {
                content,
                from: open.done.clone(),
                to: to.clone(),
            });
            let records = std::mem::take(&mut open.records);
            let count = records.len() as u64;
            let batch = ImportBatch {
                stream: open.name.clone(),
                fields: self.fields.clone(),
                records,
                splits: std::mem::take(&mut open.splits),
                tags: open
                    .tags
                    .iter()
                    .filter(|(name, _)| name != "device")
                    .cloned()
                    .collect(),
                rows,
            };
            let stored = self.connection.request(batch).await;
            stored.map_err(|exit| so_far(exit, self.imported.records, self.content.is_some()))?;
            self.imported.records += count;
            open.is_used = true;
            if self.content.is_some() {
                open.done = to;
            }
        }
        (self.records, self.bytes) = (0, 0);
        Ok(())
    }

    /// How it went.
    pub(super) fn done(mut self) -> Imported {
        let had_rows = |open: &&Open| open.is_used;
        self.imported.streams = self.streams.iter().filter(had_rows).count();
        self.imported
    }
}

/// Says what is stored, and what to do.
fn so_far(exit: Exit, records: u64, is_noted: bool) -> Exit {
    let stored = match (records, is_noted) {
        (0, _) => return exit,
        (_, true) => format!("{records} records are stored; the same command goes on behind them"),
        (_, false) => format!(
            "{records} records are stored; with --again the same command stores them once more"
        ),
    };
    match exit {
        Exit::Failed(text) => Exit::Failed(format!("{text} ({stored})")),
        Exit::Usage(text) => Exit::Usage(format!("{text} ({stored})")),
        found @ Exit::Found(_) => found,
    }
}
