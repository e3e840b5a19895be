//! Values that do not fit their fields: which, why, and in which records.

use super::{FIELD_NAME_BYTES_MAX, Reason, Reject};
pub use dunlin_sync::quarantine::Missing;

/// Most of them in one publish: each costs what many values cost that fit.
const MISFITS_MAX: usize = 1024;

/// A field that had values which did not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMisfit {
    /// Its path.
    pub field: String,
    /// What kind of bad.
    pub reason: Reason,
    /// What was wrong with the first of them, for people.
    pub detail: String,
    /// Values.
    pub values: u64,
}

/// What is missing from the records of one publish.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Misfits {
    /// By field and reason; where there are too many, the last one counts for the others.
    pub kinds: Vec<FieldMisfit>,
    /// Records of which nothing was left.
    pub records: u64,
    /// Which values.
    pub missing: Missing,
    last_record: usize,
}

impl Misfits {
    /// Notes that the value at `path` of record number `record`, from 1, did not fit.
    ///
    /// # Errors
    /// `reject` itself if there are too many of them.
    pub(super) fn add(&mut self, record: usize, path: &str, reject: Reject) -> Result<(), Reject> {
        if self.missing.len() >= MISFITS_MAX {
            return Err(reject);
        }
        self.last_record = record;
        self.missing.add(record, path);
        self.note(path, &reject);
        Ok(())
    }

    /// Counts a value that is missing for good.
    pub(super) fn note(&mut self, path: &str, reject: &Reject) {
        let path = &path[..path.floor_char_boundary(FIELD_NAME_BYTES_MAX)];
        let is_full = self.kinds.len() >= MISFITS_MAX;
        let mut kinds = self.kinds.iter_mut();
        let known = kinds.find(|kind| kind.field == path && kind.reason == reject.reason);
        match known {
            Some(known) => known.values += 1,
            None if is_full => {
                if let Some(last) = self.kinds.last_mut() {
                    last.values += 1;
                }
            }
            None => self.kinds.push(FieldMisfit {
                field: path.to_owned(),
                reason: reject.reason,
                detail: reject.detail.clone(),
                values: 1,
            }),
        }
    }

    /// Whether record number `record`, the last one, has any.
    pub(super) fn any_in(&self, record: usize) -> bool {
        self.last_record == record
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The first as a refusal of all.
    pub fn first(&self) -> Option<Reject> {
        let first = self.kinds.first()?;
        Some(Reject::new(first.reason, first.detail.clone()))
    }

    /// All of them in a line for people.
    pub fn summary(&self) -> String {
        const TOLD_MAX: usize = 4;
        let told = self.kinds.iter().take(TOLD_MAX);
        let mut told: Vec<&str> = told.map(|kind| &*kind.detail).collect();
        let more = self.kinds.len().saturating_sub(TOLD_MAX);
        let more = format!("and {more} more fields");
        if self.kinds.len() > TOLD_MAX {
            told.push(&more);
        }
        told.join("; ")
    }
}
