//! Generations on the disk: which have come and gone.

use std::{fs, path::Path};

/// Numbered directories: which have come and gone.
#[derive(Default)]
pub(crate) struct Parts {
    first: u64,
    end: u64,
}

impl Parts {
    /// How many are new and how many are gone since the last look.
    pub(crate) fn look(&mut self, dir: &Path) -> (u64, u64) {
        let names = fs::read_dir(dir).into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        let (first, last) = ids.fold((u64::MAX, 0), |(a, b), id| (a.min(id), b.max(id)));
        if last == 0 {
            return (0, 0);
        }
        let made = (last + 1).saturating_sub(self.end.max(1));
        let deleted = first.saturating_sub(self.first.max(1));
        (self.first, self.end) = (first.max(self.first), (last + 1).max(self.end));
        (made, deleted)
    }
}
