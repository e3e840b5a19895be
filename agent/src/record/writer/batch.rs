//! What a publish comes to: records by stream, with everything but their timestamps.

use std::collections::HashMap;

use dunlin_sync::{
    block::builder::{BlockBuilder, Fitted, PushError},
    sample::{Field, Schema, Split, StreamId, Timestamp},
};

use crate::{
    config::settings::TimeRange,
    record::{
        decode::{Misfits, Record},
        split::Splitter,
    },
};

/// A stream that has had a record.
pub(super) struct OpenStream {
    pub(super) id: StreamId,
    pub(super) splitter: Splitter,
}

const UNDRAWN: Split = Split {
    is_train: true,
    fold: 0,
};

/// Records of one stream, all of which fit a block.
pub(super) struct Part {
    stream: StreamId,
    /// The stream's plain name.
    name: String,
    /// Source time and values.
    records: Vec<(Option<i64>, Fitted)>,
    /// The split of each, where they were drawn before; otherwise none.
    splits: Vec<Split>,
}

/// Decoded records with everything but their timestamps.
pub(super) struct DecodedBatch<'a> {
    pub(super) streams: &'a mut HashMap<String, OpenStream>,
    pub(super) parts: Vec<Part>,
    /// Records among these whose source's time cannot be one and was left out.
    pub(super) times_implausible: u64,
    /// Values that are missing because they do not fit.
    pub(super) misfits: Misfits,
    /// Records beside these of which the rule leaves out all fields.
    pub(super) records_excluded: u64,
}

impl Part {
    /// Refuses what no block could take: afterwards there is no way to drop a record.
    pub(super) fn new(
        schema: &Schema,
        (stream, name): (StreamId, String),
        records: impl Iterator<Item = Record>,
    ) -> Result<Self, PushError> {
        let fitted = records.map(|record| {
            let values = Fitted::new(schema, record.values)?;
            Ok((record.source_ts, values))
        });
        Ok(Self {
            stream,
            name,
            records: fitted.collect::<Result<_, PushError>>()?,
            splits: Vec::new(),
        })
    }
}

impl DecodedBatch<'_> {
    /// Whether each record says by itself when it was made.
    pub(super) fn is_timed(&self) -> bool {
        let mut records = self.parts.iter().flat_map(|part| &part.records);
        !self.parts.is_empty() && records.all(|(source_ts, _)| source_ts.is_some())
    }

    /// With `source_ts` for the records whose source does not say when they were made.
    pub(super) fn timed_otherwise(mut self, source_ts: Option<i64>) -> Self {
        for (own, _) in self.parts.iter_mut().flat_map(|part| &mut part.records) {
            *own = own.or(source_ts);
        }
        self
    }

    /// With the splits that its records, of one stream, had before; drawn now if there are none.
    pub(super) fn split_as(mut self, splits: Vec<Split>) -> Self {
        if let [part] = self.parts.as_mut_slice() {
            part.splits = splits;
        }
        self
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.records.len()).sum()
    }

    /// Gives timestamps from `first` on and pushes.
    pub(super) fn push_into(self, builder: &mut BlockBuilder, first: Timestamp) {
        let mut index = 0;
        for part in self.parts {
            let mut splitter = self
                .streams
                .get_mut(&part.name)
                .map(|open| &mut open.splitter);
            let mut splits = part.splits.into_iter();
            for (source_ts, values) in part.records {
                let ts = first.shifted(index);
                index += 1;
                // Every stream of a batch is open.
                let draw = || splitter.as_mut().map_or(UNDRAWN, |own| own.assign(ts));
                let split = splits.next().unwrap_or_else(draw);
                builder.push_fitted(values, part.stream, ts, split, source_ts);
            }
        }
    }
}

/// What a publish comes to.
pub(super) enum Decoding<'a> {
    Records(DecodedBatch<'a>),
    /// Nothing to store: its topic is excluded, what it says is of no interest, or its rule leaves out all
    /// fields of its records, which are so many.
    Nothing {
        records_excluded: u64,
    },
}

/// Takes away source times that cannot be one; how many there were.
pub(super) fn leave_out_times(
    range: &TimeRange,
    now_ns: Option<i64>,
    records: &mut [Record],
) -> u64 {
    let mut left_out = 0;
    for record in records {
        let time = record.source_ts;
        record.source_ts = time.filter(|&ns| range.contains(ns, now_ns));
        left_out += u64::from(record.source_ts != time);
    }
    left_out
}

/// `records`, whose values follow `fields`, with each value where `schema` holds it.
pub(super) fn placed(
    records: Vec<Record>,
    fields: &[Field],
    schema: &Schema,
) -> impl ExactSizeIterator<Item = Record> + use<> {
    let places: HashMap<&str, u32> = schema.fields.iter().map(|f| &*f.name).zip(0..).collect();
    let places: Vec<Option<u32>> = fields
        .iter()
        .map(|f| places.get(&*f.name).copied())
        .collect();
    records.into_iter().map(move |record| {
        let moved = record.values.into_iter().filter_map(|(field, value)| {
            let place = places.get(field as usize).copied().flatten()?;
            Some((place, value))
        });
        Record {
            source_ts: record.source_ts,
            values: moved.collect::<Vec<_>>().into(),
        }
    })
}
