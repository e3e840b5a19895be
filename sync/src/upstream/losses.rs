//! What of a batch was not taken, told apart by what can still become of it.

use std::collections::BTreeMap;

use crate::{
    rows::Batch,
    upstream::{Rejection, TableRefusal, WriteReport},
};

/// What was not taken.
#[derive(Default)]
pub(super) struct Losses {
    /// For a reason that lies in the row.
    pub(super) rejected: Vec<Rejection>,
    /// Found by bisection: refused alone, for a reason of which we know the server's words only.
    pub(super) blamed: Vec<Rejection>,
    /// By place in the batch.
    refused: BTreeMap<usize, String>,
}

impl Losses {
    /// The stream at this place of the batch is held back as a whole.
    pub(super) fn refuse(&mut self, stream: usize, reason: &str) {
        let first = self.refused.entry(stream);
        first.or_insert_with(|| reason.to_owned());
    }

    /// What became of `batch`.
    pub(super) fn report(mut self, batch: &Batch) -> WriteReport {
        self.rejected
            .sort_by_key(|rejection| (rejection.table, rejection.row));
        self.rejected
            .dedup_by_key(|rejection| (rejection.table, rejection.row));
        let mut blamed: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
        for rejection in self.blamed {
            let rows = blamed.entry(rejection.table).or_default();
            rows.insert(rejection.row, rejection.reason);
        }
        for (table, mut rows) in blamed {
            let rejected = self.rejected.iter().filter(|r| r.table == table);
            for rejection in rejected.clone() {
                rows.remove(&rejection.row);
            }
            let is_all = rows.len() + rejected.count() == batch.tables[table].rows.len();
            if is_all && let Some(reason) = rows.values().next() {
                self.refused.entry(table).or_insert_with(|| reason.clone());
            }
            let rows = rows.into_iter();
            self.rejected.extend(rows.map(|(row, reason)| Rejection {
                table,
                row,
                reason,
                is_out_of_time: false,
            }));
        }
        let refused = &self.refused;
        self.rejected
            .retain(|rejection| !refused.contains_key(&rejection.table));
        self.rejected
            .sort_by_key(|rejection| (rejection.table, rejection.row));
        let held = refused.keys().map(|table| batch.tables[*table].rows.len());
        let lost = self.rejected.len() + held.sum::<usize>();
        WriteReport {
            rows_written: (batch.rows() - lost) as u64,
            rejected: self.rejected,
            refused: self
                .refused
                .into_iter()
                .map(|(table, reason)| TableRefusal { table, reason })
                .collect(),
        }
    }
}
