//! Payloads that are bursts of samples.

use crate::base::own_names::PART_TAG;
use crate::config::{
    check::{entry::Entry, stream::fields::json_pointer_error},
    diagnostic::Diagnostics,
    read::parse,
    schema::{keys::stream as keys, kind::words},
    settings::{
        DeclaredField, Feature, PayloadFormat, PayloadTag, Pointer, SampleRate, SamplesRule,
        choice::Choice,
    },
};

/// `samples = "/x"`, with what goes with it.
pub(super) fn rule(
    stream: &Entry<'_>,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> Option<SamplesRule> {
    let key = keys::SAMPLES.key();
    let is_raw = format == PayloadFormat::Raw;
    if stream.raw(key).is_none() && !is_raw {
        let others = [keys::RATE_HZ.key(), keys::RATE_AT.key(), keys::REDUCE.key()];
        let others = others.map(|other| (other, stream.raw(other).is_some()));
        let keeps_samples = stream.get(&keys::KEEP_SAMPLES, found);
        let kept = (keys::KEEP_SAMPLES.key(), keeps_samples);
        for (other, is_given) in others.into_iter().chain([kept]) {
            if is_given {
                let hint = "add samples = \"/x\": where the samples are";
                stream.error(other, "means nothing without samples", hint, found);
            }
        }
        return None;
    }
    if !is_raw && !format.has_pointers() {
        let hint = "remove it, or set format = \"json\", \"cbor\" or \"msgpack\"";
        stream.error(key, "means nothing for this format", hint, found);
        return None;
    }
    let places = stream.read(&keys::SAMPLES, found).unwrap_or_default();
    if is_raw && stream.raw(key).is_some() {
        let hint = "remove it; a field that is declared gives them its name";
        stream.error(key, "a raw payload is nothing but samples", hint, found);
    }
    if stream.raw(keys::RECORDS.key()).is_some() {
        let hint = "write either";
        stream.error(
            keys::RECORDS.key(),
            "and samples do not go together",
            hint,
            found,
        );
    }
    let mut channels = Vec::new();
    for place in &places {
        if let Some((message, hint)) = json_pointer_error(place).filter(|_| place != "/") {
            stream.error(key, message, hint, found);
            continue;
        }
        let pointer = Pointer::parse(place);
        let name = pointer.0.last().map_or("sample", |last| last).to_owned();
        channels.push((name, pointer));
    }
    if is_raw {
        channels.push(("sample".to_owned(), Pointer::default()));
    }
    let rate_at = stream.read(&keys::RATE_AT, found);
    if let Some(at) = &rate_at {
        let error = json_pointer_error(at).filter(|_| !is_raw);
        let error = error.or(is_raw.then_some(("a raw payload has no places", "write rate_hz")));
        if let Some((message, hint)) = error {
            stream.error(keys::RATE_AT.key(), message, hint, found);
        }
    }
    let rate_hz = stream.read(&keys::RATE_HZ, found).map(SampleRate::Hz);
    let rate_at = rate_at.map(|at| SampleRate::At(Pointer::parse(&at)));
    if rate_hz.is_some() && rate_at.is_some() {
        let hint = "write either";
        stream.error(
            keys::RATE_AT.key(),
            "and rate_hz are both there",
            hint,
            found,
        );
    }
    let reduce = stream.read(&keys::REDUCE, found).unwrap_or_default();
    let reduce = reduce.iter().filter_map(|name| {
        let known = Feature::CHOICES.iter().find(|(word, _)| word == name);
        if known.is_none() {
            let message = format!("`{}` is no feature", name.escape_debug());
            stream.error(
                keys::REDUCE.key(),
                message,
                parse::one_of(&words::<Feature>()),
                found,
            );
        }
        known.map(|(_, feature)| *feature)
    });
    let reduce: Vec<Feature> = reduce.collect();
    let keeps_samples = stream.get(&keys::KEEP_SAMPLES, found);
    if keeps_samples && reduce.is_empty() && stream.raw(keys::REDUCE.key()).is_none() {
        let hint = "remove it: samples are what is kept without `reduce`";
        let message = "means nothing without reduce";
        stream.error(keys::KEEP_SAMPLES.key(), message, hint, found);
    }
    Some(SamplesRule {
        channels,
        rate: rate_hz.or(rate_at),
        reduce,
        keeps_samples,
        sample_type: stream.get(&keys::SAMPLE_TYPE, found),
    })
}

/// The tag that tells samples from features, where both are kept.
pub(super) fn part_tag(samples: Option<&SamplesRule>) -> Option<PayloadTag> {
    samples
        .filter(|samples| samples.keeps_samples)
        .map(|_| PayloadTag {
            name: PART_TAG.to_owned(),
            at: None,
        })
}

/// Fields that every record must have, where there are records of two kinds.
pub(super) fn check_required(
    stream: &Entry<'_>,
    samples: Option<&SamplesRule>,
    fields: &[DeclaredField],
    found: &mut Diagnostics,
) {
    let keeps_both = samples.is_some_and(|samples| samples.keeps_samples);
    if let Some(field) = fields.iter().find(|field| keeps_both && field.required) {
        let message = format!(
            "`{}` is required, and with keep_samples no field is in samples and features alike",
            field.field.name
        );
        let hint = "do not require it, or keep either";
        stream.error(keys::FIELDS.key(), message, hint, found);
    }
}
