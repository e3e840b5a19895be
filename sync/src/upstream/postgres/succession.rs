//! Whether the tables are still those that rows have been written to.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::tables::TablePlan;
use crate::lock::unpoisoned;

/// Tables that have been in use, one after the other under the same name.
pub(super) struct Succession {
    database: String,
    /// By schema what its first table is to the server; by the empty name the books.
    last: Mutex<HashMap<String, u32>>,
    replaced: AtomicU64,
}

impl Succession {
    pub(super) fn new(database: String) -> Self {
        Self {
            database,
            last: Mutex::default(),
            replaced: AtomicU64::new(0),
        }
    }

    /// The tables about the tables are these.
    pub(super) fn uses_books(&self, oid: u32) {
        let before = unpoisoned(self.last.lock()).insert(String::new(), oid);
        if before.is_some_and(|before| before != oid) {
            // Those of the schemas are new as well, which is the same event.
            unpoisoned(self.last.lock()).retain(|schema, _| schema.is_empty());
            self.tell("dunlin_streams");
        }
    }

    /// Whether a session with these tables about the tables, 0 for none, remembers what is there no more: another
    /// one has found others since, in which nothing is written down of what it takes for known.
    pub(super) fn is_outdated(&self, books_oid: u32) -> bool {
        let newest = unpoisoned(self.last.lock()).get("").copied();
        books_oid != 0 && newest.is_some_and(|newest| newest != books_oid)
    }

    /// The first table of a schema has been looked at.
    pub(super) fn looked_at(&self, plan: &TablePlan) {
        let schema = &plan.schema.name;
        let before = {
            let mut last = unpoisoned(self.last.lock());
            match plan.oid {
                Some(oid) => last.insert(schema.clone(), oid),
                None => last.remove(schema),
            }
        };
        let is_other = before.is_some_and(|before| plan.oid != Some(before));
        if plan.was_gone || is_other {
            self.tell(schema);
        }
    }

    fn tell(&self, table: &str) {
        self.replaced.fetch_add(1, Relaxed);
        tracing::warn!(
            database = %self.database,
            table,
            "this table was dropped or replaced while it was in use, and is made anew. Rows that were in \
             it are not upstream: `dunlin status --verify` names them, `dunlin upload --again` sends them"
        );
    }

    pub(super) fn times_replaced(&self) -> u64 {
        self.replaced.load(Relaxed)
    }
}
