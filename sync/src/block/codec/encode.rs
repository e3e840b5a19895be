//! Sections as bytes.

use bincode::{Encode, config};

use super::{BlockBody, stored::kind_code};
use crate::{
    block::{
        Run,
        pack::{self, Compression, Packed},
        section::{OpenColumn, OpenSection},
    },
    rows::{Columns, Rows, Values},
    sample::StreamId,
};

/// In a section of fewer rows neighbouring columns share a band.
const BAND_ROWS_MAX: usize = 16;

#[derive(Encode)]
struct WireSection {
    schema: u32,
    runs: Vec<(u32, u32)>,
    ts: Packed,
    is_train: Vec<u8>,
    fold: Option<Vec<u8>>,
    source_ts: Option<(Vec<u8>, Packed)>,
    bands: Vec<WireBand>,
}

/// Neighbouring columns of one type.
#[derive(Encode)]
struct WireBand {
    /// Fields between the band before and this one, which no row has.
    skip: u32,
    kind: u8,
    /// Columns.
    count: u32,
    /// The rows that have a value, if the band is of one column; `None`: all of them.
    present: Option<Packed>,
    /// Column after column.
    values: Packed,
}

/// Encodes sections whose rows are in order of arrival. There must be at least one row.
pub(crate) fn encode(sections: &[OpenSection], compression: Compression) -> BlockBody {
    let times = || sections.iter().flat_map(|s| s.keys.ts.iter().copied());
    let wire: Vec<WireSection> = sections
        .iter()
        .map(|s| encode_section(s, compression))
        .collect();
    let runs = wire.iter().flat_map(|section| &section.runs);
    BlockBody {
        runs: runs.map(|&(stream, rows)| Run { stream, rows }).collect(),
        rows: times().count() as u32,
        first_ts: times().min().unwrap_or_default(),
        last_ts: times().max().unwrap_or_default(),
        // Encoding into memory cannot fail; an empty body would be caught by every reader.
        sections: bincode::encode_to_vec(wire, config::standard()).unwrap_or_default(),
    }
}

fn encode_section(section: &OpenSection, compression: Compression) -> WireSection {
    let order = (!section.streams.is_sorted()).then(|| Order::by_stream(&section.streams));
    let sorted;
    let (streams, keys) = match &order {
        None => (&section.streams, &section.keys),
        Some(order) => {
            sorted = order.sorted(section);
            (&sorted.0, &sorted.1)
        }
    };
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for stream in streams {
        match runs.last_mut() {
            Some((last, count)) if last == stream => *count += 1,
            _ => runs.push((*stream, 1)),
        }
    }
    let source_ts = keys.source_ts.iter().any(Option::is_some).then(|| {
        let present: Vec<bool> = keys.source_ts.iter().map(Option::is_some).collect();
        // A missing time repeats the one before: it costs next to nothing then.
        let mut last = 0;
        let times: Vec<i64> = keys
            .source_ts
            .iter()
            .map(|t| t.inspect(|t| last = *t).unwrap_or(last))
            .collect();
        (
            pack::pack_bits(&present),
            pack::pack_times(&times, compression),
        )
    });
    WireSection {
        schema: section.schema,
        runs,
        ts: pack::pack_times(&keys.ts, compression),
        is_train: pack::pack_bits(&keys.is_train),
        fold: keys
            .fold
            .iter()
            .any(|fold| *fold != 0)
            .then(|| keys.fold.clone()),
        source_ts,
        bands: encode_bands(section, order.as_ref(), compression),
    }
}

/// Rows in order of stream, each stream's rows still in order of arrival.
struct Order {
    /// Row as it arrived, by its new place.
    rows: Vec<u32>,
    /// New place of each row as it arrived.
    places: Vec<u32>,
}

impl Order {
    fn by_stream(streams: &[StreamId]) -> Self {
        let mut rows: Vec<u32> = (0..streams.len() as u32).collect();
        rows.sort_by_key(|row| streams[*row as usize]);
        let mut places = vec![0; rows.len()];
        for (place, row) in (0..).zip(&rows) {
            places[*row as usize] = place;
        }
        Self { rows, places }
    }

    /// Streams and keys in this order.
    fn sorted(&self, section: &OpenSection) -> (Vec<StreamId>, Rows) {
        let keys = &section.keys;
        let rows = || self.rows.iter().map(|row| *row as usize);
        let sorted = Rows {
            ts: rows().map(|row| keys.ts[row]).collect(),
            is_train: rows().map(|row| keys.is_train[row]).collect(),
            fold: rows().map(|row| keys.fold[row]).collect(),
            source_ts: rows().map(|row| keys.source_ts[row]).collect(),
            columns: Columns::default(),
        };
        (rows().map(|row| section.streams[row]).collect(), sorted)
    }

    /// Appends the values of `column` in this order to `values`; returns their rows, unless all have one.
    fn append(&self, column: &OpenColumn, values: &mut Values) -> Option<Vec<u32>> {
        if column.rows.len() == self.rows.len() {
            let places = self.rows.iter().map(|row| *row as usize);
            values.extend_picked(&column.values, places);
            return None;
        }
        let places = column.rows.iter().map(|row| self.places[*row as usize]);
        let mut sorted: Vec<(u32, usize)> = places.zip(0..).collect();
        sorted.sort_unstable();
        values.extend_picked(&column.values, sorted.iter().map(|(_, place)| *place));
        Some(sorted.into_iter().map(|(row, _)| row).collect())
    }
}

fn encode_bands(
    section: &OpenSection,
    order: Option<&Order>,
    compression: Compression,
) -> Vec<WireBand> {
    let rows = section.streams.len();
    let mut columns: Vec<&OpenColumn> = section.columns.iter().collect();
    columns.sort_unstable_by_key(|column| column.field);
    let is_full = |column: &OpenColumn| column.rows.len() == rows;
    let share = |a: &&OpenColumn, b: &&OpenColumn| {
        rows < BAND_ROWS_MAX
            && a.field + 1 == b.field
            && a.values.kind() == b.values.kind()
            && is_full(a)
            && is_full(b)
    };
    let mut next = 0;
    let bands = columns.chunk_by(share).map(|band| {
        let first = band[0];
        let (mut gathered, mut present) = (Values::empty(first.values.kind()), None);
        let values = if band.len() == 1 && order.is_none() {
            present = (!is_full(first)).then_some(&first.rows).cloned();
            &first.values
        } else {
            for column in band {
                match order {
                    Some(order) => present = order.append(column, &mut gathered),
                    None => gathered.extend_from(&column.values, 0..column.values.len()),
                }
            }
            &gathered
        };
        let skip = first.field - next;
        next = first.field + band.len() as u32;
        WireBand {
            skip,
            kind: kind_code(values.kind()),
            count: band.len() as u32,
            present: present.map(|present| pack::pack_rows(&present, rows)),
            values: match values {
                Values::F64(v) => pack::pack_numbers(v, compression),
                Values::F32(v) => pack::pack_numbers(v, compression),
                Values::I64(v) => pack::pack_numbers(v, compression),
                Values::Bool(v) => pack::pack_flags(v),
                Values::Text(v) => pack::pack_texts(v),
            },
        }
    });
    bands.collect()
}
