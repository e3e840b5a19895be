//! Chunks, and the windows in them.

use dunlin_models::data::Subset;

use super::*;

/// Timestamps at which a window ends.
fn ends(cohort: &Cohort) -> Vec<i64> {
    let width = cohort.columns().features.len();
    let mut ends = Vec::new();
    for rows in chunks(cohort) {
        let windows = rows.windows(WINDOWS, width, false, Subset::All);
        ends.extend(windows.map(|window| rows.ts[window.end - 1]));
    }
    ends
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
