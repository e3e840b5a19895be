//! Which fields are features where nobody names them: the numbers and flags that records of the stream have.

use std::collections::HashSet;

use dunlin_sync::sample::{FieldType, Schema};

use super::{CohortQuery, select::Described};
use crate::base::{
    own_names::{FEATURES_PART, HISTORICAL, PART_TAG, SAMPLES_PART},
    waveform::Feature,
};

/// Those of the first stream.
pub(super) fn features(streams: &[Described], query: &CohortQuery) -> Vec<String> {
    if !query.features.is_empty() {
        return query.features.clone();
    }
    let Some((stream, schema)) = streams.first() else {
        return Vec::new();
    };
    let mut tags = schema.tag_names.iter().zip(&stream.tags);
    let part = tags.find(|(name, _)| *name == PART_TAG);
    let (part, channels) = (part.map(|(_, part)| &**part), channels(schema));
    // Samples and features of a burst are of one schema, and no record has both.
    let is_of_part = |name: &str| match part {
        Some(SAMPLES_PART) if !channels.is_empty() => channels.contains(name),
        Some(FEATURES_PART) => !channels.contains(name),
        _ => true,
    };
    let fields = schema.fields.iter().enumerate();
    let numbers = fields.filter(|(position, field)| {
        !schema.is_second(*position)
            && schema.kind_of(*position) != FieldType::Text
            && query.label.as_deref() != Some(field.name.as_str())
            && field.name != HISTORICAL
            && is_of_part(&field.name)
    });
    numbers.map(|(_, field)| field.name.clone()).collect()
}

/// Fields that others are features of, as `x` beside `x.rms`.
fn channels(schema: &Schema) -> HashSet<&str> {
    let names: HashSet<&str> = schema.fields.iter().map(|field| &*field.name).collect();
    let of_feature = names.iter().filter_map(|name| {
        let (channel, feature) = name.rsplit_once('.')?;
        let mut all = Feature::ALL.iter().flat_map(|feature| feature.names());
        (all.any(|name| *name == feature) && names.contains(channel)).then_some(channel)
    });
    of_feature.collect()
}

#[cfg(test)]
mod tests;
