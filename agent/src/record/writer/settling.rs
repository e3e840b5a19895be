//! How far fields have come: whether anything was ever stored, and whether so much (`infer_records`) that no
//! value of another kind opens a column any more.
//!
//! Values are counted in memory, from the start of the agent or of another configuration on. What a count has
//! reached is in the schema and stays; a field that was still young when the agent ended is counted anew.

use std::sync::Arc;

use dunlin_sync::sample::{Schema, Stage};

use crate::record::decode::{Decoded, SecondField};

/// The fields of one schema.
#[derive(Default)]
pub(super) struct Settling {
    /// Values of each field since the start, as far as they matter.
    counts: Vec<u32>,
    /// The schema that was looked at last, and whether it has a field that is not settled.
    looked_at: Option<(Arc<Schema>, bool)>,
}

impl Settling {
    /// How far which columns have come with `decoded`; those of new fields are behind those of `schema`.
    pub(super) fn reached(
        &mut self,
        schema: Option<&Arc<Schema>>,
        decoded: &Decoded,
        infer_records: u32,
    ) -> Vec<(usize, Stage)> {
        let mut reached = Vec::new();
        if decoded.new_fields.is_empty() && !schema.is_some_and(|schema| self.is_open(schema)) {
            return reached;
        }
        let held = schema.map_or(0, |schema| schema.fields.len());
        let limit = infer_records.max(1);
        self.counts.resize(held + decoded.new_fields.len(), 0);
        let records = decoded.groups.iter().flat_map(|group| &group.records);
        for (column, _) in records.flat_map(|record| record.values.iter()) {
            let origin = |column| schema.map(|schema| schema.origin(column));
            let first = origin(column)
                .filter(|_| column < held)
                .and_then(|origin| origin.second_of);
            let field = first.map_or(column, |first| first as usize);
            let Some(count) = self.counts.get_mut(field).filter(|count| **count < limit) else {
                continue;
            };
            *count += 1;
            let stage = match origin(field) {
                Some(origin) if field < held => origin.stage,
                _ => Stage::Empty,
            };
            if *count == 1 && stage == Stage::Empty {
                reached.push((field, Stage::Begun));
            }
            if *count == limit && stage != Stage::Settled {
                reached.push((field, Stage::Settled));
            }
        }
        reached
    }

    fn is_open(&mut self, schema: &Arc<Schema>) -> bool {
        match &self.looked_at {
            Some((looked_at, is_open)) if Arc::ptr_eq(looked_at, schema) => *is_open,
            _ => {
                let columns = 0..schema.fields.len();
                let settled = |column| schema.origin(column).stage == Stage::Settled;
                let is_open = !columns.into_iter().all(settled);
                self.looked_at = Some((Arc::clone(schema), is_open));
                is_open
            }
        }
    }
}

/// A field is made once, so this is told once.
pub(super) fn tell_seconds(stream: &str, seconds: &[SecondField]) {
    const TOLD_MAX: usize = 8;
    for second in seconds.iter().take(TOLD_MAX) {
        tracing::warn!(
            stream,
            field = second.field,
            held = %second.held,
            came = %second.kind,
            "a field came with a second type; its values of that type are kept in `{}`",
            second.second
        );
    }
    if let Some(more @ 1..) = seconds.len().checked_sub(TOLD_MAX) {
        tracing::warn!(stream, more, "more fields came with a second type");
    }
}

#[cfg(test)]
mod tests;
