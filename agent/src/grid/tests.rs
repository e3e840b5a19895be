//! Grids against a plain reference that looks at all records at once.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use dunlin_sync::{
    rows::{Column, Rows},
    sample::{FieldType, Split, Value},
};
use proptest::prelude::*;

use super::{Arrival, GridField, GridRows, GridSpec, How, Resampler};

const EVERY: i64 = 10;

/// A record: when it was measured, its split, its values.
#[derive(Clone, Debug)]
struct Record {
    ts: i64,
    source_ts: Option<i64>,
    split: Split,
    values: Vec<Option<Value>>,
}

impl Record {
    fn time(&self) -> i64 {
        self.source_ts.unwrap_or(self.ts)
    }
}

fn kinds() -> [FieldType; 3] {
    [FieldType::F64, FieldType::I64, FieldType::Text]
}

/// Rows as text, to be compared.
type Shown = Vec<(i64, bool, u8, Vec<Option<String>>)>;

fn shown(value: &Value) -> String {
    format!("{value:?}")
}

fn fields(hows: [How; 3]) -> Vec<GridField> {
    let of = hows.into_iter().zip(kinds());
    let of = of.map(|(how, kind)| GridField {
        how: if kind == FieldType::Text {
            How::Last
        } else {
            how
        },
        kind: match how {
            How::Last => kind,
            _ if kind == FieldType::Text => kind,
            _ => FieldType::F64,
        },
    });
    of.collect()
}

/// What the resampler makes of records in order of arrival, and how many were late.
fn resampled(spec: &GridSpec, fields: &[GridField], records: &[Record]) -> (Shown, u64) {
    let mut grid = Resampler::new(spec, fields.into());
    let mut out = GridRows::keeping(fields);
    for record in records {
        let columns = record.values.iter().zip(kinds()).map(|(value, kind)| {
            let mut column = Column::empty(kind);
            column.push(value.clone()).unwrap();
            column
        });
        let columns: Vec<Column> = columns.collect();
        let columns: Vec<Option<&Column>> = columns.iter().map(Some).collect();
        let rows = Rows {
            ts: vec![record.ts],
            is_train: vec![record.split.is_train],
            fold: vec![record.split.fold],
            source_ts: vec![record.source_ts],
            ..Rows::default()
        };
        grid.push(Arrival::of(&rows, 0), &columns, 0, &mut out);
    }
    let rows = out.rows.unwrap();
    assert_eq!(rows.len(), out.count);
    let row = |row: usize| {
        let cells = rows.columns.iter().map(|(_, column)| column.get(row));
        let cells = cells.map(|cell| cell.as_ref().map(shown));
        (
            rows.ts[row],
            rows.is_train[row],
            rows.fold[row],
            cells.collect(),
        )
    };
    ((0..rows.len()).map(row).collect(), grid.late())
}

fn number(value: &Value) -> f64 {
    match value {
        Value::F64(x) => *x,
        Value::I64(x) => *x as f64,
        _ => panic!("{value:?} is no number"),
    }
}

/// The end of the step in which `time` lies.
fn end_of(spec: &GridSpec, time: i64) -> i64 {
    -(-time).div_euclid(spec.every_ns) * spec.every_ns
}

/// The same, step by step over all records that are not late; anew where 16 in a row are.
fn reference(spec: &GridSpec, fields: &[GridField], records: &[Record]) -> (Shown, u64) {
    let (mut over_before, mut late, mut kept) = (i64::MIN, 0, Vec::new());
    let mut late_in_a_row = 0;
    for (place, record) in records.iter().enumerate() {
        if end_of(spec, record.time()) < over_before {
            late_in_a_row += 1;
            if late_in_a_row == 16 {
                let mut rows = steps(spec, fields, kept, over_before);
                let (more, late_later) = reference(spec, fields, &records[place..]);
                rows.extend(more);
                return (rows, late + late_later);
            }
            late += 1;
            continue;
        }
        late_in_a_row = 0;
        let over = record
            .source_ts
            .map_or(record.ts, |time| time - spec.late_ns_max);
        over_before = over_before.max(over);
        kept.push(record.clone());
    }
    (steps(spec, fields, kept, over_before), late)
}

/// The rows of the steps that end before `over_before`.
fn steps(spec: &GridSpec, fields: &[GridField], mut kept: Vec<Record>, over_before: i64) -> Shown {
    // In order of measurement; of those at the same time the later arrival comes last.
    kept.sort_by_key(Record::time);
    let mut rows = Shown::new();
    let mut split = None;
    let first = kept.first().map_or(0, |record| end_of(spec, record.time()));
    let mut end = first;
    while end < over_before {
        let within = |record: &&Record| record.time() > end - spec.every_ns && record.time() <= end;
        let step: Vec<&Record> = kept.iter().filter(within).collect();
        split = step.last().map(|record| record.split).or(split);
        let reach = spec.every_ns + spec.fill_ns_max;
        let cells = fields.iter().enumerate().map(|(place, field)| {
            let points = |record: &Record| Some((record.time(), record.values[place].clone()?));
            let here: Vec<(i64, Value)> = step.iter().filter_map(|r| points(r)).collect();
            let all = || kept.iter().filter_map(points);
            let before = all().rfind(|(time, _)| *time <= end);
            let numbers = here.iter().map(|(_, value)| number(value));
            let held = before.clone().filter(|(time, _)| end - time < reach);
            match field.how {
                How::Last => held.map(|(_, value)| value),
                How::Interpolate => {
                    let (from, left) = before?;
                    let left = number(&left);
                    if from == end {
                        return Some(Value::F64(left));
                    }
                    let times = all().map(|(time, _)| time);
                    let to = times.filter(|time| *time > end).min()?;
                    let right = all().rfind(|(time, _)| *time == to)?.1;
                    let share = (end - from) as f64 / (to - from) as f64;
                    let value = left + share * (number(&right) - left);
                    (to - from <= reach).then_some(Value::F64(value))
                }
                _ if here.is_empty() => held.map(|(_, value)| Value::F64(number(&value))),
                How::Mean => Some(Value::F64(
                    numbers.clone().sum::<f64>() / numbers.count() as f64,
                )),
                How::Min => numbers.reduce(f64::min).map(Value::F64),
                How::Max => numbers.reduce(f64::max).map(Value::F64),
            }
        });
        let cells: Vec<Option<Value>> = cells.collect();
        if cells.iter().any(Option::is_some) {
            let split = split.unwrap();
            let cells = cells.iter().map(|cell| cell.as_ref().map(shown));
            rows.push((end, split.is_train, split.fold, cells.collect()));
        }
        end += spec.every_ns;
    }
    rows
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::Last),
        Just(How::Mean),
        Just(How::Min),
        Just(How::Max),
        Just(How::Interpolate),
    ]
}

/// Whole numbers, so that sums are exact in any order.
fn values() -> impl Strategy<Value = Vec<Option<Value>>> {
    let f64s = proptest::option::of((-50_i32..50).prop_map(|x| Value::F64(f64::from(x))));
    let i64s = proptest::option::of((-50_i64..50).prop_map(Value::I64));
    let texts = proptest::option::of("[a-c]".prop_map(|text| Value::Text(text.into())));
    (f64s, i64s, texts).prop_map(|(a, b, c)| vec![a, b, c])
}

/// Records in order of arrival; with a source time, it is `disorder_max` back at most.
fn records(disorder_max: i64, with_source: bool) -> impl Strategy<Value = Vec<Record>> {
    let one = (
        prop_oneof![8 => 1_i64..7, 2 => 7_i64..60, 1 => 60_i64..900],
        0..=disorder_max,
        any::<bool>(),
        0_u8..3,
        values(),
    );
    proptest::collection::vec(one, 0..80).prop_map(move |all| {
        let mut ts = 0;
        let mut records: Vec<Record> = Vec::new();
        for (later, back, is_train, fold, values) in all {
            ts += later;
            let split = Split { is_train, fold };
            // Its clock is far behind ours.
            let source_ts = with_source.then_some(ts - 5_000 - back);
            records.push(Record {
                ts,
                source_ts,
                split,
                values,
            });
        }
        // One far behind them all, so that all steps are over.
        ts += 2_000;
        let split = Split {
            is_train: true,
            fold: 0,
        };
        let source_ts = with_source.then_some(ts - 5_000);
        records.push(Record {
            ts,
            source_ts,
            split,
            values: vec![None; 3],
        });
        records
    })
}

proptest! {
    #[test]
    fn a_grid_is_what_a_plain_reference_makes_of_all_records_at_once(
        hows in [how(), how(), how()],
        fill in prop_oneof![Just(0), Just(10), 1_i64..100],
        late in 0_i64..40,
        records in records(0, false),
        ordered in records(0, true),
        disordered in records(40, true),
    ) {
        let spec = GridSpec { fill_ns_max: fill, late_ns_max: late, ..GridSpec::every(EVERY) };
        let fields = fields(hows);
        for records in [records, ordered] {
            let (expected, late) = reference(&spec, &fields, &records);
            prop_assert_eq!(late, 0);
            prop_assert_eq!(resampled(&spec, &fields, &records), (expected, 0));
        }
        // What is interpolated has been given when somebody who is too late comes between.
        let waits = GridSpec { late_ns_max: 40, ..spec.clone() };
        let spec = if hows.contains(&How::Interpolate) { waits } else { spec };
        let expected = reference(&spec, &fields, &disordered);
        prop_assert_eq!(resampled(&spec, &fields, &disordered), expected);
    }
}

#[test]
fn a_record_that_comes_for_a_step_that_is_over_is_left_out_and_counted() {
    let fields = fields([How::Mean, How::Last, How::Last]);
    let record = |ts, source_ts, value| Record {
        ts,
        source_ts: Some(source_ts),
        split: Split {
            is_train: true,
            fold: 0,
        },
        values: vec![Some(Value::F64(value)), None, None],
    };
    let records = [
        record(1_000, 1, 1.0),
        record(1_001, 11, 2.0),
        // Its step ended at 10.
        record(1_002, 9, 100.0),
        record(1_003, 21, 3.0),
    ];
    let row = |end: i64, value: f64| {
        let cells = vec![Some(shown(&Value::F64(value))), None, None];
        (end, true, 0, cells)
    };
    let spec = GridSpec::every(EVERY);
    let rows = vec![row(10, 1.0), row(20, 2.0)];
    assert_eq!(resampled(&spec, &fields, &records), (rows, 1));
    // Waited for, it counts.
    let spec = GridSpec {
        late_ns_max: 5,
        ..spec
    };
    assert_eq!(
        resampled(&spec, &fields, &records),
        (vec![row(10, 50.5)], 0)
    );
}

#[test]
fn a_day_of_silence_costs_nothing_and_a_value_is_held_no_longer_than_it_may() {
    let fields = fields([How::Last; 3]);
    let record = |ts, value| Record {
        ts,
        source_ts: None,
        split: Split {
            is_train: true,
            fold: 0,
        },
        values: vec![Some(Value::F64(value)), None, None],
    };
    let far = i64::MAX / 4;
    let records = [record(5, 1.0), record(far, 2.0), record(far + 100, 3.0)];
    let spec = GridSpec {
        fill_ns_max: 15,
        ..GridSpec::every(EVERY)
    };
    let (rows, _) = resampled(&spec, &fields, &records);
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    // Up to 25 ns after it was measured, and the same again after the silence.
    let again = -(-far).div_euclid(EVERY) * EVERY;
    assert_eq!(times, [10, 20, again, again + 10]);
}

#[test]
fn what_is_open_is_bounded_whatever_waits() {
    let fields = fields([How::Interpolate, How::Last, How::Last]);
    let spec = GridSpec {
        fill_ns_max: i64::MAX / 2,
        ..GridSpec::every(EVERY)
    };
    assert!(spec.mistake().is_some(), "a step so short is refused");
    let mut grid = Resampler::new(&spec, fields.as_slice().into());
    let mut out = GridRows::default();
    let mut number = Column::empty(FieldType::F64);
    number.push(Some(Value::F64(1.0))).unwrap();
    let split = Split {
        is_train: true,
        fold: 0,
    };
    for ts in (1..200_000).step_by(10) {
        let arrival = Arrival {
            ts,
            source_ts: None,
            split,
        };
        // The first field has a value once, and waits for its neighbour.
        let columns = if ts == 1 {
            [Some(&number), None, None]
        } else {
            [None, None, None]
        };
        grid.push(arrival, &columns, 0, &mut out);
        assert!(grid.open_steps() <= super::OPEN_STEPS_MAX as usize + 2);
    }
}

#[test]
fn a_clock_that_was_ahead_costs_few_records_and_not_a_day() {
    let fields = fields([How::Last; 3]);
    let record = |ts: i64, source_ts: i64| Record {
        ts,
        source_ts: Some(source_ts),
        split: Split {
            is_train: true,
            fold: 0,
        },
        values: vec![Some(Value::F64(source_ts as f64)), None, None],
    };
    let day = 86_400_000;
    let mut records: Vec<Record> = (1..100).map(|step| record(step * 10, step * 10)).collect();
    records.push(record(995, day));
    records.extend((100..200).map(|step| record(step * 10, step * 10)));
    let (rows, late) = resampled(&GridSpec::every(EVERY), &fields, &records);
    assert_eq!(late, 15);
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    // The first hundred steps, the second of which is held; then from where it began anew.
    let expected = (1..=100).chain(115..199).map(|step| step * 10);
    assert_eq!(times, expected.collect::<Vec<_>>());
}
