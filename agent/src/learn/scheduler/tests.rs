//! The scheduler driven by hand, over a real buffer and registry.

#![allow(clippy::unwrap_used)]

mod released;

use std::path::Path;

use super::*;
use crate::{
    config::settings::RecipeRule,
    learn::tests::{Bench, NOW_NS, rule},
};

const PATIENCE: Duration = Duration::from_mins(1);

fn task(id: u64, recipe: &str, kind: TaskKind) -> Task {
    Task {
        id,
        key: ModelKey::new(recipe, "plant/press"),
        kind,
        started_ns: NOW_NS,
        to_ts: 100_000,
        ..crate::learn::tests::task(id, TaskState::Queued)
    }
}

fn scheduler(bench: &Bench) -> Scheduler {
    Scheduler::open(Arc::clone(&bench.shared))
}

impl Scheduler {
    /// Waits for the task under way.
    fn settle_one(&mut self) {
        let returned = self.workers.next_returned(PATIENCE).unwrap();
        self.settle(returned);
        self.start_tasks();
    }

    fn queue(&mut self, task: Task) {
        self.queue.push(&task);
        self.tasks.put(task);
    }

    fn states(&self) -> Vec<(u64, TaskState)> {
        let open = self.tasks.all().iter();
        open.map(|task| (task.id, task.state.clone())).collect()
    }
}

#[test]
fn enough_records_are_a_task_and_the_task_a_version() {
    let mut bench = Bench::new(vec![rule("pca")]);
    let mut scheduler = scheduler(&bench);
    scheduler.look();
    assert!(
        scheduler.tasks.all().is_empty(),
        "there is not even a stream"
    );
    bench.commit(999);
    scheduler.look();
    assert!(scheduler.tasks.all().is_empty());
    bench.commit(1);
    scheduler.look();
    assert_eq!(scheduler.states(), [(1, TaskState::Training)]);
    // It knows its end: what comes later is none of its business.
    bench.commit(50);
    scheduler.look();
    assert_eq!(scheduler.states(), [(1, TaskState::Training)]);
    scheduler.settle_one();
    assert!(scheduler.tasks.all().is_empty());
    let key = ModelKey::new("pca", "plant/press");
    let versions = bench.shared.models.versions(&key).unwrap();
    assert_eq!(versions[0].lineage.last_ts, 1_000);
    assert_eq!(bench.shared.models.current_number(&key), Some(1));
    let words: Vec<String> = bench
        .rows("dunlin_tasks")
        .iter()
        .map(|row| row[1].clone())
        .collect();
    assert_eq!(words, ["queued", "training", "available"]);
    // 2,000 new ones are wanted, counted from what the version has seen.
    bench.commit(1_949);
    scheduler.look();
    assert!(scheduler.tasks.all().is_empty());
    bench.commit(1);
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].kind, TaskKind::FineTune);
    assert_eq!(scheduler.tasks.all()[0].parent, Some(1));
    scheduler.settle_one();
    assert_eq!(bench.shared.models.versions(&key).unwrap().len(), 2);
}

#[test]
fn what_has_no_model_comes_first() {
    let bench = Bench::new(Vec::new());
    let mut scheduler = scheduler(&bench);
    scheduler.queue(task(1, "gone", TaskKind::FineTune));
    scheduler.queue(task(2, "gone", TaskKind::Scratch));
    scheduler.queue(task(3, "gone", TaskKind::Scratch));
    // None of their recipes is configured: each fails in its turn.
    scheduler.start_tasks();
    let rows = bench.rows("dunlin_tasks");
    let failed = rows.iter().filter(|row| row[1] == "failed");
    let kinds: Vec<&str> = failed.clone().map(|row| row[0].as_str()).collect();
    assert_eq!(kinds, ["scratch", "scratch", "fine_tune"]);
    assert!(
        failed
            .into_iter()
            .all(|row| row[2].contains("not configured any more"))
    );
    assert!(scheduler.tasks.all().is_empty());
    assert_eq!(bench.shared.stats.failed.load(Relaxed), 3);
}

#[test]
fn a_worker_that_never_returns_is_given_up_and_another_takes_its_place() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    // One that a worker took too long ago, and that says nothing any more.
    let limit_ns = bench.shared.settings.limit.as_nanos() as i64;
    let lost = Task {
        state: TaskState::Training,
        started_ns: NOW_NS - limit_ns - 1,
        to_ts: 1_000,
        ..task(7, "pca", TaskKind::Scratch)
    };
    while scheduler.tasks.next_id() < 7 {}
    scheduler.tasks.put(lost.clone());
    let given_up = scheduler.workers.lend(7);
    scheduler.look();
    assert!(given_up.load(Relaxed), "it is told, should it still live");
    assert_eq!(scheduler.workers.lost(), 1);
    let rows = bench.rows("dunlin_tasks");
    assert_eq!(rows[0][1], "dead");
    assert!(rows[0][2].contains("learn.limit_s"), "{rows:?}");
    // It was tried: there must be news before it is tried again, and then a worker is free.
    assert!(scheduler.tasks.all().is_empty());
    bench.commit(2_000);
    scheduler.look();
    assert_eq!(scheduler.states(), [(8, TaskState::Training)]);
    scheduler.settle_one();
    // The lost one comes back after all: its worker counts again, its outcome does not.
    scheduler.settle(Returned {
        task: lost,
        ending: Ending::Promoted(99),
    });
    assert_eq!(scheduler.workers.lost(), 0);
    assert_eq!(bench.shared.stats.promoted.load(Relaxed), 1);
}

#[test]
fn the_way_to_the_first_model_is_told() {
    let elsewhere = RecipeRule {
        streams: "nothing/*".into(),
        ..rule("idle")
    };
    let mut bench = Bench::new(vec![rule("pca"), elsewhere]);
    bench.commit(980);
    let mut scheduler = scheduler(&bench);
    scheduler.look();
    let progress = bench.shared.stats.progress.lock().unwrap().clone();
    assert_eq!(progress.len(), 2);
    let [of, idle] = &progress[..] else { panic!() };
    assert_eq!((&*of.recipe, of.streams, of.streams_waiting), ("pca", 1, 1));
    assert_eq!((of.rows, of.rows_needed), (980, 1_000));
    assert_eq!((&*idle.pattern, idle.streams), ("nothing/*", 0));
    bench.commit(20);
    scheduler.look();
    scheduler.settle_one();
    scheduler.look();
    let progress = bench.shared.stats.progress.lock().unwrap().clone();
    assert_eq!((progress[0].streams, progress[0].streams_waiting), (1, 0));
}

#[test]
fn a_task_dead_before_its_turn_is_queued_anew_for_the_same_reason() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    let waiting = Task {
        started_ns: 0,
        reason: DRIFT.into(),
        ..task(1, "pca", TaskKind::Scratch)
    };
    scheduler.tasks.next_id();
    scheduler.queue(waiting);
    scheduler.look();
    assert_eq!(scheduler.workers.lost(), 0);
    assert_eq!(scheduler.states(), [(2, TaskState::Training)]);
    assert_eq!(scheduler.tasks.all()[0].reason, DRIFT);
    scheduler.settle_one();
}

#[test]
fn time_counts_from_when_a_worker_took_the_task_and_over_restarts() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut first = scheduler(&bench);
    let waited = Task {
        started_ns: NOW_NS - 1_000_000_000,
        ..task(1, "pca", TaskKind::Scratch)
    };
    first.queue(waited);
    first.start_tasks();
    assert_eq!(first.tasks.all()[0].started_ns, NOW_NS);
    drop(first);
    let mut tasks = OpenTasks::open(&bench.shared.state_dir, &bench.shared.settings.status);
    let mut task = tasks.all()[0].clone();
    task.started_ns -= 500;
    tasks.put(task);
    tasks.save();
    drop(tasks);
    let mut second = scheduler(&bench);
    second.start_tasks();
    assert_eq!(second.tasks.all()[0].started_ns, NOW_NS - 500);
    second.settle_one();
}

#[test]
fn open_tasks_and_their_checkpoints_survive_a_restart_and_no_others() {
    let bench = Bench::new(vec![rule("pca")]);
    let file = |name: &str| bench.shared.state_dir.join(name);
    let mut before = scheduler(&bench);
    before.queue(task(5, "pca", TaskKind::FineTune));
    before.queue(task(6, "pca", TaskKind::Scratch));
    let key = before.tasks.all()[0].key.clone();
    before.tasks.set_tried_to(&key, 5);
    before.tasks.save();
    for name in ["checkpoint-5", "checkpoint-4", "checkpoint-x", "other"] {
        std::fs::write(file(name), "kept").unwrap();
    }
    let mut after = scheduler(&bench);
    assert_eq!(after.tasks.all(), before.tasks.all());
    assert_eq!(after.tasks.next_id(), 7);
    assert_eq!(after.tasks.tried_to(&key), Some(5));
    assert_eq!(
        [(); 3].map(|()| after.queue.pop()),
        [Some(6), Some(5), None]
    );
    let exists = |name: &str| Path::exists(&file(name));
    assert!(exists("checkpoint-5") && exists("other"));
    assert!(!exists("checkpoint-4") && !exists("checkpoint-x"));

    // Damaged files cost the tasks in them, which the scan finds again.
    std::fs::write(file("tasks"), "rubbish").unwrap();
    std::fs::write(file("tasks-log"), "rubbish").unwrap();
    assert!(scheduler(&bench).tasks.all().is_empty());
}

#[test]
fn an_interrupted_task_stays_open() {
    let bench = Bench::new(vec![rule("pca")]);
    let mut scheduler = scheduler(&bench);
    scheduler.queue(task(1, "pca", TaskKind::Scratch));
    let returned = |ending| Returned {
        task: task(1, "pca", TaskKind::Scratch),
        ending,
    };
    scheduler.settle(returned(Ending::Interrupted));
    assert_eq!(scheduler.tasks.all().len(), 1);
    scheduler.settle(returned(Ending::TimedOut));
    assert!(scheduler.tasks.all().is_empty());
    assert_eq!(bench.rows("dunlin_tasks")[0][1], "dead");
}

#[test]
fn a_checkpoint_stored_by_a_worker_that_was_given_up_is_swept() {
    let bench = Bench::new(vec![rule("pca")]);
    let file = |name: &str| bench.shared.state_dir.join(name);
    let mut scheduler = scheduler(&bench);
    scheduler.queue(task(5, "pca", TaskKind::Scratch));
    // Another one was dead already when it came to store its own.
    for name in [
        "checkpoint-4",
        "checkpoint-4.new",
        "checkpoint-5",
        "checkpoint-5.new",
    ] {
        std::fs::write(file(name), "kept").unwrap();
    }
    scheduler.shared.stop.store(true, Relaxed);
    scheduler.look();
    let exists = |name: &str| Path::exists(&file(name));
    assert!(!exists("checkpoint-4") && !exists("checkpoint-4.new"));
    assert!(exists("checkpoint-5") && exists("checkpoint-5.new"));
    scheduler.settle_one();
}

#[test]
fn a_stream_that_stops_opens_no_task_and_keeps_its_version() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    scheduler.look();
    scheduler.settle_one();
    bench.commit(150);
    let key = ModelKey::new("pca", "plant/press");
    for _ in 0..5 {
        scheduler.look();
        assert!(scheduler.tasks.all().is_empty());
    }
    // Drift noticed before it stopped is looked into once, with what there is.
    scheduler.shared.drifted.note(&key);
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].reason, DRIFT);
    scheduler.settle_one();
    for _ in 0..5 {
        scheduler.look();
        assert!(scheduler.tasks.all().is_empty());
    }
    assert!(bench.shared.models.current_number(&key).is_some());
}
