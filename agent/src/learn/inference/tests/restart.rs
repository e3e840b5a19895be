//! What goes on over a restart.

use dunlin_models::{
    drift::{error::ErrorDrift, population::InputDrift},
    judging::trial::Trial,
    recipes::Algorithm,
};
use dunlin_sync::{buffer::WhenFull, files::state_file};

use super::*;
use crate::learn::inference::snapshot::PredictorSnapshot;

#[test]
fn records_let_go_before_they_were_answered_are_counted_also_over_a_restart() {
    let mut bench = Bench::with_buffer(vec![rule("pca")], |options| {
        options.bytes_max = 3 << 20;
        options.when_full = WhenFull::DropOldest;
    });
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x", "y"]);
    let shared = Arc::clone(&bench.shared);
    let mut committed = 0;
    let mut flood = |unread: u64| {
        while shared.buffer.oldest_seq() <= unread {
            bench.commit(5_000);
            committed += 5_000;
        }
        committed
    };
    let counted = || {
        let stats = &shared.stats;
        (stats.predictions.load(Relaxed), stats.missed.load(Relaxed))
    };
    let mut inference = restarted(&shared, &kept);
    let committed = flood(shared.buffer.next_seq());
    inference.catch_up();
    let (answered, missed) = counted();
    assert!(missed > 0);
    assert_eq!(answered + missed, committed);
    inference.store(true);
    let unread = shared.buffer.next_seq();
    drop(inference);

    let committed = flood(unread);
    restarted(&shared, &kept).catch_up();
    let (answered, missed_by_now) = counted();
    assert!(missed_by_now > missed);
    // The record before the first one is gone, and its window with it.
    assert_eq!(answered + missed_by_now + 1, committed);
}

/// What the only predictor would take along.
fn snapshot(inference: &Inference<'_>) -> PredictorSnapshot {
    inference.predictors.iter().next().unwrap().snapshot()
}

fn forecaster() -> RecipeRule {
    let mut rule = rule("pca");
    let settings = settings_of(&mut rule);
    settings.algorithm = Algorithm::RidgeNlinear;
    (settings.lookback, settings.horizon) = (8, 5);
    rule
}

#[test]
fn detectors_and_trials_go_on_after_a_restart_and_count_no_record_twice() {
    for rule in [rule("pca"), forecaster()] {
        let run = |restarts: bool| {
            let mut bench = Bench::new(vec![rule.clone()]);
            bench.commit(500);
            let kept = keeper(&mut bench);
            promote_by(&bench, &rule, &["x", "y"]);
            let shared = Arc::clone(&bench.shared);
            let mut inference = restarted(&shared, &kept);
            for round in 0..40 {
                if round == 7 {
                    promote_by(&bench, &rule, &["x", "y"]);
                    inference.refresh();
                }
                bench.commit(97);
                inference.catch_up();
                if round % 3 == 1 {
                    inference.store(true);
                }
                // Killed: some rounds are not in what was stored.
                if restarts && round % 5 == 2 {
                    inference = restarted(&shared, &kept);
                }
            }
            inference.catch_up();
            let times: Vec<i64> = kept.lock().unwrap().iter().map(|(ts, _)| *ts).collect();
            assert_eq!(times, (501..=500 + 40 * 97).collect::<Vec<_>>());
            snapshot(&inference)
        };
        let (without, with) = (run(false), run(true));
        assert_eq!(with.on_trial_against(), Some(1));
        assert_eq!(without, with, "{rule:?}");
    }
}

#[test]
fn a_version_promoted_while_nobody_answered_is_put_on_trial() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    let shared = Arc::clone(&bench.shared);
    promote(&bench, &["x", "y"]);
    let mut inference = restarted(&shared, &kept);
    bench.commit(100);
    inference.catch_up();
    assert_eq!(snapshot(&inference).on_trial_against(), None);
    inference.store(true);

    promote(&bench, &["x", "y"]);
    bench.commit(100);
    let mut inference = restarted(&shared, &kept);
    inference.catch_up();
    assert_eq!(snapshot(&inference).on_trial_against(), Some(1));
    inference.store(true);

    // One that was gone back to is not.
    shared.models.rollback(&key(), "rolled_back").unwrap();
    let mut inference = restarted(&shared, &kept);
    assert_eq!(snapshot(&inference).on_trial_against(), None);
    bench.commit(100);
    inference.catch_up();
    let answers = kept.lock().unwrap();
    let versions: Vec<i64> = answers.iter().map(|(_, version)| *version).collect();
    assert_eq!(versions, [[1; 100], [2; 100], [1; 100]].concat());
}

#[test]
fn a_state_that_is_damaged_or_of_another_format_is_as_none() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    let shared = Arc::clone(&bench.shared);
    promote(&bench, &["x"]);
    let mut inference = restarted(&shared, &kept);
    bench.commit(100);
    inference.catch_up();
    inference.store(true);
    let path = shared.state_dir.join("answering");
    let read = || StateFile::new(&shared.state_dir).read();
    assert_eq!(restarted(&shared, &kept).predictors.iter().count(), 1);
    assert!(read().is_some());
    let bytes = std::fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(read().is_none());
    state_file::write(&path, &(2_u32, 0_u64, 0_u8)).unwrap();
    assert!(read().is_none());
    state_file::write(&path, &2_u32).unwrap();
    assert!(read().is_none());
    let mut inference = restarted(&shared, &kept);
    bench.commit(10);
    inference.catch_up();
    assert_eq!(kept.lock().unwrap().len(), 110);
}

#[test]
fn what_is_stored_is_a_row_of_fields_in_this_order() {
    type Snapshot = (
        ModelKey,
        u64,
        i64,
        i64,
        ErrorDrift,
        Option<InputDrift>,
        Option<(u64, Trial)>,
    );
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let _kept = keeper(&mut bench);
    promote(&bench, &["x"]);
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    promote(&bench, &["x"]);
    inference.refresh();
    bench.commit(100);
    inference.catch_up();
    inference.store(true);
    let path = shared.state_dir.join("answering");
    let stored = std::fs::read(&path).unwrap();
    let state: (u32, u64, Vec<Snapshot>) = state_file::read(&path).unwrap().unwrap();
    assert_eq!(state.2[0].6.as_ref().unwrap().0, 1, "on trial");
    state_file::write(&path, &state).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), stored);
}
