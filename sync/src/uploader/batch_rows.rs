//! How many rows one write may have: fewer after one that was not answered, more again after successes.

/// Most successes waited for before more rows are tried.
const PATIENCE_MAX: u32 = 32;

/// Rows of one write. What fits a slow link is found by halving; more is tried now and then.
#[derive(Clone, Debug)]
pub(super) struct BatchRows {
    max: usize,
    rows: usize,
    /// Successes in a row at this size.
    successes: u32,
    /// So many successes before more is tried; doubles when more turned out too much.
    patience: u32,
    has_grown: bool,
}

impl BatchRows {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            rows: max.max(1),
            successes: 0,
            patience: 1,
            has_grown: false,
        }
    }

    /// Most rows of the next batch.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Most rows of one write: a block that has more than the largest batch is still sent whole, unless
    /// writes are cut short.
    pub(super) const fn rows_at_once(&self) -> usize {
        if self.rows < self.max {
            self.rows
        } else {
            usize::MAX
        }
    }

    /// A write of `rows` rows was answered. One of far fewer than it may have had proves nothing.
    pub(super) fn answered(&mut self, rows: usize) {
        if rows.saturating_mul(2) <= self.rows {
            return;
        }
        self.successes = self.successes.saturating_add(1);
        if std::mem::take(&mut self.has_grown) {
            self.patience = (self.patience / 2).max(1);
        }
        if self.rows < self.max && self.successes >= self.patience {
            self.rows = self.rows.saturating_mul(2).min(self.max);
            self.successes = 0;
            self.has_grown = true;
        }
    }

    /// A write of `rows` rows was not.
    pub(super) fn broke(&mut self, rows: usize) {
        if std::mem::take(&mut self.has_grown) {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        self.rows = (self.rows.min(rows) / 2).max(1);
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests;
