//! A task's host, driven by hand.

#![allow(clippy::unwrap_used)]

use std::{fs, sync::atomic::AtomicU64};

use super::*;
use crate::{
    learn::{
        scheduler::task::TaskState,
        tests::{Bench, NOW_NS},
    },
    record::writer::RequestContent,
};

fn task() -> Task {
    aged(0)
}

fn aged(age_ns: i64) -> Task {
    Task {
        started_ns: NOW_NS - age_ns,
        ..crate::learn::tests::task(1, TaskState::Training)
    }
}

fn governor(bench: &Bench, task: &Task) -> Governor {
    Governor::new(&bench.shared, task, &Arc::default())
}

#[test]
fn a_task_ends_with_the_agent_when_given_up_and_when_it_is_too_old() {
    let bench = Bench::new(Vec::new());
    let given_up = Arc::default();
    let mut host = Governor::new(&bench.shared, &task(), &given_up);
    assert_eq!(host.pace(), Ok(()));
    given_up.store(true, Relaxed);
    assert_eq!(host.pace(), Err(Stopped::TimeLimit));
    bench.shared.stop.store(true, Relaxed);
    assert_eq!(
        host.pace(),
        Err(Stopped::Shutdown),
        "this one goes on later"
    );

    let bench = Bench::new(Vec::new());
    let limit_ns = bench.shared.settings.limit.as_nanos() as i64;
    let pace = |age_ns| governor(&bench, &aged(age_ns)).pace();
    assert_eq!(pace(limit_ns), Err(Stopped::TimeLimit));
    assert_eq!(pace(limit_ns / 2), Ok(()));
    // The clock went back.
    assert_eq!(pace(-limit_ns), Ok(()));
}

#[test]
fn every_step_is_handed_over_or_counted_as_lost() {
    let steps = |bench: &Bench, count: u64| {
        let mut host = governor(bench, &task());
        for step in 0..count {
            host.pace().unwrap();
            host.step(Step {
                step,
                ..Step::default()
            });
        }
        host
    };
    let mut bench = Bench::new(Vec::new());
    drop(steps(&bench, 1_000));
    let requests = bench.take_requests();
    let rows: usize = requests
        .try_iter()
        .flatten()
        .map(|request| match request.content {
            RequestContent::Records { records, .. } => records.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(rows, 1_000);
    let lost = || AtomicU64::load(&bench.shared.stats.rows_lost, Relaxed);
    assert_eq!(lost(), 0);
    let host = steps(&bench, 100);
    drop(requests);
    drop(host);
    assert_eq!(lost(), 100);
}

#[test]
fn the_hottest_zone_counts_and_one_that_says_nothing_does_not() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(hottest_c(dir.path()), None);
    for (zone, text) in [("a", "41500\n"), ("b", "67250\n"), ("c", "rubbish")] {
        fs::create_dir(dir.path().join(zone)).unwrap();
        fs::write(dir.path().join(zone).join("temp"), text).unwrap();
    }
    assert_eq!(hottest_c(dir.path()), Some(67.25));
    assert_eq!(hottest_c(Path::new("/nowhere")), None);
}
