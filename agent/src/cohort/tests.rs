//! Cohorts over a real buffer in a temporary directory.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::{collections::BTreeSet, sync::Arc};

use dunlin_models::data::{Half, Rows, Source, WindowShape};
use dunlin_sync::{
    buffer::{Buffer, BufferOptions},
    builder::BlockBuilder,
    pack::Compression,
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};
use proptest::prelude::*;

use super::*;

const ROWS: WindowShape = WindowShape {
    lookback: 1,
    horizon: 0,
};
const WINDOWS: WindowShape = WindowShape {
    lookback: 3,
    horizon: 1,
};

struct Device {
    dir: tempfile::TempDir,
    buffer: Arc<Buffer>,
    builder: BlockBuilder,
}

fn fields(all: &[(&str, FieldType)]) -> Vec<Field> {
    let fields = all.iter().map(|(name, kind)| Field {
        name: (*name).into(),
        kind: *kind,
    });
    fields.collect()
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (buffer, _) = Buffer::open(BufferOptions::new(dir.path(), 8 << 20)).unwrap();
        Self {
            dir,
            buffer: Arc::new(buffer),
            builder: BlockBuilder::new(Compression::Pco),
        }
    }

    /// One record of a press: temperature, a speed that may be missing, what it does.
    fn press(&mut self, machine: &str, ts: i64, values: [Option<Value>; 3]) {
        let kinds = fields(&[
            ("temperature", FieldType::F64),
            ("speed", FieldType::I64),
            ("state", FieldType::Text),
        ]);
        let tags = ["device".into(), "machine".into()];
        let schema = self.buffer.declare_schema("press", &tags, &kinds).unwrap();
        let (name, tags) = (format!("press/{machine}"), ["pi".into(), machine.into()]);
        let stream = self.buffer.declare_stream(schema.id, &name, &tags);
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: ts % 5 != 0,
                fold: (ts % 3) as u8,
            },
            source_ts: None,
            values: values.into(),
        };
        self.builder.push(&schema, sample).unwrap();
    }

    /// Records `from..to` of one press, whose temperature is the time.
    fn presses(&mut self, machine: &str, times: std::ops::Range<i64>) {
        for ts in times {
            let state = if ts % 10 == 0 { "stopped" } else { "running" };
            let values = [
                Some(Value::F64(ts as f64)),
                Some(Value::I64(ts % 7)),
                Some(Value::Text(state.into())),
            ];
            self.press(machine, ts, values);
        }
    }

    fn commit(&mut self) {
        self.buffer.commit(&self.builder.finish(), &[]).unwrap();
    }

    /// Two presses, the records of each in several blocks.
    fn with_presses() -> Self {
        let mut device = Self::new();
        for from in (1..1_001).step_by(250) {
            device.presses("b", from..from + 125);
            device.presses("a", from + 125..from + 250);
            device.commit();
        }
        device
    }

    fn resolve(&self, query: &CohortQuery, shape: WindowShape) -> Cohort {
        resolve(&self.buffer, query, shape).unwrap()
    }

    fn refused(&self, query: &CohortQuery) -> String {
        let Err(error) = resolve(&self.buffer, query, ROWS) else {
            panic!("{query} is not refused");
        };
        error.to_string()
    }

    /// Timestamps of the rows that count.
    fn times(&self, query: &CohortQuery) -> Vec<i64> {
        times(&self.resolve(query, ROWS))
    }
}

fn chunks(cohort: &Cohort) -> Vec<Arc<Rows>> {
    (0..cohort.chunks())
        .map(|index| cohort.read(index).unwrap())
        .collect()
}

fn times(cohort: &Cohort) -> Vec<i64> {
    let rows = chunks(cohort);
    let times: Vec<i64> = rows.iter().flat_map(|rows| rows.ts.clone()).collect();
    assert_eq!(times.len() as u64, cohort.lineage().rows);
    times
}

/// Timestamps at which a window ends.
fn ends(cohort: &Cohort) -> Vec<i64> {
    let width = cohort.columns().features.len();
    let mut ends = Vec::new();
    for rows in chunks(cohort) {
        let windows = rows.windows(WINDOWS, width, false, Half::Both);
        ends.extend(windows.map(|window| rows.ts[window.end - 1]));
    }
    ends
}

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap()
}

#[test]
fn a_query_gives_columns_rows_and_lineage() {
    let device = Device::with_presses();
    let cohort = device.resolve(&CohortQuery::of("press/*"), ROWS);
    assert_eq!(cohort.columns().features, ["temperature", "speed"]);
    let lineage = cohort.lineage().clone();
    assert_eq!(
        (lineage.rows, lineage.first_ts, lineage.last_ts),
        (1_000, 1, 1_000)
    );
    assert_eq!(lineage.query, "--streams='press/*'");
    let streams = cohort.streams().into_iter().map(|s| (s.stream, s.rows));
    let expected = [("press/a".into(), 500), ("press/b".into(), 500)];
    assert_eq!(streams.collect::<Vec<(String, u64)>>(), expected);
    for rows in chunks(&cohort) {
        assert!(rows.ts.is_sorted());
        for (row, ts) in rows.ts.iter().enumerate() {
            assert_eq!(
                rows.values_of(row..row + 1, 2),
                [*ts as f32, (ts % 7) as f32]
            );
            assert_eq!(rows.is_train[row], ts % 5 != 0);
        }
    }
    let again = device.resolve(&CohortQuery::of("press/*"), ROWS);
    assert_eq!(*again.lineage(), lineage);
    let fewer = device.resolve(
        &CohortQuery {
            to: Some(999),
            ..CohortQuery::of("press/*")
        },
        ROWS,
    );
    assert_ne!(fewer.lineage().rows_hash, lineage.rows_hash);
}

#[test]
fn rows_are_chosen_by_time_condition_and_count() {
    let device = Device::with_presses();
    let query = CohortQuery {
        from: Some(100),
        to: Some(130),
        ..CohortQuery::of("*")
    };
    // Streams by name, each in order of time.
    let expected: Vec<i64> = (126..131).chain(100..126).collect();
    assert_eq!(device.times(&query), expected);
    let query = CohortQuery {
        condition: Some(condition(
            "temperature > 990 and machine = \"a\" or temperature <= 2",
        )),
        ..CohortQuery::of("*")
    };
    let expected: Vec<i64> = (991..1_001).chain(1..3).collect();
    assert_eq!(device.times(&query), expected);
    let query = CohortQuery {
        last: Some(3),
        condition: Some(condition("state = 'stopped'")),
        ..CohortQuery::of("*")
    };
    assert_eq!(device.times(&query), [980, 990, 1_000, 850, 860, 870]);
    let query = CohortQuery {
        after: Some(998),
        ..query
    };
    assert_eq!(device.times(&query), [1_000]);
    let query = CohortQuery {
        after: Some(1_000),
        ..query
    };
    let cohort = device.resolve(&query, ROWS);
    assert_eq!((cohort.chunks(), cohort.lineage().rows), (0, 0));
    assert_eq!(
        (cohort.lineage().first_ts, cohort.lineage().last_ts),
        (0, 0)
    );
}

#[test]
fn a_fold_and_its_complement_are_all_and_so_are_the_halves() {
    let device = Device::with_presses();
    let part = |split| {
        let query = CohortQuery {
            split,
            last: Some(301),
            ..CohortQuery::of("*")
        };
        device.times(&query).into_iter().collect::<BTreeSet<_>>()
    };
    let all = part(Part::All);
    assert_eq!(all.len(), 602);
    let pairs = [
        (Part::Fold(0), Part::NotFold(0)),
        (Part::Fold(2), Part::NotFold(2)),
        (Part::Fold(9), Part::NotFold(9)),
        (Part::Train, Part::Validation),
    ];
    for (one, other) in pairs {
        let (one, other) = (part(one), part(other));
        assert!(one.is_disjoint(&other));
        assert_eq!(&one | &other, all);
    }
}

#[test]
fn a_fraction_is_drawn_the_same_each_time_whatever_else_is_asked() {
    let device = Device::with_presses();
    let query = |fraction, seed| CohortQuery {
        fraction,
        seed,
        ..CohortQuery::of("*")
    };
    let some = device.times(&query(0.3, 1));
    assert!((250..350).contains(&some.len()), "{}", some.len());
    assert_eq!(device.times(&query(0.3, 1)), some);
    assert_ne!(device.times(&query(0.3, 2)), some);
    let more: BTreeSet<i64> = device.times(&query(0.6, 1)).into_iter().collect();
    assert!(some.iter().all(|ts| more.contains(ts)));
    let late = CohortQuery {
        from: Some(500),
        ..query(0.3, 1)
    };
    let expected: Vec<i64> = some.into_iter().filter(|ts| *ts >= 500).collect();
    assert_eq!(device.times(&late), expected);
}

#[test]
fn classes_are_found_and_balanced() {
    let device = Device::with_presses();
    let query = CohortQuery {
        label: Some("state".into()),
        balance: true,
        ..CohortQuery::of("*")
    };
    let cohort = device.resolve(&query, ROWS);
    assert_eq!(cohort.columns().classes, ["running", "stopped"]);
    assert_eq!(cohort.columns().features, ["temperature", "speed"]);
    let mut counts = [0; 2];
    for rows in chunks(&cohort) {
        for (ts, label) in rows.ts.iter().zip(&rows.label) {
            assert_eq!(*label, f32::from(u8::from(ts % 10 == 0)));
            counts[*label as usize] += 1;
        }
    }
    assert_eq!(counts, [100, 100]);
    assert_eq!(device.resolve(&query, ROWS).lineage(), cohort.lineage());
    // A model's classes are given; other values are no label.
    let query = CohortQuery {
        classes: vec!["stopped".into(), "broken".into()],
        balance: false,
        ..query
    };
    let labels = chunks(&device.resolve(&query, ROWS));
    let labels: Vec<f32> = labels.iter().flat_map(|rows| rows.label.clone()).collect();
    assert_eq!(labels.len(), 1_000);
    assert_eq!(labels.iter().filter(|label| **label == 0.0).count(), 100);
    assert!(labels.iter().all(|label| *label == 0.0 || label.is_nan()));
    // Numbers as classes are sorted as numbers.
    let query = CohortQuery {
        label: Some("speed".into()),
        classify: true,
        condition: Some(condition("speed in (5, 2) or speed = 3 * 2")),
        ..CohortQuery::of("*")
    };
    assert_eq!(
        device.resolve(&query, ROWS).columns().classes,
        ["2", "5", "6"]
    );
    let query = CohortQuery {
        label: Some("temperature".into()),
        classify: true,
        ..CohortQuery::of("*")
    };
    assert!(
        device
            .refused(&query)
            .contains("more than 256 different values")
    );
}

#[test]
fn balance_thins_what_windows_end_in_not_what_they_see() {
    let device = Device::with_presses();
    let query = CohortQuery {
        label: Some("state".into()),
        balance: true,
        rows_per_chunk_max: 50,
        ..CohortQuery::of("*")
    };
    let cohort = device.resolve(&query, WINDOWS);
    assert_eq!(cohort.lineage().rows, 200);
    let thinned = ends(&cohort);
    assert!(thinned.len() > 190, "{}", thinned.len());
    let all = ends(&device.resolve(
        &CohortQuery {
            balance: false,
            ..query
        },
        WINDOWS,
    ));
    assert!(thinned.iter().all(|ts| all.contains(ts)));
}

#[test]
fn chunks_are_bounded_and_their_windows_are_those_of_one_chunk() {
    let device = Device::with_presses();
    let whole = CohortQuery {
        rows_per_chunk_max: 100_000,
        ..CohortQuery::of("*")
    };
    let cohort = device.resolve(&whole, WINDOWS);
    assert_eq!(cohort.chunks(), 2);
    let expected = ends(&cohort);
    assert_eq!(expected.len(), 1_000 - 2 * 3);
    for rows_per_chunk_max in [1, 2, 3, 64, 499] {
        let query = CohortQuery {
            rows_per_chunk_max,
            ..whole.clone()
        };
        let cohort = device.resolve(&query, WINDOWS);
        for rows in chunks(&cohort) {
            assert!(rows.lead <= 3 && rows.len() - rows.lead <= rows_per_chunk_max);
        }
        assert_eq!(ends(&cohort), expected, "{rows_per_chunk_max}");
        assert_eq!(
            cohort.lineage().rows_hash,
            device.resolve(&whole, WINDOWS).lineage().rows_hash
        );
    }
}

#[test]
fn no_window_reaches_over_a_gap_or_an_excluded_row() {
    let device = Device::with_presses();
    // Press b rests for 125 ns between 125 and 251.
    let query = CohortQuery {
        gap_ns_max: Some(100),
        ..CohortQuery::of("press/b")
    };
    let found = ends(&device.resolve(&query, WINDOWS));
    let expected: Vec<i64> = (0..4).flat_map(|i| i * 250 + 4..i * 250 + 126).collect();
    assert_eq!(found, expected);
    let query = CohortQuery {
        condition: Some(condition("state != 'stopped'")),
        ..query
    };
    let found = ends(&device.resolve(&query, WINDOWS));
    let expected: Vec<i64> = expected
        .into_iter()
        .filter(|ts| (4..10).contains(&(ts % 10)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn windows_look_back_over_the_last_training() {
    let device = Device::with_presses();
    let query = CohortQuery {
        after: Some(990),
        ..CohortQuery::of("press/a")
    };
    let cohort = device.resolve(&query, WINDOWS);
    assert_eq!(ends(&cohort), (991..1_001).collect::<Vec<_>>());
    let rows: usize = chunks(&cohort).iter().map(|rows| rows.len()).sum();
    assert_eq!(
        (cohort.lineage().rows, cohort.lineage().first_ts, rows),
        (10, 991, 13)
    );
}

#[test]
fn missing_values_stay_missing_or_repeat_the_last() {
    let mut device = Device::new();
    let cell = |value: f64| Some(Value::F64(value));
    let readings = [
        None,
        cell(1.0),
        cell(f64::NAN),
        None,
        cell(4.0),
        None,
        None,
        cell(f64::INFINITY),
    ];
    for (ts, reading) in (1..).zip(readings) {
        // A pause before the sixth.
        device.press(
            "a",
            if ts < 6 { ts } else { ts + 100 },
            [reading, None, None],
        );
    }
    device.commit();
    let values = |missing, rows_per_chunk_max| {
        let query = CohortQuery {
            features: vec!["temperature".into()],
            gap_ns_max: Some(50),
            missing,
            rows_per_chunk_max,
            ..CohortQuery::of("*")
        };
        let cohort = device.resolve(&query, WINDOWS);
        let of = |rows: &Arc<Rows>| rows.values[rows.lead..].to_vec();
        let values = chunks(&cohort).iter().flat_map(of).collect::<Vec<f32>>();
        values
            .into_iter()
            .map(|v| v.is_finite().then_some(v))
            .collect::<Vec<_>>()
    };
    let filled = [
        None,
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(4.0),
        None,
        None,
        None,
    ];
    for rows_per_chunk_max in [1, 2, 100] {
        assert_eq!(values(Missing::LastValue, rows_per_chunk_max), filled);
        let skipped = [None, Some(1.0), None, None, Some(4.0), None, None, None];
        assert_eq!(values(Missing::Skip, rows_per_chunk_max), skipped);
    }
}

#[test]
fn what_arrives_or_is_trimmed_later_changes_nothing_unnoticed() {
    let mut device = Device::with_presses();
    let cohort = device.resolve(&CohortQuery::of("*"), ROWS);
    let (before, lineage) = (times(&cohort), cohort.lineage().clone());
    device.presses("a", 1_001..1_100);
    device.commit();
    assert_eq!(times(&cohort), before);
    assert_eq!(*cohort.lineage(), lineage);
    assert_eq!(device.times(&CohortQuery::of("*")).len(), 1_099);
    // Noise fills the buffer until the first records are deleted, once uploaded.
    let mut ts = 2_000;
    while device.buffer.oldest_seq() == 0 {
        for _ in 0..20_000 {
            ts += 1;
            let noise = (ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            device.press(
                "c",
                ts,
                [
                    Some(Value::F64(f64::from_bits(noise))),
                    Some(Value::I64(noise as i64)),
                    None,
                ],
            );
        }
        device.commit();
        device.buffer.uploaded_to(device.buffer.next_seq());
    }
    let error = cohort.read(0).unwrap_err().to_string();
    assert!(error.contains("was trimmed or lost since"), "{error}");
    assert!(cohort.read(99).is_err());
    drop(device.dir);
}

#[test]
fn wrong_queries_are_refused_with_what_to_do() {
    let mut device = Device::with_presses();
    let other = device.buffer.declare_schema(
        "oven",
        &["device".into()],
        &fields(&[("heat", FieldType::F32)]),
    );
    device
        .buffer
        .declare_stream(other.unwrap().id, "oven", &["pi".into()]);
    device.commit();
    let of = |streams: &str| CohortQuery::of(streams);
    let press = || of("press/*");
    let feature = |name: &str| CohortQuery {
        features: vec![name.into()],
        ..press()
    };
    for (query, words) in [
        (of("*"), "the stream press/a has no field `heat`"),
        (
            of("pres"),
            "no stream is called \"pres\"; streams: press/b, press/a, oven",
        ),
        (feature("speeed"), "fields: temperature, speed, state"),
        (feature("state"), "a feature is a number or a flag"),
        (
            CohortQuery {
                fraction: 0.0,
                ..press()
            },
            "0.1 takes a tenth",
        ),
        (
            CohortQuery {
                fraction: f64::NAN,
                ..press()
            },
            "0.1 takes a tenth",
        ),
        (
            CohortQuery {
                balance: true,
                ..press()
            },
            "need a label",
        ),
        (
            CohortQuery {
                from: Some(2),
                to: Some(1),
                ..press()
            },
            "swap them",
        ),
        (
            CohortQuery {
                gap_ns_max: Some(0),
                ..press()
            },
            "above 0",
        ),
        (
            CohortQuery {
                rows_per_chunk_max: 0,
                ..press()
            },
            "0 rows",
        ),
        (
            CohortQuery {
                features: vec!["speed".into(); 2],
                ..press()
            },
            "named twice",
        ),
        (
            CohortQuery {
                condition: Some(condition("heat > 1")),
                ..press()
            },
            "character 1: press has no field or tag `heat`",
        ),
        (
            CohortQuery {
                condition: Some(condition("temperature > 'hot'")),
                ..press()
            },
            "character 15: a number cannot be compared with a text",
        ),
    ] {
        let error = device.refused(&query);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_empty_buffer_and_a_stream_without_records_are_no_error() {
    let device = Device::new();
    assert!(matches!(
        resolve(&device.buffer, &CohortQuery::default(), ROWS),
        Err(CohortError::NoStream(_))
    ));
    let schema = device
        .buffer
        .declare_schema("s", &[], &fields(&[("x", FieldType::F64)]))
        .unwrap();
    device.buffer.declare_stream(schema.id, "s", &[]);
    let cohort = device.resolve(&CohortQuery::default(), WINDOWS);
    assert_eq!((cohort.chunks(), cohort.lineage().rows), (0, 0));
    let query = CohortQuery {
        label: Some("x".into()),
        balance: true,
        ..CohortQuery::default()
    };
    assert_eq!(
        device.resolve(&query, WINDOWS).columns().classes,
        Vec::<String>::new()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any cohort is what choosing among all rows in memory gives.
    #[test]
    fn resolving_is_choosing(
        runs in prop::collection::vec((0_usize..3, 1_i64..40, 1_i64..60, any::<bool>()), 1..12),
        last in prop::option::of(0_u64..60),
        from in prop::option::of(0_i64..300),
        modulus in 1_i64..6,
        split in prop_oneof![Just(Part::All), Just(Part::Train), Just(Part::NotFold(1))],
        rows_per_chunk_max in 1_usize..40,
    ) {
        let mut device = Device::new();
        let (mut ts, mut all) = (1, Vec::new());
        for (machine, rows, pause, commits) in runs {
            let name = ["a", "b", "c"][machine];
            device.presses(name, ts..ts + rows);
            all.extend((ts..ts + rows).map(|ts| (name, ts)));
            ts += rows + pause;
            if commits {
                device.commit();
            }
        }
        device.commit();
        let query = CohortQuery {
            last,
            from,
            condition: Some(condition(&format!("temperature % {modulus} = 0"))),
            split,
            rows_per_chunk_max,
            ..CohortQuery::of("*")
        };
        let mut expected = Vec::new();
        for name in ["a", "b", "c"] {
            let of_stream = all.iter().filter(|(n, ts)| *n == name && from.is_none_or(|from| *ts >= from) && ts % modulus == 0);
            let times: Vec<i64> = of_stream.map(|(_, ts)| *ts).collect();
            let skipped = last.map_or(0, |last| times.len().saturating_sub(last as usize));
            let counts = |ts: &i64| split.takes(ts % 5 != 0, (ts % 3) as u8);
            expected.extend(times[skipped..].iter().copied().filter(counts));
        }
        prop_assert_eq!(device.times(&query), expected);
    }
}
