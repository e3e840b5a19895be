//! The rows of a grid are answered in place of the records.

use super::*;
use crate::{cohort::CohortQuery, grid::GridSpec};

const SECOND: i64 = 1_000_000_000;
/// Two and a half records a step.
const TICK: i64 = SECOND / 5 * 2;

fn gridded() -> RecipeRule {
    let mut grid = GridSpec::every(SECOND);
    grid.set_how(&["mean".into()]).unwrap();
    RecipeRule {
        grid: Some(grid),
        ..rule("pca")
    }
}

/// Trains on the rows of the grid so far, and lets it serve.
fn promote_grid(bench: &Bench, rule: &RecipeRule) -> i64 {
    let query = rule.query("plant/press", i64::MAX, 1_000).unwrap();
    promote_query(bench, rule, &query) as i64
}

/// Times of all the rows that a query gives.
fn rows_of(bench: &Bench, rule: &RecipeRule) -> Vec<i64> {
    let query = CohortQuery {
        last: None,
        ..rule.query("plant/press", i64::MAX, 1_000).unwrap()
    };
    let shape = dunlin_models::data::WindowShape {
        lookback: 1,
        horizon: 0,
    };
    let cohort = crate::cohort::resolve(&bench.shared.buffer, &query, shape).unwrap();
    let source: &dyn dunlin_models::data::Source = &cohort;
    let chunks = (0..source.chunks()).map(|chunk| source.read(chunk).unwrap());
    chunks.flat_map(|rows| rows.ts.clone()).collect()
}

/// Whatever the records say of when they were measured, and however often the agent restarts.
#[test]
fn every_step_of_a_grid_is_answered_once_when_it_is_over_also_over_restarts() {
    for measured_before_ns in [None, Some(0), Some(3_600 * SECOND), Some(-90 * SECOND)] {
        let rule = gridded();
        let mut bench = Bench::new(vec![rule.clone()]);
        (bench.tick_ns, bench.measured_before_ns) = (TICK, measured_before_ns);
        bench.commit(1_500);
        let kept = keeper(&mut bench);
        let version = promote_grid(&bench, &rule);
        let trained_to = *rows_of(&bench, &rule).last().unwrap();
        let shared = Arc::clone(&bench.shared);
        let mut inference = started(&shared);
        for round in 0..30 {
            bench.commit(1 + round % 9);
            inference.catch_up();
            if round % 4 == 3 {
                inference.store(true);
                inference = restarted(&shared, &kept);
            }
        }
        let rows = rows_of(&bench, &rule);
        let expected = rows.iter().filter(|ts| **ts > trained_to);
        let expected: Vec<_> = expected.map(|ts| (*ts, version)).collect();
        assert!(expected.len() > 50, "{expected:?}");
        assert_eq!(*kept.lock().unwrap(), expected, "{measured_before_ns:?}");
        assert_eq!(shared.stats.late.load(Relaxed), 0);
    }
}

/// Answered are those rows, and those alone, that a data set has whose step before has one, too.
#[test]
fn a_silence_ends_a_window_and_a_late_record_is_counted() {
    let rule = gridded();
    let mut bench = Bench::new(vec![rule.clone()]);
    (bench.tick_ns, bench.measured_before_ns) = (TICK, Some(0));
    bench.commit(1_500);
    let kept = keeper(&mut bench);
    let version = promote_grid(&bench, &rule);
    let trained_to = *rows_of(&bench, &rule).last().unwrap();
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    bench.commit(100);
    bench.pass_over(1_000);
    // Five of these were measured in steps that the first hundred have ended.
    bench.measured_before_ns = Some(1_010 * TICK);
    bench.commit(5);
    bench.measured_before_ns = Some(0);
    bench.commit(100);
    inference.catch_up();
    assert_eq!(shared.stats.late.load(Relaxed), 5);
    let rows = rows_of(&bench, &rule);
    let follows = |pair: &&[i64]| pair[1] - pair[0] == SECOND && pair[1] > trained_to;
    let expected = rows
        .windows(2)
        .filter(follows)
        .map(|pair| (pair[1], version));
    assert_eq!(*kept.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// Else nothing is answered until the time has come that it showed.
#[test]
fn after_a_clock_that_was_ahead_the_steps_are_answered_again_also_over_a_restart() {
    let rule = gridded();
    let mut bench = Bench::new(vec![rule.clone()]);
    (bench.tick_ns, bench.measured_before_ns) = (TICK, Some(0));
    bench.commit(1_500);
    let kept = keeper(&mut bench);
    promote_grid(&bench, &rule);
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    bench.measured_before_ns = Some(-7_200 * SECOND);
    bench.commit(200);
    inference.catch_up();
    let ahead = kept.lock().unwrap().len();
    bench.measured_before_ns = Some(0);
    bench.commit(100);
    inference.catch_up();
    inference.store(true);
    let before = kept.lock().unwrap().len();
    let mut inference = restarted(&shared, &kept);
    bench.commit(100);
    inference.catch_up();
    let kept = kept.lock().unwrap().clone();
    // 16 of them were late; a window has two rows, and the last step is open.
    let back = 1_700 + 15;
    let steps = |from: i64, to: i64| (from * TICK / SECOND + 2)..=((to - 1) * TICK / SECOND);
    let times: Vec<i64> = kept[ahead..].iter().map(|(ts, _)| ts / SECOND).collect();
    assert_eq!(times, steps(back, 1_900).collect::<Vec<_>>());
    assert!(before > ahead && before < kept.len());
    assert_eq!(shared.stats.late.load(Relaxed), 15);
}
