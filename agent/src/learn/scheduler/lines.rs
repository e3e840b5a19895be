//! What is known of the lines that have no open task: models, records, drift.
//!
//! Promises: blocks are read only when a line is first asked about a moment, versions only when some have changed.

use std::collections::HashMap;

use dunlin_models::registry::{ModelKey, Registry, Version};
use dunlin_sync::{
    buffer::{Buffer, RowCount},
    sample::{Catalog, StreamId},
};

use crate::{
    config::settings::RecipeRule,
    learn::{Shared, scheduler::queue::LineState},
};

/// One recipe on one stream.
pub(super) struct RecipeLine<'a> {
    pub(super) rule: &'a RecipeRule,
    pub(super) key: ModelKey,
    pub(super) stream: StreamId,
}

/// Records of a stream since some moment, as they were counted once.
#[derive(Clone, Copy, Debug)]
struct Count {
    stream: StreamId,
    since: i64,
    then: RowCount,
}

/// What was looked up before.
#[derive(Default)]
pub(super) struct Lines {
    counts: HashMap<ModelKey, Count>,
    /// Newest record that any version of a line has seen, as of `seen_at` changes of the registry.
    seen_to: HashMap<ModelKey, Option<i64>>,
    seen_at: u64,
}

impl Lines {
    /// What is known of `line` now, whose last failed task saw records up to `tried_to` (nanoseconds UTC).
    pub(super) fn state(
        &mut self,
        shared: &Shared,
        line: &RecipeLine<'_>,
        tried_to: Option<i64>,
    ) -> LineState {
        let RecipeLine { rule, key, stream } = line;
        let models = &shared.models;
        let tried_to = tried_to.max(self.seen_to(models, line));
        let has_model = models.number_among(key, &rule.available_status).is_some();
        LineState {
            has_model,
            rows: shared.buffer.rows_seen(*stream),
            rows_new: self.rows_new(&shared.buffer, line, tried_to),
            has_drifted: shared.drifted.has(key),
            was_tried: tried_to.is_some(),
        }
    }

    /// Newest record that any version has seen, nanoseconds UTC; looks at the disk only if versions
    /// have changed.
    fn seen_to(&mut self, models: &Registry, line: &RecipeLine<'_>) -> Option<i64> {
        let key = &line.key;
        let changes = models.changes();
        if self.seen_at != changes {
            self.seen_to.clear();
            self.seen_at = changes;
        }
        *self.seen_to.entry(key.clone()).or_insert_with(|| {
            let mut versions = models.versions(key).unwrap_or_default();
            // One that was released, and refused here, was not trained on these records.
            versions.retain(|v| v.decision.is_none() || v.lineage.last_ts > 0);
            let seen_to = |version: &Version| match line.rule.grid {
                None => version.lineage.last_ts,
                // The times of a grid are those of measurement, which may be long before arrival.
                Some(_) => version.created_ns,
            };
            versions.iter().map(seen_to).max()
        })
    }

    /// Records of a line after `since` (nanoseconds UTC), if they can be counted now; reads blocks only when it
    /// is first asked about that moment.
    fn rows_new(
        &mut self,
        buffer: &Buffer,
        line: &RecipeLine<'_>,
        since: Option<i64>,
    ) -> Option<u64> {
        let stream = line.stream;
        let Some(since) = since else {
            return Some(buffer.rows_seen(stream));
        };
        let known = self.counts.get(&line.key);
        let known = known.filter(|count| (count.stream, count.since) == (stream, since));
        let then = match known {
            Some(count) => count.then,
            None => match buffer.rows_after(stream, since) {
                Ok(then) => {
                    let count = Count {
                        stream,
                        since,
                        then,
                    };
                    self.counts.insert(line.key.clone(), count);
                    then
                }
                Err(why) => {
                    tracing::warn!(why, "cannot count records now");
                    return None;
                }
            },
        };
        Some(then.rows + buffer.rows_seen(stream).saturating_sub(then.rows_seen))
    }

    /// Keeps `most` counts, or at least none of streams that the catalog has forgotten.
    pub(super) fn shrink(&mut self, catalog: &Catalog, most: usize) {
        if self.counts.len() > most {
            self.counts
                .retain(|_, count| catalog.stream(count.stream).is_some());
        }
    }
}
