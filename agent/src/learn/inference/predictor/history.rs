//! The newest records of a stream, as rows that windows are made of.

use dunlin_models::data::{Rows, Window, WindowShape};

/// Rows kept beyond a window before the oldest are let go, all at once.
const SLACK_ROWS: usize = 512;

/// Rows of the newest window, and some more.
pub(super) struct History {
    rows: Rows,
    shape: WindowShape,
    /// Values in a row.
    width: usize,
    /// No window reaches over a longer silence, nanoseconds.
    gap_ns_max: Option<i64>,
}

/// The input that ends with the newest record.
#[derive(Clone, Copy)]
pub(super) struct Newest<'a> {
    pub(super) history: &'a History,
    /// `None` if a value is missing in it.
    pub(super) input: Option<&'a [f32]>,
    /// First and last timestamp, nanoseconds UTC.
    pub(super) times: (i64, i64),
}

impl History {
    pub(super) fn new(shape: WindowShape, width: usize, gap_ns_max: Option<i64>) -> Self {
        Self {
            rows: Rows::default(),
            shape,
            width,
            gap_ns_max,
        }
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Rows that a window takes, target included.
    pub(super) fn window_rows(&self) -> usize {
        self.shape.lookback + self.shape.horizon
    }

    /// Adds a row; returns whether it comes after a gap. What was before a gap is let go.
    pub(super) fn push(&mut self, ts: i64, features: &[f32], label: f32) -> bool {
        let last = self.rows.ts.last();
        let is_gap = last
            .zip(self.gap_ns_max)
            .is_some_and(|(last, gap)| ts <= *last || ts.saturating_sub(*last) > gap);
        if is_gap {
            self.forget(self.rows.len());
        }
        let whole = self.window_rows();
        if self.rows.len() >= whole + SLACK_ROWS {
            self.forget(self.rows.len() + 1 - whole);
        }
        self.rows.ts.push(ts);
        self.rows.values.extend_from_slice(features);
        self.rows.label.push(label);
        self.rows.is_train.push(false);
        is_gap
    }

    fn forget(&mut self, rows: usize) {
        self.rows.ts.drain(..rows);
        self.rows.values.drain(..rows * self.width);
        self.rows.label.drain(..rows);
        self.rows.is_train.drain(..rows);
    }

    /// The newest input; `None` until there are rows enough.
    pub(super) fn newest(&self) -> Option<Newest<'_>> {
        let end = self.rows.len();
        let start = end.checked_sub(self.shape.lookback)?;
        let input = self.rows.values_of(start..end, self.width);
        let is_whole = input.iter().all(|value| value.is_finite());
        Some(Newest {
            history: self,
            input: is_whole.then_some(input),
            times: (self.rows.ts[start], self.rows.ts[end - 1]),
        })
    }

    /// The window whose target ends with the newest record; `None` until there are rows enough.
    pub(super) fn window(&self) -> Option<Window> {
        let end = self.rows.len();
        let start = end.checked_sub(self.window_rows())?;
        Some(Window {
            start,
            split_at: start + self.shape.lookback,
            end,
        })
    }
}
