//! Writes after which there was no answer, again and again: which row breaks the connection.
//!
//! What was not answered is sent last and by halves the next time, down to one row. A row that is not
//! answered [`STRIKES_MAX`] times while something else was in between is not sent any more.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{job::Broke, stretch::RowKey};

/// Places remembered at once; more are found out later.
const PLACES_MAX: usize = 16;
/// A row that is not answered so often, while others are, goes into quarantine.
const STRIKES_MAX: u32 = 5;

#[derive(Debug)]
struct BrokenStretch {
    broke: Broke,
    strikes: u32,
    at: Instant,
}

/// Stretches of rows that were not answered.
#[derive(Debug, Default)]
pub(super) struct Broken {
    stretches: Vec<BrokenStretch>,
    breaking: HashMap<RowKey, String>,
}

impl Broken {
    /// Stretches to send last.
    pub(super) fn places(&self) -> Vec<(RowKey, usize)> {
        let stretches = self.stretches.iter();
        stretches.map(|s| (s.broke.at, s.broke.rows)).collect()
    }

    /// Rows not to send any more, with what was said of them.
    pub(super) fn breaking(&self) -> &HashMap<RowKey, String> {
        &self.breaking
    }

    /// These were answered.
    pub(super) fn mended(&mut self, places: &[RowKey]) {
        self.stretches.retain(|s| !places.contains(&s.broke.at));
    }

    /// These rows are in quarantine.
    pub(super) fn taken_out(&mut self, places: &[RowKey]) {
        self.breaking.retain(|place, _| !places.contains(place));
    }

    /// A write was not answered, in words; `taken_at` is when any write last was.
    pub(super) fn broke(&mut self, broke: Broke, text: &str, taken_at: Option<Instant>) {
        let now = Instant::now();
        let same = |s: &BrokenStretch| s.broke.at == broke.at && s.broke.rows == broke.rows;
        let before = self.stretches.iter().find(|s| same(s));
        let others_taken = broke.others_taken
            || before.is_some_and(|before| taken_at.is_some_and(|taken| taken > before.at));
        let strikes = before.map_or(0, |before| before.strikes) + u32::from(others_taken);
        self.stretches
            .retain(|s| s.broke.at != broke.at && Some(s.broke.at) != broke.part_of);
        if broke.rows == 1 && strikes >= STRIKES_MAX {
            self.breaking.insert(broke.at, text.to_owned());
        } else if self.stretches.len() < PLACES_MAX {
            let at = now;
            self.stretches.push(BrokenStretch { broke, strikes, at });
        }
    }
}
