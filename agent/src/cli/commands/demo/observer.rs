//! Looks at a running demo: counters, rates, and what the committed blocks hold.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::{Block, Section},
    rows::{Column, Values},
    sample::{Catalog, StreamId},
};

use super::{
    feed::{Feed, runs},
    setup::STREAM,
};
use crate::{
    observe::status::{Status, View},
    simulate::{FaultKind, Progress},
};

/// The fields of a reading that are shown.
const FIELDS: [&str; 4] = ["vibration_mm_s", "peak_mm_s", "temperature_c", "current_a"];
/// Machines shown; more are only counted.
pub(super) const MACHINES_MAX: usize = 6;
/// Rates are means over this time: commits come in lumps.
const RATE_OVER: Duration = Duration::from_secs(2);
/// Longest spent on reading blocks at one look; the rest waits for the next.
const READ_MAX: Duration = Duration::from_millis(50);

/// How far a demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The agent connects.
    Starting,
    /// The machines publish.
    Running,
    /// They have stopped; what is under way goes through.
    Draining,
    Done,
}

/// Records that have come past each station.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stations<T> {
    pub(super) published: T,
    pub(super) received: T,
    pub(super) committed: T,
    pub(super) uploaded: T,
}

/// The latest committed reading of one machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MachineNow {
    /// Such as `line1/machine3`.
    pub(super) name: String,
    /// In the order of vibration (mm/s), its peak (mm/s), temperature (degrees C), current (A).
    pub(super) reading: [f64; 4],
    /// What is wrong with it in truth; the agent does not know.
    pub(super) fault: Option<FaultKind>,
    /// Whether its model flagged it last; `None` while it has none.
    pub(super) flag: Option<bool>,
}

/// A demo at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) phase: Phase,
    /// Since the machines have started, at most `length`.
    pub(super) elapsed: Duration,
    pub(super) length: Duration,
    pub(super) counts: Stations<u64>,
    /// A second.
    pub(super) rates: Stations<f64>,
    pub(super) status: Status,
    /// Committed records, as far as they have been read.
    pub(super) train: u64,
    pub(super) validation: u64,
    pub(super) machines: Vec<MachineNow>,
    /// What has happened since the last look.
    pub(super) feed: Vec<String>,
}

/// Makes [`Snapshot`]s.
pub(super) struct Observer {
    view: Arc<View>,
    progress: Arc<Progress>,
    length: Duration,
    started: Option<Instant>,
    past: VecDeque<(Instant, Stations<u64>)>,
    next_seq: u64,
    train: u64,
    validation: u64,
    latest: HashMap<StreamId, [f64; 4]>,
    feed: Feed,
}

impl Observer {
    pub(super) fn new(view: Arc<View>, progress: Arc<Progress>, length: Duration) -> Self {
        let feed = Feed::new(view.settings().learn.status.clone());
        Self {
            feed,
            view,
            progress,
            length,
            started: None,
            past: VecDeque::new(),
            next_seq: 0,
            train: 0,
            validation: 0,
            latest: HashMap::new(),
        }
    }

    /// The present state. Blocks on the disk for a moment.
    pub(super) fn look(&mut self, phase: Phase) -> Snapshot {
        let now = Instant::now();
        if phase != Phase::Starting {
            self.started.get_or_insert(now);
        }
        let catalog = self.read_blocks(now + READ_MAX);
        let status = self.view.status();
        // What the agent has to say itself is no record of a machine.
        let own = self.view.writer.records_own.load(Relaxed);
        let counts = Stations {
            published: self.progress.published.load(Relaxed),
            received: status.records.received.saturating_sub(own),
            committed: status.records.committed.saturating_sub(own),
            uploaded: status.upstream.uploaded.saturating_sub(own),
        };
        let elapsed = self.started.map(|started| now - started);
        Snapshot {
            phase,
            elapsed: elapsed.unwrap_or_default().min(self.length),
            length: self.length,
            counts,
            rates: self.rates(now, counts),
            status,
            train: self.train,
            validation: self.validation,
            machines: self.machines(&catalog),
            feed: self.feed.take_untold(),
        }
    }

    fn rates(&mut self, now: Instant, counts: Stations<u64>) -> Stations<f64> {
        self.past.push_back((now, counts));
        while self.past.len() > 2 && now - self.past[1].0 >= RATE_OVER {
            self.past.pop_front();
        }
        let (then, past) = self.past[0];
        let seconds = (now - then).as_secs_f64();
        let rate = |count: fn(&Stations<u64>) -> u64| {
            let new = count(&counts).saturating_sub(count(&past));
            if seconds > 0.0 {
                new as f64 / seconds
            } else {
                0.0
            }
        };
        Stations {
            published: rate(|c| c.published),
            received: rate(|c| c.received),
            committed: rate(|c| c.committed),
            uploaded: rate(|c| c.uploaded),
        }
    }

    /// Reads the blocks committed since the last look, until the deadline; returns the catalog that
    /// knows their streams.
    fn read_blocks(&mut self, deadline: Instant) -> Arc<Catalog> {
        let buffer = Arc::clone(&self.view.buffer);
        let end = buffer.next_seq();
        let catalog = buffer.catalog();
        while self.next_seq < end && Instant::now() < deadline {
            // A block that cannot be read is counted, and reported, by the buffer.
            if let Ok(Some(block)) = buffer.read_block(self.next_seq) {
                self.take(&block, &catalog);
            }
            self.next_seq += 1;
        }
        catalog
    }

    fn take(&mut self, block: &Block, catalog: &Catalog) {
        for section in &block.sections {
            let schema = catalog.schema(section.schema);
            let Some(schema) = schema else { continue };
            if schema.name != STREAM {
                self.feed.read(section, schema, catalog);
                continue;
            }
            let train = section.rows.is_train.iter().filter(|train| **train);
            let train = train.count() as u64;
            self.train += train;
            self.validation += section.rows.len() as u64 - train;
            let places = FIELDS.map(|field| schema.field(field));
            for (stream, rows) in runs(section) {
                let value = |place: Option<usize>| value(section, place?, rows.end.checked_sub(1)?);
                let reading = places.map(|place| value(place).unwrap_or(f64::NAN));
                self.latest.insert(stream, reading);
            }
        }
    }

    /// The first machines seen.
    fn machines(&self, catalog: &Catalog) -> Vec<MachineNow> {
        let faults: BTreeMap<String, FaultKind> = self.progress.faults();
        let mut streams: Vec<_> = self.latest.iter().collect();
        streams.sort_unstable_by_key(|(stream, _)| **stream);
        streams
            .into_iter()
            .take(MACHINES_MAX)
            .filter_map(|(id, reading)| {
                let name = &catalog.stream(*id)?.name;
                let (_, name) = name.split_once('/')?;
                Some(MachineNow {
                    name: name.to_owned(),
                    reading: *reading,
                    fault: faults.get(&format!("plant/{name}/fault")).copied(),
                    flag: self.feed.flag(name),
                })
            })
            .collect()
    }
}

fn value(section: &Section, place: usize, row: usize) -> Option<f64> {
    let column: &Column = section.rows.columns.get(place)?;
    match &column.values {
        Values::F64(values) if column.is_present(row) => values.get(row).copied(),
        _ => None,
    }
}
