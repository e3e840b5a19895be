//! What a record has named so far.

use std::mem;

/// Which columns, and whether the time, the record has named so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) time: bool,
    pub(super) any: bool,
    /// That its source has come or gone.
    pub(super) presence: bool,
    /// Something that the rule leaves out.
    pub(super) excluded: bool,
    first_64: u64,
    /// The record, counted from 1, that named the column last; so nothing need be cleared.
    rest: Vec<u32>,
    record: u32,
}

impl Seen {
    /// Notes `column`; false if it was noted before.
    #[inline]
    pub(super) fn insert(&mut self, column: usize) -> bool {
        self.any = true;
        if column < 64 {
            let bit = 1 << column;
            let new = self.first_64 & bit == 0;
            self.first_64 |= bit;
            return new;
        }
        let column = column - 64;
        if self.rest.len() <= column {
            self.rest.resize(column + 1, 0);
        }
        mem::replace(&mut self.rest[column], self.record) != self.record
    }

    pub(super) fn has(&self, column: usize) -> bool {
        match column.checked_sub(64) {
            None => self.first_64 >> column & 1 == 1,
            Some(column) => self.rest.get(column) == Some(&self.record),
        }
    }

    pub(super) fn next_record(&mut self) {
        self.time = false;
        self.any = false;
        self.presence = false;
        self.excluded = false;
        self.first_64 = 0;
        self.record += 1;
    }
}
