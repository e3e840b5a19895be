//! Cohorts of the rows of a grid.

use dunlin_sync::{rows, sample::TimeRange};

use super::*;
use crate::grid::{Arrival, GridRows, GridSpec, Resampler, each_grid_row};

const SECOND: i64 = 1_000_000_000;

impl Device {
    /// One value of a machine's record, measured an hour before it came.
    fn tag(&mut self, machine: &str, ts: i64, field: usize, value: Value) {
        let kinds = fields(&[
            ("power", FieldType::F64),
            ("speed", FieldType::I64),
            ("state", FieldType::Text),
        ]);
        let tags = ["device".into(), "machine".into()];
        let schema = self.buffer.declare_schema("drive", &tags, &kinds).unwrap();
        let (name, tags) = (format!("drive/{machine}"), ["pi".into(), machine.into()]);
        let stream = self.buffer.declare_stream(schema.id, &name, &tags);
        let mut values = vec![None, None, None];
        values[field] = Some(value);
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: (ts / SECOND) % 5 != 0,
                fold: ((ts / SECOND) % 3) as u8,
            },
            source_ts: Some(ts - 3_600 * SECOND),
            values: values.into(),
        };
        self.builder.push(&schema, sample).unwrap();
    }

    /// Two drives, each with one value a record: power twice a second, speed every two, state rarely.
    /// The first one is silent for a minute after each 1,000 s.
    fn with_drives(seconds: i64) -> Self {
        let mut device = Self::new();
        for second in 3_600..3_600 + seconds {
            let is_silent = second % 1_000 < 60;
            for machine in ["a", "b"] {
                if machine == "a" && is_silent {
                    continue;
                }
                let at = second * SECOND + i64::from(machine == "b") * 7;
                let power = |part: i64| Value::F64((second * 2 + part) as f64);
                device.tag(machine, at + SECOND / 10, 0, power(0));
                if second % 2 == 0 {
                    device.tag(machine, at + SECOND / 5, 1, Value::I64(second));
                }
                if second % 30 == 0 {
                    let state = if second % 60 == 0 { "on" } else { "off" };
                    device.tag(machine, at + SECOND / 4, 2, Value::Text(state.into()));
                }
                device.tag(machine, at + SECOND / 2, 0, power(1));
            }
            if second % 7 == 0 {
                device.commit();
            }
        }
        device.commit();
        device
    }

    /// The rows of one drive's grid, made in one go: times and cells.
    fn in_one_go(&self, name: &str, spec: &GridSpec) -> rows::Rows {
        let catalog = self.buffer.catalog();
        let stream = catalog.streams().find(|s| s.name == name).unwrap();
        let schema = catalog.schema(stream.schema).unwrap();
        let fields: Vec<_> = schema.fields.iter().map(|f| spec.field(f)).collect();
        let mut grid = Resampler::new(spec, fields.as_slice().into());
        let mut out = GridRows::keeping(&fields);
        for seq in self.buffer.oldest_seq()..self.buffer.next_seq() {
            let block = self.buffer.read_block(seq).unwrap().unwrap();
            let mut start = 0;
            let section = &block.sections[0];
            for run in &section.runs {
                for row in start..start + run.rows as usize {
                    if run.stream == stream.id {
                        let arrival = Arrival::of(&section.rows, row);
                        let columns: Vec<_> = (0..3).map(|f| section.rows.columns.get(f)).collect();
                        grid.push(arrival, &columns, row, &mut out);
                    }
                }
                start += run.rows as usize;
            }
        }
        out.rows.unwrap()
    }
}

fn by_second() -> GridSpec {
    let mut spec = GridSpec::every(SECOND);
    spec.set_how(&["power=mean".into()]).unwrap();
    spec.fill_ns_max = 60 * SECOND;
    spec
}

fn gridded(streams: &str, spec: &GridSpec) -> CohortQuery {
    CohortQuery {
        features: vec!["power".into(), "speed".into()],
        grid: Some(spec.clone()),
        ..CohortQuery::of(streams)
    }
}

#[test]
fn the_rows_of_a_grid_are_the_same_chunk_by_chunk_as_in_one_go() {
    // More rows than are made together, and more records than fit into a block.
    let device = Device::with_drives(9_500);
    let spec = by_second();
    for (name, rows_min) in [("drive/a", 8_900), ("drive/b", 9_400)] {
        let expected = device.in_one_go(name, &spec);
        assert!(expected.len() > rows_min, "{name}: {}", expected.len());
        let query = CohortQuery {
            rows_per_chunk_max: 1_000,
            ..gridded(name, &spec)
        };
        let cohort = device.resolve(&query, WINDOWS);
        assert_eq!(cohort.lineage().rows, expected.len() as u64);
        let (mut seen, mut ends) = (0, None);
        for rows in chunks(&cohort) {
            let first = ends.map_or(0, |end| end - rows.lead);
            for row in 0..rows.len() {
                assert_eq!(rows.ts[row], expected.ts[first + row]);
                assert_eq!(rows.is_train[row], expected.is_train[first + row]);
                let of = |field: usize| expected.columns[field].get(first + row);
                let (power, speed) = (of(0), of(1));
                let number = |value: Option<Value>| match value {
                    Some(Value::F64(x)) => x as f32,
                    Some(Value::I64(x)) => x as f32,
                    _ => f32::NAN,
                };
                let cells = rows.values_of(row..row + 1, 2);
                assert_eq!(cells[0].to_bits(), number(power).to_bits());
                assert_eq!(cells[1].to_bits(), number(speed).to_bits());
            }
            // No window reaches over a step without a row.
            let steps = rows.ts.windows(2).all(|pair| pair[1] - pair[0] == SECOND);
            assert!(steps, "{:?}", rows.ts);
            seen += rows.len() - rows.lead;
            ends = Some(first + rows.len());
        }
        assert_eq!(seen, expected.len());
    }
    // Both at once, each for itself.
    let both = device.resolve(&gridded("drive/*", &spec), ROWS);
    let rows = both.streams().iter().map(|s| s.rows).sum::<u64>();
    assert_eq!(both.lineage().rows, rows);
    assert_eq!(both.late(), 0);
}

#[test]
fn times_conditions_labels_and_halves_are_those_of_the_rows() {
    let device = Device::with_drives(2_000);
    let spec = by_second();
    let all = device.in_one_go("drive/b", &spec);
    let times =
        |rows: &mut dyn Iterator<Item = usize>| -> Vec<i64> { rows.map(|r| all.ts[r]).collect() };
    let speed = |row: usize| match all.columns[1].get(row) {
        Some(Value::I64(x)) => x,
        _ => 0,
    };
    let query = gridded("drive/b", &spec);
    let found = device.times(&CohortQuery {
        condition: Some(condition("speed > 4000 and state = 'on' and power > 0")),
        ..query.clone()
    });
    let is_on = |row: usize| all.columns[2].get(row) == Some(Value::Text("on".into()));
    let expected = times(&mut (0..all.len()).filter(|r| speed(*r) > 4_000 && is_on(*r)));
    assert!(!expected.is_empty());
    assert_eq!(found, expected);

    let (from, to) = (all.ts[500], all.ts[800]);
    let spans = [
        CohortQuery {
            from: Some(from),
            to: Some(to),
            ..query.clone()
        },
        CohortQuery {
            last: Some(301),
            to: Some(to),
            ..query.clone()
        },
    ];
    for query in spans {
        assert_eq!(device.times(&query), all.ts[500..=800]);
    }
    let last = CohortQuery {
        last: Some(50),
        ..query.clone()
    };
    assert_eq!(device.times(&last), all.ts[all.len() - 50..]);
    let after = CohortQuery {
        after: Some(from),
        ..query.clone()
    };
    assert_eq!(device.times(&after), all.ts[501..]);
    let train = CohortQuery {
        split: SplitPart::Train,
        ..query.clone()
    };
    let expected = times(&mut (0..all.len()).filter(|row| all.is_train[*row]));
    assert_eq!(device.times(&train), expected);

    // Windows look back over the moment from which rows count.
    let cohort = device.resolve(
        &CohortQuery {
            after: Some(from),
            ..query.clone()
        },
        WINDOWS,
    );
    let first = cohort.read(0).unwrap();
    let counts = (0..first.len()).find(|row| first.ends.get(*row).is_none_or(|ends| *ends));
    assert_eq!(first.ts[counts.unwrap()], all.ts[501]);
    assert_eq!(first.ts[0], all.ts[498]);

    let classes = device.resolve(
        &CohortQuery {
            label: Some("state".into()),
            ..query
        },
        ROWS,
    );
    assert_eq!(classes.columns().classes, ["off", "on"]);
    let labelled: usize = chunks(&classes)
        .iter()
        .map(|rows| rows.label.iter().filter(|l| l.is_finite()).count())
        .sum();
    let expected = (0..all.len())
        .filter(|row| all.columns[2].get(*row).is_some())
        .count();
    assert_eq!(labelled, expected);
}

/// They came before they were measured.
#[test]
fn rows_since_a_moment_are_all_there_also_of_a_source_that_is_ahead() {
    let mut device = Device::new();
    let kinds = fields(&[("x", FieldType::F64)]);
    let schema = device.buffer.declare_schema("s", &[], &kinds).unwrap();
    let stream = device.buffer.declare_stream(schema.id, "s", &[]);
    for second in 10_000..14_000 {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(second * SECOND),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: Some((second + 3_600) * SECOND),
            values: vec![Some(Value::F64(1.0))].into(),
        };
        device.builder.push(&schema, sample).unwrap();
        if second % 50 == 0 {
            device.commit();
        }
    }
    device.commit();
    let from = 14_000 * SECOND;
    let query = CohortQuery {
        grid: Some(GridSpec::every(SECOND)),
        from: Some(from),
        ..CohortQuery::of("s")
    };
    let expected: Vec<i64> = (14_000..17_599).map(|second| second * SECOND).collect();
    assert_eq!(device.times(&query), expected);
}

/// Those for which a condition holds may lie far back.
#[test]
fn the_last_rows_are_those_of_the_condition_however_far_back() {
    let device = Device::with_drives(5_000);
    let query = CohortQuery {
        condition: Some(condition("speed < 4000")),
        last: Some(100),
        ..gridded("drive/b", &by_second())
    };
    let found = device.times(&query);
    assert_eq!(found.len(), 100);
    let all = CohortQuery {
        last: None,
        ..query
    };
    assert_eq!(found, device.times(&all)[300..]);
}

#[test]
fn what_is_written_out_is_the_whole_grid_texts_and_all() {
    let device = Device::with_drives(5_000);
    let spec = by_second();
    let catalog = device.buffer.catalog();
    let streams = catalog.streams().map(|stream| {
        let schema = catalog.schema(stream.schema).unwrap();
        (Arc::clone(stream), Arc::clone(schema))
    });
    let streams: Vec<_> = streams.collect();
    let all = device.in_one_go("drive/a", &spec);
    let range = TimeRange {
        from: Timestamp(all.ts[10]),
        to: Timestamp(all.ts[4_700]),
    };
    let mut written = rows::Rows::default();
    each_grid_row::<CohortError>(
        &device.buffer,
        &spec,
        &streams,
        range,
        &|_, _| Ok(()),
        |stream, rows| {
            if stream.name == "drive/a" {
                written.extend_from(rows, 0..rows.len());
            }
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(written.ts, all.ts[10..=4_700]);
    assert_eq!(written.is_train, all.is_train[10..=4_700]);
    for field in 0..3 {
        for row in 0..written.len() {
            let wanted = all.columns[field].get(10 + row);
            assert_eq!(written.columns[field].get(row), wanted);
        }
    }
    assert!(written.columns[2].get(100).is_some());
}

#[test]
fn what_arrives_later_than_a_task_was_opened_is_not_there_for_it() {
    let mut device = Device::with_drives(500);
    let spec = by_second();
    let arrived_to = device.buffer.shape().newest_ts;
    let query = CohortQuery {
        arrived_to,
        ..gridded("drive/b", &spec)
    };
    let before = device.times(&query);
    let hash = device.resolve(&query, ROWS).lineage().rows_hash;
    device.tag("b", 9_000 * SECOND, 0, Value::F64(1.0));
    device.tag("b", 9_100 * SECOND, 0, Value::F64(1.0));
    device.commit();
    assert_eq!(device.times(&query), before);
    assert_eq!(device.resolve(&query, ROWS).lineage().rows_hash, hash);
    let now = device.times(&CohortQuery {
        arrived_to: None,
        ..query
    });
    assert!(now.len() > before.len());
}

#[test]
fn a_query_for_a_grid_says_itself_in_words_that_are_understood() {
    let mut spec = by_second();
    spec.late_ns_max = 5 * SECOND;
    let query = CohortQuery {
        arrived_to: Some(7),
        ..gridded("drive/b", &spec)
    };
    assert_eq!(
        query.to_string(),
        "--streams=drive/b --features=power,speed --every=1000ms --how=last,power=mean \
         --fill-ms-max=60000ms --late-ms-max=5000ms --arrived-to=7"
    );
    let device = Device::with_drives(10);
    let grid = GridSpec::every(1_000);
    let refused = device.refused(&CohortQuery {
        grid: Some(grid),
        ..query
    });
    assert_eq!(refused, "a step of a grid is 1 ms at least");
}
