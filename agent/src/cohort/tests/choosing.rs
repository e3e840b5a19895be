//! Which rows a query names.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

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
    let all = part(SplitPart::All);
    assert_eq!(all.len(), 602);
    let pairs = [
        (SplitPart::Fold(0), SplitPart::NotFold(0)),
        (SplitPart::Fold(2), SplitPart::NotFold(2)),
        (SplitPart::Fold(9), SplitPart::NotFold(9)),
        (SplitPart::Train, SplitPart::Validation),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any cohort is what choosing among all rows in memory gives.
    #[test]
    fn resolving_is_choosing(
        runs in prop::collection::vec((0_usize..3, 1_i64..40, 1_i64..60, any::<bool>()), 1..12),
        last in prop::option::of(0_u64..60),
        from in prop::option::of(0_i64..300),
        modulus in 1_i64..6,
        split in prop_oneof![Just(SplitPart::All), Just(SplitPart::Train), Just(SplitPart::NotFold(1))],
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
