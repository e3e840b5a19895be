//! Which version answers on which stream.
//!
//! Promises: what the registry says is looked at between two rounds of records, so a version is
//! swapped between two of them; one that cannot serve is told once, and the one before takes its
//! place.

mod load;
mod switch;
mod target;
pub(super) mod withdraw;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{
    buffer::Buffer,
    sample::{Catalog, Schema, Stream},
};

pub(super) use crate::learn::inference::rollout::switch::Switch;
use crate::{
    base::glob::means,
    config::settings::RecipeRule,
    learn::inference::{events, rollout::target::Target},
    record::writer::OWN_TABLE_PREFIX,
};

/// How soon a version that could not serve is tried again without a hint.
const RETRY_GAP: Duration = Duration::from_secs(1);

/// How far what serves follows from what the registry and the catalog say.
pub(super) struct Rollout {
    /// Changes of the registry that are looked at.
    registry_seen: Option<u64>,
    /// Changes of the catalog that are looked at.
    catalog_seen: u64,
    /// All streams that have records before this block were looked at.
    looked_to: u64,
    /// A version could not serve for a reason that may pass: it is tried again from then on.
    retry_at: Option<Instant>,
    /// Versions that could not serve, and have been told of.
    unusable: HashMap<ModelKey, HashSet<u64>>,
}

impl Rollout {
    /// Nothing is looked at yet.
    pub(super) fn new() -> Self {
        Self {
            registry_seen: None,
            catalog_seen: 0,
            looked_to: 0,
            retry_at: None,
            unusable: HashMap::new(),
        }
    }

    /// The block up to which records may be read: those before it have their predictors.
    pub(super) fn settled_to(&self, buffer: &Buffer) -> u64 {
        let end = buffer.next_seq();
        // A stream is declared before its first record is committed: if the catalog is still the one that
        // was looked at, these records have theirs.
        if buffer.catalog().changes() == self.catalog_seen {
            end
        } else {
            end.min(self.looked_to)
        }
    }

    /// Makes predictors for new streams and versions, swaps versions, and ends predictors without one.
    pub(super) fn refresh(&mut self, mut switch: Switch<'_>) {
        let shared = switch.shared;
        // Before the catalog: what comes later may be of a stream that it lacks.
        self.looked_to = shared.buffer.next_seq();
        let (changes, catalog) = (shared.models.changes(), shared.buffer.catalog());
        let now = Instant::now();
        let must_retry = self.retry_at.is_some_and(|at| now >= at);
        if self.registry_seen == Some(changes)
            && self.catalog_seen == catalog.changes()
            && !must_retry
        {
            return;
        }
        self.retry_at = None;
        if self.catalog_seen != catalog.changes() {
            self.catalog_seen = catalog.changes();
            // One that comes back has another number.
            let is_known = |stream| catalog.stream(stream).is_some();
            switch.predictors.retain_streams(is_known);
        }
        for rule in &shared.rules {
            for (stream, schema) in streams_of(rule, &catalog) {
                let target = Target::new(rule, stream, schema);
                let Err(unusable) = switch.settle(&target) else {
                    continue;
                };
                self.retry_at = Some(now + RETRY_GAP);
                let told = self.unusable.entry(target.key.clone()).or_default();
                if told.insert(unusable.number) {
                    events::unusable(shared, &target.key, unusable.number, unusable.why);
                }
            }
        }
        self.registry_seen = Some(changes);
        switch.resume.note_started();
    }

    /// Whether it was told that this version could not serve.
    #[cfg(test)]
    pub(super) fn has_told_unusable(&self, key: &ModelKey, version: u64) -> bool {
        let told = self.unusable.get(key);
        told.is_some_and(|told| told.contains(&version))
    }
}

/// The streams that a rule is for, as far as they are here and not the agent's own.
fn streams_of<'a>(
    rule: &'a RecipeRule,
    catalog: &'a Catalog,
) -> impl Iterator<Item = (&'a Stream, &'a Schema)> {
    catalog.streams().filter_map(move |stream| {
        let schema = catalog.schema(stream.schema)?;
        let is_meant = !schema.name.starts_with(OWN_TABLE_PREFIX)
            && catalog.is_here(stream)
            && means(&rule.streams, catalog, stream);
        is_meant.then_some((&**stream, &**schema))
    })
}
