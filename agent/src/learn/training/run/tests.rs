//! Tasks over a real buffer and registry.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering::Relaxed;

use dunlin_models::{
    artifact::{Artifact, ArtifactError},
    data::WindowShape,
    judging::gate::{Decision, Reason},
    recipe::{Host, Output, Scratch},
    recipes::Algorithm,
    registry::ModelKey,
};

use super::*;
use crate::learn::{
    scheduler::{
        ending::{self, Ending},
        task::TaskState,
    },
    tests::{Bench, NOW_NS, rule, settings_of},
};

/// Flags what is above 10.
struct Above10;

impl Model for Above10 {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        output.flag = input.iter().any(|value| *value > 10.0);
    }

    fn save(&self) -> Artifact {
        Artifact::default()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn task(id: u64, parent: Option<u64>) -> Job {
    Job {
        id,
        seed: id,
        started_ns: NOW_NS,
        kind: parent.map_or(TaskKind::Scratch, |_| TaskKind::FineTune),
        parent,
        to_ts: 1_000,
        ..crate::learn::tests::task(id, TaskState::Training)
    }
}

fn key() -> ModelKey {
    ModelKey::new("pca", "plant/press")
}

fn go(bench: &Bench, rule: &RecipeRule, task: &mut Job) -> Ending {
    let outcome = run(&bench.shared, rule, task, &Arc::default());
    ending::decide(&bench.shared, task, outcome)
}

/// A device with 1,000 records and what `rule("pca")` makes of them.
fn served() -> Bench {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let outcome = go(&bench, &rule("pca"), &mut task(1, None));
    assert_eq!(outcome, Ending::Promoted(1));
    bench
}

#[test]
fn a_task_done_just_before_the_agent_ended_is_not_done_again() {
    let bench = served();
    bench.rows("dunlin_events");
    assert_eq!(
        go(&bench, &rule("pca"), &mut task(1, None)),
        Ending::Promoted(1)
    );
    assert_eq!(bench.shared.models.versions(&key()).unwrap().len(), 1);
    assert!(bench.rows("dunlin_events").is_empty(), "told already");
}

#[test]
fn a_version_added_just_before_the_agent_ended_is_promoted() {
    let mut bench = served();
    bench.commit(1_000);
    let first = bench.shared.models.version(&key(), 1).unwrap();
    let artifact = bench.shared.models.load(&first).unwrap();
    for (seed, reason) in [(2, Reason::Better), (3, Reason::TooFewWindows)] {
        let decision = Decision {
            promoted: reason == Reason::Better,
            reason,
            ..first.decision.clone().unwrap()
        };
        let new = NewVersion {
            seed,
            decision: Some(decision),
            status: "rejected".into(),
            ..NewVersion::default()
        };
        bench.shared.models.add(&key(), &artifact, new).unwrap();
    }
    let better = go(&bench, &rule("pca"), &mut task(2, Some(1)));
    assert_eq!(better, Ending::Promoted(2));
    let refused = go(&bench, &rule("pca"), &mut task(3, Some(1)));
    assert!(
        matches!(refused, Ending::Rejected { version: 3, .. }),
        "{refused:?}"
    );
    assert_eq!(bench.shared.models.current_number(&key()), Some(2));
}

#[test]
fn a_recipe_that_changed_is_trained_from_nothing() {
    let mut bench = served();
    bench.commit(1_000);
    let mut longer = rule("pca");
    settings_of(&mut longer).lookback = 5;
    let later = Job {
        to_ts: 2_000,
        ..task(2, Some(1))
    };
    assert_eq!(go(&bench, &longer, &mut later.clone()), Ending::Promoted(2));
    let version = bench.shared.models.version(&key(), 2).unwrap();
    assert_eq!((version.parent, version.lineage.rows), (None, 2_000));
    assert!(version.evaluations.incumbent.is_none());
}

#[test]
fn a_task_without_its_parent_is_trained_from_nothing() {
    let bench = served();
    let outcome = go(&bench, &rule("pca"), &mut task(2, Some(77)));
    let version = bench.shared.models.version(&key(), 2).unwrap();
    assert_eq!(version.parent, None);
    // What serves is its judge all the same.
    assert!(version.evaluations.incumbent.is_some(), "{outcome:?}");
}

#[test]
fn what_was_given_up_makes_no_version_and_what_was_interrupted_goes_on() {
    let bench = served();
    let given_up = Arc::new(AtomicBool::new(true));
    let late = run(&bench.shared, &rule("pca"), &mut task(2, None), &given_up);
    assert!(matches!(late, Outcome::TimedOut), "{late:?}");
    let old = Job {
        started_ns: 0,
        ..task(3, None)
    };
    assert_eq!(go(&bench, &rule("pca"), &mut old.clone()), Ending::TimedOut);
    bench.shared.stop.store(true, Relaxed);
    let stopped = go(&bench, &rule("pca"), &mut task(4, None));
    assert_eq!(stopped, Ending::Interrupted);
    assert_eq!(bench.shared.models.versions(&key()).unwrap().len(), 1);
}

/// Panics, or comes to an end only when it has been given up.
struct Bad {
    given_up: Option<Arc<AtomicBool>>,
}

impl Recipe for Bad {
    fn problem(&self) -> Problem {
        Problem::Anomaly
    }

    fn shape(&self) -> WindowShape {
        rule("pca").recipe.shape()
    }

    fn train(
        &self,
        data: &dyn Source,
        _: Option<&dyn Model>,
        _: u64,
        host: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError> {
        let Some(given_up) = &self.given_up else {
            panic!("{} rows are too many", data.lineage().rows);
        };
        host.pace()?;
        // It is given up now, and does not ask again.
        given_up.store(true, Relaxed);
        Ok(Box::new(Above10))
    }

    fn load(&self, _: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        Ok(Box::new(Above10))
    }
}

#[test]
fn a_recipe_that_panics_or_comes_back_too_late_leaves_the_version_that_serves_alone() {
    let bench = served();
    let go = |bad: &Bad| {
        let given_up = bad.given_up.clone().unwrap_or_default();
        let (rule, mut task) = (rule("pca"), task(2, Some(1)));
        let work = Work {
            shared: &bench.shared,
            rule: &rule,
            recipe: bad,
            given_up: &given_up,
        };
        outcome_of(|| work.attempt(&mut task))
    };
    let panicked = go(&Bad { given_up: None });
    let Outcome::Failed(why) = panicked else {
        panic!("{panicked:?}")
    };
    assert!(
        why.contains("panicked") && why.contains("too many"),
        "{why}"
    );
    let late = go(&Bad {
        given_up: Some(Arc::default()),
    });
    assert!(matches!(late, Outcome::TimedOut), "{late:?}");
    assert_eq!(bench.shared.models.versions(&key()).unwrap().len(), 1);
    assert_eq!(bench.shared.models.current_number(&key()), Some(1));
}

#[test]
fn what_cannot_be_trained_fails_with_its_reason() {
    let bench = served();
    let why = |change: &dyn Fn(&mut RecipeRule)| {
        let mut rule = rule("pca");
        change(&mut rule);
        match go(&bench, &rule, &mut task(2, None)) {
            Ending::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    };
    let short = why(&|rule| settings_of(rule).lookback = 5_000);
    assert!(
        short.contains("5000") || short.contains("window"),
        "{short}"
    );
    let field = why(&|rule| rule.features = vec!["steam".into()]);
    assert!(field.contains("steam"), "{field}");
    let condition = why(&|rule| rule.condition = Some("x >".into()));
    assert!(!condition.is_empty());
    let none = why(&|rule| rule.condition = Some("x > 1000".into()));
    assert!(!none.is_empty());
    // No disk for a checkpoint.
    std::fs::create_dir(bench.shared.state_dir.join("checkpoint-2")).unwrap();
    let disk = why(&|rule| {
        settings_of(rule).algorithm = Algorithm::Autoencoder;
        settings_of(rule).epochs_max = 1;
    });
    assert!(disk.contains("checkpoint"), "{disk}");
    assert_eq!(bench.shared.models.current_number(&key()), Some(1));
}

#[test]
fn what_arrives_later_changes_no_data_set_and_what_is_replayed_tells_them_apart() {
    let mut bench = served();
    bench.commit(9_000);
    let lineage = |bench: &Bench, seed| {
        let task = Job {
            seed,
            to_ts: 10_000,
            ..task(2, Some(1))
        };
        let mut rule = rule("pca");
        rule.rows_max = 4_000;
        rule.replay_share = 0.2;
        let data = data_set(&bench.shared, &rule, &task, Some(7_000)).unwrap();
        data.lineage().clone()
    };
    let before = lineage(&bench, 1);
    assert_eq!((before.rows, before.last_ts), (3_000, 10_000));
    bench.commit(5_000);
    assert_eq!(lineage(&bench, 1), before);
    assert_ne!(
        lineage(&bench, 2).rows_hash,
        before.rows_hash,
        "another sample"
    );
}
