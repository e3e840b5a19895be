//! Which rows of a run are taken: all of them, or one bit each.

use std::ops::Range;

/// One flag a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// Every row, however many there are.
    All,
    /// One bit a row, the first in the lowest place.
    Some(Box<[u64]>),
}

impl Bits {
    /// Flags as bits; `None` if no row is taken.
    pub(super) fn of(flags: &[bool]) -> Option<Self> {
        if flags.iter().all(|flag| *flag) {
            return (!flags.is_empty()).then_some(Self::All);
        }
        if !flags.contains(&true) {
            return None;
        }
        let words = flags.chunks(64).map(|chunk| {
            let places = chunk.iter().enumerate();
            places.fold(0, |word, (place, flag)| word | u64::from(*flag) << place)
        });
        Some(Self::Some(words.collect()))
    }

    pub(super) fn has(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(words) => words
                .get(row / 64)
                .is_some_and(|word| word >> (row % 64) & 1 == 1),
        }
    }

    /// Rows that are taken by both, of `rows` there are; `None` if there is none.
    pub(super) fn and(&self, other: &Self, rows: usize) -> Option<Self> {
        if (self, other) == (&Self::All, &Self::All) {
            return (rows > 0).then_some(Self::All);
        }
        let flags = (0..rows).map(|row| self.has(row) && other.has(row));
        Self::of(&flags.collect::<Vec<bool>>())
    }

    /// The rows taken among `rows`, in stretches without a hole.
    pub(super) fn stretches(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = rows.start;
        std::iter::from_fn(move || {
            let start = (next..rows.end).find(|row| self.has(*row))?;
            next = match self {
                Self::All => rows.end,
                Self::Some(_) => (start..rows.end)
                    .find(|row| !self.has(*row))
                    .unwrap_or(rows.end),
            };
            Some(start..next)
        })
    }
}
