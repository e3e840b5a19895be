//! One stream's records become the rows of a grid, one record at a time.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_sync::{
    rows::{Column, Rows},
    sample::{FieldType, Split, Value},
};

use super::{GridField, GridSpec, How, OPEN_STEPS_MAX};

/// Records in a row that come too late, after which the grid begins anew with them.
const LATE_IN_A_ROW_MAX: u32 = 16;

/// Rows of a grid as they come to be.
#[derive(Debug, Default)]
pub(crate) struct GridRows {
    pub(crate) count: usize,
    /// The earliest and the latest of their times, nanoseconds UTC.
    pub(crate) first_ts: i64,
    pub(crate) last_ts: i64,
    /// The rows themselves, if they are wanted.
    pub(crate) rows: Option<Rows>,
}

impl GridRows {
    /// Keeps the rows of a grid of these fields.
    pub(crate) fn keeping(fields: &[GridField]) -> Self {
        let mut rows = Rows::default();
        for field in fields {
            rows.columns.push(Column::empty(field.kind));
        }
        Self {
            rows: Some(rows),
            ..Self::default()
        }
    }

    fn push(&mut self, ts: i64, split: Split, cells: Vec<Option<Value>>) {
        if self.count == 0 {
            (self.first_ts, self.last_ts) = (ts, ts);
        }
        self.count += 1;
        self.first_ts = self.first_ts.min(ts);
        self.last_ts = self.last_ts.max(ts);
        let Some(rows) = &mut self.rows else { return };
        rows.ts.push(ts);
        rows.is_train.push(split.is_train);
        rows.fold.push(split.fold);
        for (place, cell) in cells.into_iter().enumerate() {
            // A cell has the type of its field, of which the column was made.
            let refused = rows.columns[place].push(cell);
            debug_assert_eq!(refused, Ok(()));
        }
    }
}

/// A value and when it was measured, nanoseconds UTC.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    time: i64,
    value: Value,
}

/// What a field has shown within a step.
#[derive(Clone, Debug, PartialEq)]
struct Gathered {
    first: Point,
    last: Point,
    sum: f64,
    count: u64,
    min: f64,
    max: f64,
}

impl Gathered {
    fn of(point: Point) -> Self {
        let number = number(&point.value);
        Self {
            first: point.clone(),
            last: point,
            sum: number,
            count: 1,
            min: number,
            max: number,
        }
    }

    /// Of two measured at the same time the one that arrived later counts.
    fn add(&mut self, point: Point) {
        let number = number(&point.value);
        self.sum += number;
        self.count += 1;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        if point.time <= self.first.time {
            self.first = point.clone();
        }
        if point.time >= self.last.time {
            self.last = point;
        }
    }
}

/// A step that is not over, with what was measured in it.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    cells: Vec<Option<Gathered>>,
    /// When its last record was measured, nanoseconds UTC, and that one's split.
    last_time: i64,
    split: Split,
}

/// A value that may have to wait for its neighbour.
enum Cell {
    Is(Option<Value>),
    Waits,
}

/// A record of the stream: when it arrived, when it was measured as its source says, its split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) ts: i64,
    pub(crate) source_ts: Option<i64>,
    pub(crate) split: Split,
}

impl Arrival {
    /// That of the record in `row`.
    pub(crate) fn of(rows: &Rows, row: usize) -> Self {
        Self {
            ts: rows.ts[row],
            source_ts: rows.source_ts.get(row).copied().flatten(),
            split: Split {
                is_train: rows.is_train[row],
                fold: rows.fold.get(row).copied().unwrap_or_default(),
            },
        }
    }
}

/// The grid of one stream, between two of its records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resampler {
    every_ns: i64,
    /// From a value to the last step's end at which it may stand.
    reach_ns: i64,
    late_ns: i64,
    fields: Arc<[GridField]>,
    /// By their ends.
    open: BTreeMap<i64, Step>,
    /// The last value of each field in a step that is over.
    before: Vec<Option<Point>>,
    split: Split,
    /// Steps that end before are over, nanoseconds UTC.
    over_before: i64,
    /// End of the next step that may give a row.
    next: i64,
    late: u64,
    late_in_a_row: u32,
    began_anew: bool,
}

impl Resampler {
    /// A grid of `fields` without a record.
    pub(crate) fn new(spec: &GridSpec, fields: Arc<[GridField]>) -> Self {
        Self {
            every_ns: spec.every_ns.max(1),
            reach_ns: spec.every_ns.saturating_add(spec.fill_ns_max),
            late_ns: spec.late_ns_max,
            open: BTreeMap::new(),
            before: vec![None; fields.len()],
            fields,
            split: Split {
                is_train: true,
                fold: 0,
            },
            over_before: i64::MIN,
            next: i64::MAX,
            late: 0,
            late_in_a_row: 0,
            began_anew: false,
        }
    }

    /// Whether it began anew, for a clock that was ahead, since this was asked last.
    #[cfg(feature = "learning")]
    pub(crate) fn take_began_anew(&mut self) -> bool {
        std::mem::take(&mut self.began_anew)
    }

    /// Records are missing here: nothing of before is held over them.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
        self.before.fill(None);
        self.next = i64::MAX;
    }

    /// Cells of the steps that are open, and of what is held.
    pub(crate) fn cells(&self) -> usize {
        (self.open.len() + 1) * self.fields.len()
    }

    /// What it makes rows of.
    pub(crate) fn fields(&self) -> &Arc<[GridField]> {
        &self.fields
    }

    /// Records left out because their step was over.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    #[cfg(test)]
    pub(super) fn open_steps(&self) -> usize {
        self.open.len()
    }

    /// Takes a record, with the value of the field at each place of this grid in `row` of `columns`;
    /// `rows` gets those of the steps that are over now.
    pub(crate) fn push(
        &mut self,
        arrival: Arrival,
        columns: &[Option<&Column>],
        row: usize,
        rows: &mut GridRows,
    ) {
        let Arrival {
            ts,
            source_ts,
            split,
        } = arrival;
        let time = source_ts.unwrap_or(ts);
        let end = self.end_of_step(time);
        if end < self.over_before {
            self.late_in_a_row += 1;
            if self.late_in_a_row < LATE_IN_A_ROW_MAX {
                self.late += 1;
                return;
            }
            // Nobody comes at the right time any more: it was the clock that was ahead.
            self.forget();
            self.over_before = i64::MIN;
            self.began_anew = true;
        }
        self.late_in_a_row = 0;
        let width = self.fields.len();
        let step = self.open.entry(end).or_insert_with(|| Step {
            cells: vec![None; width],
            last_time: i64::MIN,
            split,
        });
        if time >= step.last_time {
            (step.last_time, step.split) = (time, split);
        }
        for (cell, column) in step.cells.iter_mut().zip(columns) {
            let Some(value) = column.and_then(|column| column.get(row)) else {
                continue;
            };
            let point = Point { time, value };
            match cell {
                Some(gathered) => gathered.add(point),
                None => *cell = Some(Gathered::of(point)),
            }
        }
        self.next = self.next.min(end);
        // What has no time of its own cannot come late.
        let over = source_ts.map_or(ts, |time| time.saturating_sub(self.late_ns));
        self.over_before = self.over_before.max(over);
        while self.next < self.over_before && self.give_next(rows) {}
    }

    /// The end of the step in which `time` lies.
    fn end_of_step(&self, time: i64) -> i64 {
        let before = time.saturating_sub(1).div_euclid(self.every_ns);
        before.saturating_add(1).saturating_mul(self.every_ns)
    }

    /// Gives the row of the next step, which is over; false if a value in it waits for its neighbour.
    fn give_next(&mut self, rows: &mut GridRows) -> bool {
        let end = self.next;
        let mut cells = Vec::with_capacity(self.fields.len());
        for place in 0..self.fields.len() {
            match self.cell(place, end) {
                Cell::Is(value) => cells.push(value),
                Cell::Waits => return false,
            }
        }
        if let Some(step) = self.open.remove(&end) {
            self.split = step.split;
            for (before, gathered) in self.before.iter_mut().zip(step.cells) {
                if let Some(gathered) = gathered {
                    *before = Some(gathered.last);
                }
            }
        }
        if cells.iter().any(Option::is_some) {
            rows.push(end, self.split, cells);
        }
        let following = end.saturating_add(self.every_ns);
        let is_held = |point: &Point| following.saturating_sub(point.time) <= self.reach_ns;
        let first_open = self.open.first_key_value().map(|(end, _)| *end);
        self.next = if self.before.iter().flatten().any(is_held) {
            following
        } else {
            // Nothing more to be seen before somebody has measured something again.
            first_open.unwrap_or(i64::MAX)
        };
        true
    }

    /// The value of a field in the row of the step that ends at `end`, the earliest that is open.
    fn cell(&self, place: usize, end: i64) -> Cell {
        let field = self.fields[place];
        let step = self.open.get(&end);
        let gathered = step.and_then(|step| step.cells[place].as_ref());
        let before = self.before[place].as_ref();
        if field.how == How::Interpolate {
            return self.interpolated(place, end, gathered.map(|g| &g.last).or(before));
        }
        let Some(gathered) = gathered else {
            let held = before.filter(|point| end.saturating_sub(point.time) < self.reach_ns);
            return Cell::Is(held.map(|point| as_kind(&point.value, field.kind)));
        };
        Cell::Is(Some(match field.how {
            How::Last | How::Interpolate => as_kind(&gathered.last.value, field.kind),
            How::Mean => Value::F64(gathered.sum / gathered.count as f64),
            How::Min => Value::F64(gathered.min),
            How::Max => Value::F64(gathered.max),
        }))
    }

    /// What a field had at `end`, on the line from `before` to what was measured next.
    fn interpolated(&self, place: usize, end: i64, before: Option<&Point>) -> Cell {
        let Some(before) = before else {
            return Cell::Is(None);
        };
        let from = number(&before.value);
        if before.time == end {
            return Cell::Is(Some(Value::F64(from)));
        }
        let most_ns = self.every_ns.saturating_mul(OPEN_STEPS_MAX);
        let last = before.time.saturating_add(self.reach_ns.min(most_ns));
        let mut later = self.open.range(end.saturating_add(1)..);
        let after = later.find_map(|(_, step)| step.cells[place].as_ref());
        let after = after
            .map(|gathered| &gathered.first)
            .filter(|point| point.time <= self.over_before);
        match after {
            Some(after) if after.time <= last => {
                let share = (end - before.time) as f64 / (after.time - before.time) as f64;
                let value = from + share * (number(&after.value) - from);
                Cell::Is(Some(Value::F64(value)))
            }
            Some(_) => Cell::Is(None),
            None if self.over_before > last => Cell::Is(None),
            None => Cell::Waits,
        }
    }
}

/// A value as one of the type that its field has in the rows: its own, or `f64`.
fn as_kind(value: &Value, kind: FieldType) -> Value {
    if kind == FieldType::F64 {
        Value::F64(number(value))
    } else {
        value.clone()
    }
}

/// A value as a number; 0 of a text, which is only ever the last.
fn number(value: &Value) -> f64 {
    match value {
        Value::F64(x) => *x,
        Value::F32(x) => f64::from(*x),
        Value::I64(x) => *x as f64,
        Value::Bool(x) => f64::from(u8::from(*x)),
        Value::Text(_) => 0.0,
    }
}
