//! What one connection has learnt about the server's tables.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::supertable::Supertable;
use crate::lock::unpoisoned;

/// How long tables are taken to be as they were described.
const KNOWN_FOR: Duration = Duration::from_secs(10);
const SUBTABLES_MAX: usize = 100_000;

/// The supertables of one schema, first to last, with their names.
pub(super) type Parts = Vec<(String, Supertable)>;

/// The values of all tags of one device's subtables under one supertable, by the subtables' names.
pub(super) type Tags = HashMap<String, Vec<String>>;

/// What one connection has learnt; forgotten with it.
#[derive(Default)]
pub(super) struct Known {
    parts: Mutex<HashMap<String, (Instant, Arc<Parts>)>>,
    subtables: Mutex<HashSet<String>>,
    tags: Mutex<HashMap<(String, String), Tags>>,
    /// One change of tables at a time.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Known {
    pub(super) fn parts(&self, supertable: &str) -> Option<Arc<Parts>> {
        let known = unpoisoned(self.parts.lock());
        let (seen, parts) = known.get(supertable)?;
        (seen.elapsed() < KNOWN_FOR).then(|| Arc::clone(parts))
    }

    pub(super) fn learn_parts(&self, supertable: &str, parts: &Arc<Parts>) {
        let seen = (Instant::now(), Arc::clone(parts));
        unpoisoned(self.parts.lock()).insert(supertable.to_owned(), seen);
    }

    /// So that a repair made at the database is seen by the next write.
    pub(super) fn forget_parts(&self, supertable: &str) {
        unpoisoned(self.parts.lock()).remove(supertable);
    }

    pub(super) fn has_subtable(&self, name: &str) -> bool {
        unpoisoned(self.subtables.lock()).contains(name)
    }

    pub(super) fn learn_subtable(&self, name: &str) {
        let mut known = unpoisoned(self.subtables.lock());
        if known.len() >= SUBTABLES_MAX {
            known.clear();
        }
        if !known.contains(name) {
            known.insert(name.to_owned());
        }
    }

    /// Works on the tags of `device` under `supertable`, if they have been listed.
    pub(super) fn with_tags<T>(
        &self,
        supertable: &str,
        device: &str,
        work: impl FnOnce(&mut Tags) -> T,
    ) -> Option<T> {
        let mut tags = unpoisoned(self.tags.lock());
        let key = (supertable.to_owned(), device.to_owned());
        tags.get_mut(&key).map(work)
    }

    pub(super) fn learn_tags(&self, supertable: &str, device: &str, tables: Tags) {
        let key = (supertable.to_owned(), device.to_owned());
        unpoisoned(self.tags.lock()).insert(key, tables);
    }

    /// After the server has said that something is not as we remember.
    pub(super) fn forget(&self) {
        unpoisoned(self.parts.lock()).clear();
        unpoisoned(self.subtables.lock()).clear();
        unpoisoned(self.tags.lock()).clear();
    }
}
