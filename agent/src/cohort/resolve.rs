//! Resolving: from a query to the rows there are, in passes over the buffer.
//!
//! The first pass takes rows (times, condition, the last of each stream); one finds and counts the
//! classes, if there are any, and one draws lots, if they are to be balanced; the last lays the rows
//! out in chunks and hashes their keys.

use std::{
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use dunlin_models::data::{Columns, Lineage, WindowShape};
use dunlin_sync::{
    buffer::{Buffer, Fields},
    sample::{Catalog, FieldType, Schema, Stream, TimeRange, Timestamp},
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{
    Cohort, CohortError, CohortQuery, Missing,
    bits::Bits,
    labels::{self, Labels},
    read::{Chunk, Part, Position, filled},
    select::{self, Event, Passes, Run, Span},
};
use crate::operations::export::matches;

/// Names listed in an error.
const NAMES_MAX: usize = 12;
/// Longest window, rows.
const WINDOW_ROWS_MAX: usize = 1 << 20;
/// A class of so many rows or fewer is met exactly when balancing; more only nearly.
const EXACT_ROWS_MAX: u64 = 1 << 16;
/// Makes the lots of balancing others than those of the fraction.
const BALANCE_SEED: u64 = 0x62_616c_616e_6365;

/// The rows that `query` names in `buffer` now, for windows of `shape`.
///
/// # Errors
/// [`CohortError`], with what to do about it.
pub fn resolve(
    buffer: &Arc<Buffer>,
    query: &CohortQuery,
    shape: WindowShape,
) -> Result<Cohort, CohortError> {
    resolve_telling(buffer, query, shape, &|_, _| Ok(()))
}

/// As [`resolve`]; `tell` hears of progress, `done` of `total` in each pass, and can end it.
pub(crate) fn resolve_telling(
    buffer: &Arc<Buffer>,
    query: &CohortQuery,
    shape: WindowShape,
    tell: &dyn Fn(u64, u64) -> Result<(), CohortError>,
) -> Result<Cohort, CohortError> {
    check(query, shape)?;
    let context = (shape.lookback + shape.horizon).max(1) - 1;
    let catalog = buffer.catalog();
    let streams = streams(&catalog, &query.streams)?;
    let features = features(&streams, query);
    let label = query.label.as_deref();
    let of = |(stream, schema): &(Arc<Stream>, Arc<Schema>), names: &[&str]| {
        let found = names.iter().map(|name| field(stream, schema, name));
        found.collect::<Result<Vec<_>, _>>()
    };
    let mut data = Fields::new();
    let mut label_alone = Fields::new();
    for both in &streams {
        if data.contains_key(&both.1.id) {
            continue;
        }
        let numbers = of(
            both,
            &features.iter().map(String::as_str).collect::<Vec<_>>(),
        )?;
        for ((_, kind), name) in numbers.iter().zip(&features) {
            if *kind == FieldType::Text {
                return Err(CohortError::Asked(format!(
                    "the field `{name}` of {} is text; a feature is a number or a flag",
                    both.1.name
                )));
            }
        }
        let label = of(both, label.as_slice())?;
        label_alone.insert(both.1.id, label.clone());
        data.insert(both.1.id, [numbers, label].concat());
    }
    let mut conditions = Vec::new();
    let mut condition_fields = Fields::new();
    for (stream, schema) in &streams {
        let checked = query.condition.as_ref();
        let checked = checked.map(|c| c.check(schema, &stream.tags)).transpose()?;
        let positions = checked.iter().flat_map(|checked| checked.fields());
        let fields = positions.map(|field| (*field, schema.fields[*field].kind));
        condition_fields.insert(schema.id, fields.collect());
        conditions.push(checked);
    }

    // Windows look back over the moment from which rows count.
    let since = query.after.filter(|_| context == 0);
    let since = since.map_or(i64::MIN, |after| after.saturating_add(1));
    let range = TimeRange {
        from: Timestamp(query.from.unwrap_or(i64::MIN).max(since)),
        to: Timestamp(query.to.unwrap_or(i64::MAX)),
    };
    let (first, end) = buffer
        .blocks_within(range)
        .map_err(CohortError::Unreadable)?;
    let places = streams.iter().enumerate();
    let mut passes = Passes {
        buffer,
        places: places
            .map(|(place, (stream, _))| (stream.id, place))
            .collect(),
        first,
        end,
        lost: std::collections::BTreeSet::new(),
        tell,
    };
    let taken = passes.take(query, range, context, &condition_fields, &conditions)?;

    let lots = Lots::new(query, &streams);
    let is_text = label_alone
        .values()
        .flatten()
        .any(|(_, kind)| *kind == FieldType::Text);
    let classify = query.classify || query.balance || !query.classes.is_empty() || is_text;
    let mut columns = Columns {
        features,
        label: query.label.clone(),
        classes: Vec::new(),
    };
    let mut labels = label.map(|_| Labels::Number);
    let mut limits = None;
    if let Some(label) = label.filter(|_| classify) {
        columns.classes = if query.classes.is_empty() {
            found_classes(&passes, &taken, &label_alone, label)?
        } else {
            query.classes.clone()
        };
        let classes = Labels::classes(&columns.classes);
        if query.balance {
            limits = Some(balance(&passes, &taken, &label_alone, &classes, &lots)?);
        }
        labels = Some(classes);
    }
    let mut layout = Layout {
        query,
        context,
        lots: &lots,
        labels: labels.as_ref(),
        limits: limits.as_deref(),
        width: columns.features.len(),
        lines: streams.iter().map(|_| Line::default()).collect(),
    };
    let fields = match (query.missing, query.balance) {
        (Missing::LastValue, _) => data.clone(),
        (Missing::Skip, true) => label_alone,
        (Missing::Skip, false) => data.keys().map(|schema| (*schema, Vec::new())).collect(),
    };
    passes.oldest_first(&fields, |event| {
        match event {
            Event::Lost => layout
                .lines
                .iter_mut()
                .for_each(|line| line.is_broken = true),
            Event::Run(run) => layout.run(&run, &taken[run.place], &passes),
        }
        Ok(())
    })?;
    let lines = layout.lines;
    let mut cohort = Cohort {
        buffer: Arc::clone(buffer),
        columns,
        lineage: Lineage {
            query: query.to_string(),
            ..Lineage::default()
        },
        fields: data,
        labels,
        parts: Vec::new(),
        chunks: Vec::new(),
    };
    finish(&mut cohort, streams, lines);
    Ok(cohort)
}

/// Puts the streams one after the other.
fn finish(cohort: &mut Cohort, streams: Vec<(Arc<Stream>, Arc<Schema>)>, lines: Vec<Line>) {
    let mut hash = Xxh3::new();
    let mut times: Option<(i64, i64)> = None;
    for (place, (line, (stream, _))) in lines.into_iter().zip(streams).enumerate() {
        if line.counted > 0 {
            hash.update(&(stream.name.len() as u64).to_le_bytes());
            hash.update(stream.name.as_bytes());
            hash.update(&line.counted.to_le_bytes());
            hash.update(&line.hash.digest().to_le_bytes());
            let (first, last) = times.unwrap_or((line.first_ts, line.last_counted_ts));
            times = Some((first.min(line.first_ts), last.max(line.last_counted_ts)));
        }
        let chunks = line.chunks.into_iter().chain(line.open);
        // A chunk without a row that counts is read by nobody.
        let chunks = chunks.filter(|chunk| chunk.counts);
        cohort.chunks.extend(chunks.map(|chunk| Chunk {
            stream: place,
            ..chunk
        }));
        cohort.lineage.rows += line.counted;
        cohort.parts.push(Part {
            name: stream.name.as_str().into(),
            stream,
            spans: line.spans,
            rows: line.counted,
        });
    }
    (cohort.lineage.first_ts, cohort.lineage.last_ts) = times.unwrap_or_default();
    cohort.lineage.rows_hash = hash.digest();
}

fn check(query: &CohortQuery, shape: WindowShape) -> Result<(), CohortError> {
    let repeats = |names: &[String]| {
        let mut seen = std::collections::HashSet::new();
        names
            .iter()
            .find(|name| !seen.insert(name.as_str()))
            .cloned()
    };
    let wrong = if !(query.fraction > 0.0 && query.fraction <= 1.0) {
        format!(
            "the fraction {} is not above 0 and at most 1; 0.1 takes a tenth",
            query.fraction
        )
    } else if query.rows_per_chunk_max == 0 {
        "a chunk of 0 rows holds nothing; leave rows_per_chunk_max out".into()
    } else if query.gap_ns_max.is_some_and(|gap| gap <= 0) {
        "gap_ns_max must be above 0 nanoseconds; leave it out to know no gaps".into()
    } else if query.from > query.to && query.to.is_some() {
        "`from` is later than `to`; swap them".into()
    } else if query.label.is_none()
        && (query.balance || query.classify || !query.classes.is_empty())
    {
        "classes and balance need a label; name the field".into()
    } else if let Some(name) = repeats(&query.features).or_else(|| repeats(&query.classes)) {
        format!("`{}` is named twice; once is enough", name.escape_debug())
    } else if shape.lookback.saturating_add(shape.horizon) > WINDOW_ROWS_MAX {
        format!("a window has at most {WINDOW_ROWS_MAX} rows; shorten lookback or horizon")
    } else {
        return Ok(());
    };
    Err(CohortError::Asked(wrong))
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.map(|name| name.escape_debug().to_string()).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "none yet".into(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMES_MAX].join(", ")),
    }
}

/// The streams that `pattern` names, by name, with their schemas.
fn streams(
    catalog: &Catalog,
    pattern: &str,
) -> Result<Vec<(Arc<Stream>, Arc<Schema>)>, CohortError> {
    let matching = catalog.streams.iter().filter(|s| matches(pattern, &s.name));
    let with_schema = matching.filter_map(|stream| {
        let schema = catalog.schema(stream.schema)?;
        Some((Arc::clone(stream), Arc::clone(schema)))
    });
    let mut found: Vec<_> = with_schema.collect();
    found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    if found.is_empty() {
        return Err(CohortError::NoStream(format!(
            "no stream is called \"{}\"; streams: {}",
            pattern.escape_debug(),
            listed(catalog.streams.iter().map(|stream| stream.name.as_str()))
        )));
    }
    Ok(found)
}

fn features(streams: &[(Arc<Stream>, Arc<Schema>)], query: &CohortQuery) -> Vec<String> {
    if !query.features.is_empty() {
        return query.features.clone();
    }
    let fields = streams.first().into_iter().flat_map(|(_, s)| &s.fields);
    let numbers = fields.filter(|field| {
        field.kind != FieldType::Text && query.label.as_deref() != Some(field.name.as_str())
    });
    numbers.map(|field| field.name.clone()).collect()
}

fn field(stream: &Stream, schema: &Schema, name: &str) -> Result<(usize, FieldType), CohortError> {
    let field = schema.field(name).ok_or_else(|| {
        CohortError::Asked(format!(
            "the stream {} has no field `{}`; fields: {}; name others, or fewer streams",
            stream.name.escape_debug(),
            name.escape_debug(),
            listed(schema.fields.iter().map(|field| field.name.as_str()))
        ))
    })?;
    Ok((field, schema.fields[field].kind))
}

/// Who is drawn: a pure function of seed, stream and timestamp.
struct Lots<'q> {
    query: &'q CohortQuery,
    /// One a stream: for the fraction, for balance.
    seeds: Vec<(u64, u64)>,
}

impl<'q> Lots<'q> {
    fn new(query: &'q CohortQuery, streams: &[(Arc<Stream>, Arc<Schema>)]) -> Self {
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
    fn counts(&self, run: &Run<'_>, row: usize) -> bool {
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
    fn balance(&self, run: &Run<'_>, row: usize) -> u64 {
        xxh3_64_with_seed(&run.rows.ts[row].to_le_bytes(), self.seeds[run.place].1)
    }
}

/// The rows of `run` that are taken, by their place among all rows of the section.
fn taken_rows<'r>(run: &'r Run<'_>, spans: &'r [Span]) -> impl Iterator<Item = usize> + 'r {
    let span = select::span_at(spans, run.seq);
    let places = 0..run.end - run.start;
    let taken = places.filter(move |row| span.is_some_and(|span| span.taken.has(*row)));
    taken.map(|row| run.start + row)
}

fn found_classes(
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
fn balance(
    passes: &Passes<'_>,
    taken: &[Vec<Span>],
    fields: &Fields,
    classes: &Labels,
    lots: &Lots<'_>,
) -> Result<Vec<u64>, CohortError> {
    let Labels::Classes(names) = classes else {
        return Ok(Vec::new());
    };
    let each = |act: &mut dyn FnMut(usize, u64)| {
        passes.oldest_first(fields, |event| {
            if let Event::Run(run) = event {
                for row in taken_rows(&run, &taken[run.place]) {
                    if lots.counts(&run, row)
                        && let Some(class) = classes.class(&run.rows.columns[0], row)
                    {
                        act(class, lots.balance(&run, row));
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

/// Rows of one stream being laid out.
#[derive(Default)]
struct Line {
    spans: Vec<Span>,
    chunks: Vec<Chunk>,
    open: Option<Chunk>,
    /// The last rows since the last gap, as many as windows look back, and the values to fill in before
    /// each.
    recent: VecDeque<(Position, Option<Box<[f32]>>)>,
    /// The next row does not follow the one before.
    is_broken: bool,
    last_ts: Option<i64>,
    fill: Vec<f32>,
    hash: Xxh3,
    counted: u64,
    first_ts: i64,
    last_counted_ts: i64,
}

/// The last pass: chunks, what counts, hashes.
struct Layout<'a> {
    query: &'a CohortQuery,
    /// Rows that a window looks back over.
    context: usize,
    lots: &'a Lots<'a>,
    labels: Option<&'a Labels>,
    limits: Option<&'a [u64]>,
    width: usize,
    lines: Vec<Line>,
}

impl Layout<'_> {
    fn counts(&self, run: &Run<'_>, row: usize) -> bool {
        let drawn = |limits: &[u64]| {
            // The label is the last column read.
            let class = self.labels.zip(run.rows.columns.last());
            let class = class.and_then(|(labels, column)| labels.class(column, row));
            class.is_some_and(|class| self.lots.balance(run, row) <= limits[class])
        };
        self.lots.counts(run, row) && self.limits.is_none_or(drawn)
    }

    fn run(&mut self, run: &Run<'_>, spans: &[Span], passes: &Passes<'_>) {
        let thins = self.query.thins();
        let Some(span) = select::span_at(spans, run.seq) else {
            self.lines[run.place].is_broken = true;
            return;
        };
        let length = run.end - run.start;
        let (mut taken, mut counted) = (vec![false; length], vec![true; length]);
        for place in 0..length {
            let row = run.start + place;
            if !span.taken.has(place) {
                self.lines[run.place].is_broken = true;
                continue;
            }
            let counts = !thins || self.counts(run, row);
            // Without windows, nobody looks at a row that does not count.
            taken[place] = counts || self.context > 0;
            counted[place] = counts;
            if taken[place] {
                self.place(run, place, counts);
            }
        }
        let line = &mut self.lines[run.place];
        if let Some(taken) = Bits::of(&taken) {
            let counted = if self.context == 0 {
                Some(Bits::All)
            } else {
                Bits::of(&counted)
            };
            let span = Span {
                first: run.seq,
                last: run.seq,
                taken,
                counted: counted.unwrap_or_else(|| Bits::Some(Box::default())),
            };
            select::push(&mut line.spans, span, &passes.lost);
        }
    }

    /// Appends a row to its stream's chunks.
    fn place(&mut self, run: &Run<'_>, place: usize, counts: bool) {
        let row = run.start + place;
        let ts = run.rows.ts[row];
        let line = &mut self.lines[run.place];
        let gap = self.query.gap_ns_max.zip(line.last_ts);
        let is_gap = gap.is_some_and(|(gap, last)| ts.saturating_sub(last) > gap);
        if is_gap || (line.is_broken && self.context > 0) {
            line.chunks.extend(line.open.take());
            line.recent.clear();
            line.fill.clear();
        }
        line.is_broken = false;
        line.last_ts = Some(ts);
        if counts {
            if line.counted == 0 {
                line.first_ts = ts;
            }
            line.counted += 1;
            line.last_counted_ts = ts;
            line.hash.update(&ts.to_le_bytes());
        }
        let position = Position {
            seq: run.seq,
            row: place as u32,
        };
        let fill = (self.query.missing == Missing::LastValue).then(|| {
            line.fill.resize(self.width, f32::NAN);
            let before: Box<[f32]> = line.fill.as_slice().into();
            let columns = run.rows.columns.iter().take(self.width);
            let mut values: Vec<f32> = columns.map(|c| labels::number(c, row)).collect();
            filled(&mut values, &mut line.fill);
            before
        });
        match &mut line.open {
            Some(chunk) if chunk.rows - chunk.lead < self.query.rows_per_chunk_max => {
                chunk.rows += 1;
                chunk.counts |= counts;
            }
            full => {
                line.chunks.extend(full.take());
                let (start, fill) = line
                    .recent
                    .front()
                    .cloned()
                    .unwrap_or((position, fill.clone()));
                *full = Some(Chunk {
                    stream: run.place,
                    start,
                    lead: line.recent.len(),
                    rows: line.recent.len() + 1,
                    counts,
                    fill,
                });
            }
        }
        if self.context > 0 {
            if line.recent.len() == self.context {
                line.recent.pop_front();
            }
            line.recent.push_back((position, fill));
        }
    }
}
