//! Drawing rows: by split and fraction, and as many of each class as of the rarest.
//!
//! A row's lot is a hash of seed, stream and timestamp, so it is the same whatever else is asked.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use dunlin_sync::buffer::Fields;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    CohortError, CohortQuery,
    labels::{self, Labels},
    select::{self, Described, Event, Passes, RowRun, Span},
};

/// A class of so many rows or fewer is met exactly when balancing; more only nearly.
const EXACT_ROWS_MAX: u64 = 1 << 16;
/// Makes the lots of balancing others than those of the fraction.
const BALANCE_SEED: u64 = 0x62_616c_616e_6365;

/// Who is drawn: a pure function of seed, stream and timestamp.
pub(super) struct Sampler<'q> {
    query: &'q CohortQuery,
    /// One a stream: for the fraction, for balance.
    seeds: Vec<(u64, u64)>,
}

impl<'q> Sampler<'q> {
    pub(super) fn new(query: &'q CohortQuery, streams: &[Described]) -> Self {
        let seeds = streams.iter().map(|(stream, _)| {
            let of = |seed| xxh3_64_with_seed(stream.name.as_bytes(), seed);
            (of(query.seed), of(query.seed ^ BALANCE_SEED))
        });
        Self {
            query,
            seeds: seeds.collect(),
        }
    }

    /// Whether a row counts by time, split and fraction.
    pub(super) fn counts(&self, run: &RowRun<'_>, row: usize) -> bool {
        let rows = run.rows;
        let is_after = self.query.after.is_none_or(|after| rows.ts[row] > after);
        is_after
            && self.query.split.takes(rows.is_train[row], rows.fold[row])
            && (self.query.fraction >= 1.0 || {
                let lot = xxh3_64_with_seed(&rows.ts[row].to_le_bytes(), self.seeds[run.place].0);
                ((lot >> 11) as f64) < self.query.fraction * (1_u64 << 53) as f64
            })
    }

    /// A row's lot for balance.
    pub(super) fn balance(&self, run: &RowRun<'_>, row: usize) -> u64 {
        xxh3_64_with_seed(&run.rows.ts[row].to_le_bytes(), self.seeds[run.place].1)
    }
}

/// The rows of `run` that are taken, by their place among all rows of the section.
fn taken_rows<'r>(run: &'r RowRun<'_>, spans: &'r [Span]) -> impl Iterator<Item = usize> + 'r {
    let span = select::span_at(spans, run.seq);
    let places = 0..run.end - run.start;
    let taken = places.filter(move |row| span.is_some_and(|span| span.taken.has(*row)));
    taken.map(|row| run.start + row)
}

pub(super) fn found_classes(
    passes: &Passes<'_>,
    taken: &[Vec<Span>],
    fields: &Fields,
    label: &str,
) -> Result<Vec<String>, CohortError> {
    let mut found = BTreeMap::new();
    passes.oldest_first(fields, |event| {
        if let Event::Run(run) = event {
            for row in taken_rows(&run, &taken[run.place]) {
                labels::find(&mut found, label, &run.rows.columns[0], row)?;
            }
        }
        Ok(())
    })?;
    Ok(labels::sorted(found))
}

/// The highest lot that is drawn, for each class.
pub(super) fn balance(
    passes: &Passes<'_>,
    taken: &[Vec<Span>],
    fields: &Fields,
    classes: &Labels,
    sampler: &Sampler<'_>,
) -> Result<Vec<u64>, CohortError> {
    let Labels::Classes(names) = classes else {
        return Ok(Vec::new());
    };
    let each = |act: &mut dyn FnMut(usize, u64)| {
        passes.oldest_first(fields, |event| {
            if let Event::Run(run) = event {
                for row in taken_rows(&run, &taken[run.place]) {
                    if sampler.counts(&run, row)
                        && let Some(class) = classes.class(&run.rows.columns[0], row)
                    {
                        act(class, sampler.balance(&run, row));
                    }
                }
            }
            Ok(())
        })
    };
    let mut counts = vec![0_u64; names.len()];
    each(&mut |class, _| counts[class] += 1)?;
    let rarest = counts.iter().copied().filter(|count| *count > 0).min();
    let rarest = rarest.unwrap_or_default();
    if rarest > EXACT_ROWS_MAX {
        let share = |count: &u64| rarest as f64 / *count as f64;
        let limit = |count| (share(count).min(1.0) * u64::MAX as f64) as u64;
        return Ok(counts.iter().map(limit).collect());
    }
    // The lowest lots of each class, the highest of them at the top.
    let mut lowest: HashMap<usize, BinaryHeap<u64>> = HashMap::new();
    each(&mut |class, lot| {
        let heap = lowest.entry(class).or_default();
        heap.push(lot);
        if heap.len() as u64 > rarest {
            heap.pop();
        }
    })?;
    let limit = |class| lowest.get(&class).and_then(BinaryHeap::peek).copied();
    Ok((0..names.len())
        .map(|class| limit(class).unwrap_or_default())
        .collect())
}
