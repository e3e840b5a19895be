//! Resolving: from a query to the rows there are, in passes over the buffer or over grids made of it.
//!
//! The first pass takes rows (times, condition, the last of each stream); one finds and counts the
//! classes, if there are any, and one draws lots, if they are to be balanced; the last lays the rows
//! out in chunks and hashes their keys.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
};

use dunlin_models::data::{Columns, Lineage, WindowShape};
use dunlin_sync::{
    buffer::{Buffer, Fields},
    sample::{Catalog, FieldType, Schema, Stream, TimeRange, Timestamp},
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    Checked, Cohort, CohortError, CohortQuery, Missing,
    draw::{Sampler, balance, found_classes},
    features::features,
    labels::Labels,
    layout::{Layout, StreamLayout},
    read::{Chunk, CohortPart},
    select::{Described, Event, Passes, Span},
    store::RowStore,
};
use crate::{
    base::glob::means,
    grid::{GridSpec, GridStore, StoreWanted},
};

/// Names listed in an error.
const NAMES_MAX: usize = 12;
/// Longest window, rows.
const WINDOW_ROWS_MAX: usize = 1 << 20;

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
    let stored = streams(&buffer.catalog(), &query.streams)?;
    let features = features(&stored, query);
    let grid = grid(query);
    let streams = as_rows(&stored, grid.as_ref());
    let plan = ReadPlan::new(&streams, &features, query)?;
    let store = match &grid {
        None => RowStore::Records(Arc::clone(buffer)),
        Some(spec) => {
            let fields = plan.stored_fields(&stored);
            let wanted = wanted_records(query, spec, context);
            let grids = GridStore::new(buffer, spec, &stored, fields, &wanted, tell)?;
            RowStore::Grid(grids)
        }
    };

    // Windows look back over the moment from which rows count.
    let since = query.after.filter(|_| context == 0);
    let since = since.map_or(i64::MIN, |after| after.saturating_add(1));
    let range = TimeRange {
        from: Timestamp(query.from.unwrap_or(i64::MIN).max(since)),
        to: Timestamp(query.to.unwrap_or(i64::MAX)),
    };
    let (first, end) = store
        .blocks_within(range)
        .map_err(CohortError::Unreadable)?;
    let places = streams.iter().enumerate();
    let mut passes = Passes {
        store: &store,
        places: places
            .map(|(place, (stream, _))| (stream.id, place))
            .collect(),
        first,
        end,
        lost: BTreeSet::new(),
        tell,
    };
    let taken = passes.take(query, range, context, &plan.condition, &plan.conditions)?;

    let sampler = Sampler::new(query, &streams);
    let labelling = Labelling::find(&passes, &taken, query, &plan.label, &sampler)?;
    let mut layout = Layout {
        query,
        context,
        sampler: &sampler,
        labels: labelling.labels.as_ref(),
        limits: labelling.limits.as_deref(),
        width: features.len(),
        lines: streams.iter().map(|_| StreamLayout::default()).collect(),
    };
    let fields = match (query.missing, query.balance) {
        (Missing::LastValue, _) => plan.data.clone(),
        (Missing::Skip, true) => plan.label,
        (Missing::Skip, false) => plan.data.keys().map(|id| (*id, Vec::new())).collect(),
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
        store,
        columns: Columns {
            features,
            label: query.label.clone(),
            classes: labelling.classes,
        },
        lineage: Lineage {
            query: query.to_string(),
            ..Lineage::default()
        },
        fields: plan.data,
        labels: labelling.labels,
        parts: Vec::new(),
        chunks: Vec::new(),
        last_block: Mutex::default(),
    };
    finish(&mut cohort, streams, lines);
    Ok(cohort)
}

/// The grid that is asked for, with the last of the classes in a step.
fn grid(query: &CohortQuery) -> Option<GridSpec> {
    let grid = query.grid.as_ref()?;
    let classify = query.classify || query.balance || !query.classes.is_empty();
    Some(match query.label.as_deref().filter(|_| classify) {
        Some(label) => grid.with_last(label),
        None => grid.clone(),
    })
}

/// The streams as their rows have them: in a grid, fields may have another type than in the records.
fn as_rows(stored: &[Described], grid: Option<&GridSpec>) -> Vec<Described> {
    let streams = stored.iter().map(|(stream, schema)| {
        let grid = grid.map(|grid| grid.schema(schema));
        let schema = grid.unwrap_or_else(|| Arc::clone(schema));
        (Arc::clone(stream), schema)
    });
    streams.collect()
}

/// The records of which a grid is made, for windows that look back over `context` rows.
fn wanted_records(query: &CohortQuery, spec: &GridSpec, context: usize) -> StoreWanted {
    let context_ns = spec.every_ns.saturating_mul(context as i64 + 1);
    let since = query.after.map(|after| after.saturating_sub(context_ns));
    StoreWanted {
        from: query.from.max(since).unwrap_or(i64::MIN),
        // How many rows a condition leaves is only known when they are all there.
        last: match query.condition {
            Some(_) => u64::MAX,
            None => query.last.unwrap_or(u64::MAX),
        },
        to: query.to.unwrap_or(i64::MAX),
        arrived_to: query.arrived_to.unwrap_or(i64::MAX),
    }
}

/// What is known of labels before anything is laid out.
struct Labelling {
    /// Names of the classes, if there are classes.
    classes: Vec<String>,
    labels: Option<Labels>,
    /// Rows of each class, where every class gets as many.
    limits: Option<Vec<u64>>,
}

impl Labelling {
    fn find(
        passes: &Passes<'_>,
        taken: &[Vec<Span>],
        query: &CohortQuery,
        label_fields: &Fields,
        sampler: &Sampler<'_>,
    ) -> Result<Self, CohortError> {
        let mut fields = label_fields.values().flatten();
        let is_text = fields.any(|(_, kind)| *kind == FieldType::Text);
        let classify = query.classify || query.balance || !query.classes.is_empty() || is_text;
        let Some(label) = query.label.as_deref().filter(|_| classify) else {
            return Ok(Self {
                classes: Vec::new(),
                labels: query.label.as_ref().map(|_| Labels::Number),
                limits: None,
            });
        };
        let classes = if query.classes.is_empty() {
            found_classes(passes, taken, label_fields, label)?
        } else {
            query.classes.clone()
        };
        let labels = Labels::classes(&classes);
        let limits = if query.balance {
            Some(balance(passes, taken, label_fields, &labels, sampler)?)
        } else {
            None
        };
        Ok(Self {
            classes,
            labels: Some(labels),
            limits,
        })
    }
}

/// What the passes read of each schema.
struct ReadPlan {
    /// The features, then the label.
    data: Fields,
    label: Fields,
    /// What conditions look at.
    condition: Fields,
    /// One a stream.
    conditions: Vec<Option<Checked>>,
}

impl ReadPlan {
    fn new(
        streams: &[Described],
        features: &[String],
        query: &CohortQuery,
    ) -> Result<Self, CohortError> {
        let mut plan = Self {
            data: Fields::new(),
            label: Fields::new(),
            condition: Fields::new(),
            conditions: Vec::new(),
        };
        for (stream, schema) in streams {
            let checked = query.condition.as_ref();
            let checked = checked.map(|c| c.check(schema, &stream.tags)).transpose()?;
            if !plan.data.contains_key(&schema.id) {
                let looked_at = checked.iter().flat_map(Checked::fields).copied();
                plan.condition.insert(schema.id, looked_at.collect());
                let numbers = features.iter().map(|name| number(stream, schema, name));
                let mut fields = numbers.collect::<Result<Vec<_>, _>>()?;
                let label = query.label.iter();
                let label = label.map(|name| label_of(stream, schema, name, query));
                let label = label.collect::<Result<Vec<_>, _>>()?;
                fields.extend(&label);
                plan.label.insert(schema.id, label);
                plan.data.insert(schema.id, fields);
            }
            plan.conditions.push(checked);
        }
        Ok(plan)
    }

    /// Every field that a pass may look at, with the type that it has in the records of `stored`.
    fn stored_fields(&self, stored: &[Described]) -> Fields {
        let of = |(_, schema): &Described| {
            let looked_at = self.data[&schema.id]
                .iter()
                .chain(&self.condition[&schema.id]);
            let fields: BTreeSet<usize> = looked_at.map(|(field, _)| *field).collect();
            let typed = fields
                .into_iter()
                .map(|field| (field, schema.kind_of(field)));
            (schema.id, typed.collect())
        };
        stored.iter().map(of).collect()
    }
}

/// Puts the streams one after the other.
fn finish(cohort: &mut Cohort, streams: Vec<Described>, lines: Vec<StreamLayout>) {
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
        cohort.parts.push(CohortPart {
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
        let mut seen = HashSet::new();
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
    } else if let Some(mistake) = query.grid.as_ref().and_then(GridSpec::mistake) {
        mistake
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

fn listed(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    let names = names.map(|name| name.as_ref().escape_debug().to_string());
    let names: Vec<_> = names.collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "none yet".into(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMES_MAX].join(", ")),
    }
}

/// The streams that `pattern` names, by name, with their schemas.
fn streams(catalog: &Catalog, pattern: &str) -> Result<Vec<Described>, CohortError> {
    let all = catalog.streams();
    let matching = all.filter(|stream| means(pattern, catalog, stream));
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
            listed(catalog.streams().map(|stream| catalog.shown(stream)))
        )));
    }
    Ok(found)
}

/// As [`field`]; classes of a field that is held as several types are those of all of them.
fn label_of(
    stream: &Stream,
    schema: &Schema,
    name: &str,
    query: &CohortQuery,
) -> Result<(usize, FieldType), CohortError> {
    let (position, kind) = field(stream, schema, name)?;
    let classify = query.classify || query.balance || !query.classes.is_empty();
    if classify && schema.seconds_of(position).next().is_some() {
        return Ok((position, FieldType::Text));
    }
    Ok((position, kind))
}

fn number(stream: &Stream, schema: &Schema, name: &str) -> Result<(usize, FieldType), CohortError> {
    let field = field(stream, schema, name)?;
    if field.1 == FieldType::Text {
        return Err(CohortError::Asked(format!(
            "the field `{}` of {} is text; a feature is a number or a flag",
            name.escape_debug(),
            schema.name.escape_debug()
        )));
    }
    Ok(field)
}

/// Which cells make a field: those at its position, and those that columns beside it hold for it, which come
/// with these whenever the buffer is read.
fn field(stream: &Stream, schema: &Schema, name: &str) -> Result<(usize, FieldType), CohortError> {
    let field = schema.field(name).ok_or_else(|| {
        CohortError::Asked(format!(
            "the stream {} has no field `{}`; fields: {}; name others, or fewer streams",
            stream.name.escape_debug(),
            name.escape_debug(),
            listed(schema.fields.iter().map(|field| field.name.as_str()))
        ))
    })?;
    Ok((field, schema.kind_of(field)))
}
