//! Bursts of samples: one record a sample, or one of their features; or both, in streams of their own.
//!
//! Samples are a list of numbers, or binary data (in base 64 where the format has only texts). Channels of
//! one burst are as long as each other. The first sample has the payload's time, the others follow at the
//! rate; a list of times beside them gives each its own. Without either, records have no source time: that of
//! their arrival would be wrong by hours for what has waited at the broker, and nothing would tell.

use std::{borrow::Cow, cell::RefCell};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    RECORDS_MAX, Reason, Reject, SAMPLES_MAX, builder::Builder, names::clean_tag, path_of,
    shaped::members, tape::Value, value::Cell,
};
use crate::{
    base::{
        own_names::{FEATURES_PART, SAMPLES_PART},
        waveform::{Feature, Reducer},
    },
    config::settings::{Pointer, SampleRate, SampleType, SamplesRule},
};

const NS_PER_S: f64 = 1e9;

thread_local! {
    /// What a spectrum needs that depends on its length alone.
    static REDUCER: RefCell<Reducer> = RefCell::new(Reducer::new());
}

/// One channel.
struct Channel<'r> {
    name: &'r str,
    samples: Vec<f64>,
}

/// One payload's samples.
struct Burst<'r, 't, 'a> {
    channels: Vec<Channel<'r>>,
    times: Times,
    rate_hz: Option<f64>,
    /// Values of the rule's tags.
    tags: Vec<String>,
    /// The payload they are in, if there is more in it.
    root: Option<Value<'t, 'a>>,
}

/// A payload that is nothing but samples.
pub(super) fn decode_raw(
    payload: &[u8],
    samples: &SamplesRule,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    let declared = builder.rule().fields.first();
    let name = declared.map_or("sample", |declared| &declared.field.name);
    let channel = Channel {
        name,
        samples: binary(payload, samples.sample_type)?,
    };
    let rate_hz = match samples.rate {
        Some(SampleRate::Hz(rate_hz)) => Some(rate_hz),
        _ => None,
    };
    let burst = Burst {
        channels: vec![channel],
        times: Times::From(None),
        rate_hz,
        tags: Vec::new(),
        root: None,
    };
    burst.put(samples, builder)
}

/// A payload with samples in it.
pub(super) fn decode(
    root: Value<'_, '_>,
    samples: &SamplesRule,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    let rule = builder.rule();
    let text_at = |pointer: &Pointer| root.at(&pointer.0)?.as_scalar()?.text();
    let tags = rule.payload_tags.iter().filter_map(|tag| tag.at.as_ref());
    let tags = tags.map(|at| clean_tag(&text_at(at).unwrap_or_default()));
    let channels = samples.channels.iter().map(|(name, pointer)| {
        let value = root.at(&pointer.0).ok_or_else(|| {
            let detail = format!("there are no samples at `/{}`", pointer.0.join("/"));
            Reject::new(Reason::MissingField, detail)
        })?;
        let samples = samples_of(value, samples.sample_type)?;
        Ok(Channel { name, samples })
    });
    let channels = channels.collect::<Result<Vec<_>, Reject>>()?;
    let rate_hz = match &samples.rate {
        Some(SampleRate::Hz(rate_hz)) => Some(*rate_hz),
        Some(SampleRate::At(pointer)) => {
            let rate_hz = text_at(pointer).and_then(|text| text.trim().parse().ok());
            let rate_hz = rate_hz.filter(|rate_hz: &f64| rate_hz.is_finite() && *rate_hz > 0.0);
            Some(rate_hz.ok_or_else(|| {
                let detail = format!("there is no rate at `/{}`", pointer.0.join("/"));
                Reject::new(Reason::MissingField, detail)
            })?)
        }
        None => None,
    };
    let time = rule.time.as_deref().map(Pointer::parse);
    let times = match time.as_ref().and_then(|time| root.at(&time.0)) {
        Some(list) if list.is_array() => {
            let times = list.items().map(|item| match item.as_scalar() {
                Some(cell) => builder.time_ns(cell),
                None => Err(Reject::new(
                    Reason::BadTime,
                    "a time that is an object or a list",
                )),
            });
            Times::Each(times.collect::<Result<_, _>>()?)
        }
        Some(value) => {
            let cell = value.as_scalar();
            Times::From(
                cell.map(|cell| builder.time_ns(cell))
                    .transpose()?
                    .flatten(),
            )
        }
        None => Times::From(None),
    };
    let burst = Burst {
        channels,
        times,
        rate_hz,
        tags: tags.collect(),
        root: Some(root),
    };
    burst.put(samples, builder)
}

/// When the samples were taken, nanoseconds UTC.
enum Times {
    From(Option<i64>),
    Each(Vec<Option<i64>>),
}

impl Burst<'_, '_, '_> {
    fn put(&self, rule: &SamplesRule, builder: &mut Builder<'_>) -> Result<(), Reject> {
        let length = self.channels.first();
        let length = length.map_or(0, |channel| channel.samples.len());
        let times_differ = matches!(&self.times, Times::Each(times) if times.len() != length);
        let mut channels = self.channels.iter();
        if times_differ || channels.any(|channel| channel.samples.len() != length) {
            let detail = "the lists of samples, or of their times, differ in length";
            return Err(Reject::new(Reason::WrongType, detail));
        }
        if length == 0 {
            return Err(Reject::new(Reason::Empty, "no samples"));
        }
        if length > SAMPLES_MAX {
            let detail =
                format!("{length} samples in one publish; at most {SAMPLES_MAX} are taken");
            return Err(Reject::new(Reason::TooManyRecords, detail));
        }
        if rule.reduce.is_empty() || rule.keeps_samples {
            self.begin_part(SAMPLES_PART, rule, builder);
            self.put_samples(length, builder)?;
        }
        if !rule.reduce.is_empty() {
            self.begin_part(FEATURES_PART, rule, builder);
            self.put_features(rule, builder)?;
        }
        Ok(())
    }

    /// What follows is of the stream of this part, or of the only one.
    fn begin_part(&self, part: &str, rule: &SamplesRule, builder: &mut Builder<'_>) {
        let mut tags = self.tags.clone();
        if rule.keeps_samples {
            tags.push(part.to_owned());
        }
        if !tags.is_empty() {
            builder.set_tags(tags);
        }
    }

    fn put_samples(&self, length: usize, builder: &mut Builder<'_>) -> Result<(), Reject> {
        // And one of features.
        builder.allow_records(RECORDS_MAX.max(length + 1));
        for index in 0..length {
            builder.begin()?;
            builder.set_source_ts(match (&self.times, self.rate_hz) {
                (Times::Each(times), _) => times[index],
                (Times::From(Some(first)), Some(rate_hz)) => {
                    let offset_ns = (index as f64 / rate_hz * NS_PER_S).round();
                    first.checked_add(offset_ns as i64)
                }
                (Times::From(first), None) => *first,
                (Times::From(None), _) => None,
            });
            for channel in &self.channels {
                let sample = channel.samples[index];
                let cell = if sample.is_nan() {
                    Cell::Null
                } else {
                    Cell::Float(sample)
                };
                builder.put(channel.name, &cell)?;
            }
            let mut channels = self.channels.iter();
            if channels.any(|channel| channel.samples[index].is_nan()) {
                builder.note_any();
            }
            builder.end()?;
        }
        Ok(())
    }

    /// One record of the features, and of what else the payload says.
    fn put_features(&self, rule: &SamplesRule, builder: &mut Builder<'_>) -> Result<(), Reject> {
        builder.begin()?;
        for channel in &self.channels {
            if channel.samples.iter().any(|sample| sample.is_nan()) {
                builder.note_misfit(channel.name, Reason::Nan, "samples of a burst are missing");
            }
            let values =
                REDUCER.with_borrow_mut(|reducer| reducer.features(&channel.samples, &rule.reduce));
            let names = rule
                .reduce
                .iter()
                .flat_map(|feature: &Feature| feature.names());
            for (name, value) in names.zip(values) {
                let cell = value.map_or(Cell::Null, Cell::Float);
                builder.put(&format!("{}.{name}", channel.name), &cell)?;
            }
        }
        if let Some(root) = self.root {
            let channels = rule.channels.iter().map(|(_, pointer)| pointer.0.join("."));
            // A list of times is no field, and a single one has been read.
            let time = builder
                .rule()
                .time
                .as_deref()
                .map(|time| path_of(time).into_owned());
            builder.skip(channels.chain(time).collect());
            members(root, builder, &mut String::new())?;
        }
        let time = match &self.times {
            Times::From(time) => *time,
            Times::Each(times) => times.first().copied().flatten(),
        };
        builder.set_source_ts(time);
        builder.note_any();
        builder.end()
    }
}

fn samples_of(value: Value<'_, '_>, kind: SampleType) -> Result<Vec<f64>, Reject> {
    match value.as_scalar() {
        Some(Cell::Text(text)) => {
            let bytes = STANDARD.decode(text.trim()).map_err(|error| {
                Reject::new(
                    Reason::WrongType,
                    format!("samples that are not base 64: {error}"),
                )
            })?;
            binary(&bytes, kind)
        }
        Some(Cell::Bytes(bytes)) => binary(bytes, kind),
        Some(other) => Err(Reject::new(
            Reason::WrongType,
            format!("{} where samples should be", other.description()),
        )),
        None => value.items().map(number).collect(),
    }
}

fn number(value: Value<'_, '_>) -> Result<f64, Reject> {
    let cell = value.as_scalar();
    let number = match cell {
        Some(Cell::Float(number)) => Some(*number),
        Some(Cell::Integer(number)) => Some(*number as f64),
        Some(Cell::Number(text)) => text.parse().ok(),
        // Missing, but in its place.
        Some(Cell::Null) => Some(f64::NAN),
        _ => None,
    };
    number.ok_or_else(|| {
        let what = cell.map_or(Cow::Borrowed("an object or a list"), |cell| {
            Cow::Owned(cell.description())
        });
        Reject::new(Reason::WrongType, format!("{what} among the samples"))
    })
}

/// Samples in binary data, little-endian.
fn binary(bytes: &[u8], kind: SampleType) -> Result<Vec<f64>, Reject> {
    if !bytes.len().is_multiple_of(kind.bytes()) {
        let detail = format!(
            "{} bytes are no whole number of samples of {} bytes (sample_type)",
            bytes.len(),
            kind.bytes()
        );
        return Err(Reject::new(Reason::WrongType, detail));
    }
    let chunks = bytes.chunks_exact(kind.bytes());
    Ok(match kind {
        SampleType::I16 => chunks
            .map(|sample| i16::from_le_bytes(array(sample)).into())
            .collect(),
        SampleType::I32 => chunks
            .map(|sample| i32::from_le_bytes(array(sample)).into())
            .collect(),
        SampleType::F32 => chunks
            .map(|sample| f32::from_le_bytes(array(sample)).into())
            .collect(),
        SampleType::F64 => chunks
            .map(|sample| f64::from_le_bytes(array(sample)))
            .collect(),
    })
}

/// A chunk, which has this length.
fn array<const BYTES: usize>(chunk: &[u8]) -> [u8; BYTES] {
    chunk.try_into().unwrap_or([0; BYTES])
}
