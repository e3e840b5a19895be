//! Names that the agent gives to fields and tags of records from outside.

/// Field of records that Sparkplug B says are of the past.
pub(crate) const HISTORICAL: &str = "sparkplug_historical";
/// Tag that tells the samples of a burst from its features where both are kept.
pub(crate) const PART_TAG: &str = "part";
/// Its value for samples.
pub(crate) const SAMPLES_PART: &str = "samples";
/// Its value for features.
pub(crate) const FEATURES_PART: &str = "features";
