//! Who answers: versions promoted, rolled back, damaged; answers over restarts.

use std::{
    fs,
    time::{Duration, Instant},
};

use dunlin_tests::device::until;
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::school::{PATIENCE, PCA, School};

#[test]
fn killed_while_answering_it_goes_on_without_a_gap_and_without_a_double() {
    let mut school = School::new("", &[("health", PCA), ("second", PCA)]);
    let mut rng = SmallRng::seed_from_u64(11);
    school.world.start();
    school.publish(700);
    school.wait("two promotions", |s| s.learn.models_promoted == 2);
    for recipe in ["health", "second"] {
        school.until_answered(recipe);
    }
    for _ in 0..8 {
        school.publish(400);
        let predictions = rng.random_range(0..600);
        let moment = Instant::now() + Duration::from_millis(rng.random_range(50..600));
        let _killed_anyway = until(Duration::from_secs(2), "some answers", || {
            let status = school.world.device.status()?;
            let is_time = status.learn.predictions >= predictions || Instant::now() > moment;
            is_time.then_some(())
        });
        school.world.device.kill();
        school.world.start();
    }
    school.publish(100);
    for recipe in ["health", "second"] {
        let answers = school.every_record_is_answered_once(recipe);
        assert!(answers >= 8 * 400, "{answers}");
    }
    school.world.stop();
}

#[test]
fn a_damaged_version_is_told_and_replaced_and_ingestion_goes_on() {
    let mut school = School::new("", &[("health", PCA)]);
    school.world.start();
    school.publish(700);
    school.promoted();
    school.until_answered("health");
    school.every_record_is_answered_once("health");
    school.world.stop();
    let [artifact] = &school.artifacts()[..] else {
        panic!("{:?}", school.artifacts());
    };
    let mut bytes = fs::read(artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(artifact, bytes).unwrap();

    school.world.start();
    school.publish(200);
    school.all_upstream();
    let event = school.some("SELECT version, what FROM dunlin_events WHERE kind = 'unusable'");
    assert_eq!(event[0][0], "1");
    // Nothing is left to serve, so another one is trained at once.
    school.promoted();
    let answers = "SELECT 1 FROM dunlin_predictions WHERE version = 2";
    school.publish_until("an answer", answers, |school| school.publish(10));
    school.all_upstream();
}

#[test]
fn what_is_promoted_and_rolled_back_by_hand_answers_from_then_on() {
    let recipe = PCA.replace("1000000", "500");
    let mut school = School::new("", &[("health", &recipe)]);
    school.world.start();
    school.publish(700);
    school.promoted();
    school.publish(600);
    school.some(
        "SELECT 1 FROM dunlin_tasks WHERE kind = 'fine_tune' AND status IN ('available', 'rejected')",
    );
    // From now on nobody but us promotes.
    school.world.stop();
    school.configure("", &[("health", PCA)]);
    school.world.start();
    let stream = School::STREAM;
    for (words, version) in [
        (vec!["promote", "health", stream, "2"], "2"),
        (vec!["rollback", "health", stream], "1"),
        (vec!["promote", "health", stream, "2"], "2"),
    ] {
        school.models(&words);
        let newest = || school.rows("SELECT coalesce(max(last_ts), 0) FROM dunlin_predictions");
        let before = newest()[0][0].clone();
        let answers = format!(
            "SELECT 1 FROM dunlin_predictions WHERE version = {version} AND last_ts > {before}"
        );
        let mut published = 0;
        school.publish_until("answers of the other version", &answers, |school| {
            published += 1;
            school.publish(20);
        });
        assert!(published < 1_000);
    }
    school.every_record_is_answered_once("health");
}

#[test]
fn what_was_learnt_from_a_phase_that_is_over_is_taken_back() {
    // The gate wants 400 windows: a fifth of 2,000 new records. Whatever drift makes of fewer is refused.
    let recipe = "algorithm = \"ridge\"\nfeatures = [\"a\", \"b\"]\nlabel = \"y\"\nlookback = 1\n\
                  forgetting = 0.0\nreplay_share = 0.0\nmin_start_count = 2600\n\
                  min_update_count = 800\nwindows_min = 400\n";
    let mut school = School::new(
        "status_rolled_back = \"sent back\"",
        &[("estimate", recipe)],
    );
    let publish = |school: &mut School, count, sign: f64| {
        school.publish_as(count, |_, rng| {
            let (a, b): (f64, f64) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
            let y = sign * a + 0.1 * b;
            format!("\"a\":{a},\"b\":{b},\"y\":{y}")
        });
    };
    school.world.start();
    publish(&mut school, 2_600, 1.0);
    school.promoted();
    let answered = "SELECT 1 FROM dunlin_predictions";
    school.publish_until("an answer", answered, |school| publish(school, 10, 1.0));
    school.every_record_is_answered_once("estimate");

    // The machine turns the other way, for so long that the gate lets that serve.
    until(PATIENCE, "a version that has learnt the new way", || {
        publish(&mut school, 100, -1.0);
        let status = school.wait("no task", |s| s.learn.tasks_open == 0);
        (status.learn.models_promoted == 2).then_some(())
    })
    .unwrap();
    let learnt =
        school.some("SELECT version FROM dunlin_events WHERE kind = 'promoted' AND version > 1");
    let learnt = &learnt[0][0];
    let answered = format!("SELECT 1 FROM dunlin_predictions WHERE version = {learnt}");
    school.publish_until("its answers", &answered, |school| {
        publish(school, 10, -1.0);
    });

    // And back again: it is watched beside the version before, and worse.
    publish(&mut school, 600, 1.0);
    school.wait("the rollback", |s| s.learn.rollbacks == 1);
    let event = school.some("SELECT version, what FROM dunlin_events WHERE kind = 'rolled_back'");
    assert_eq!(event, [[learnt.as_str(), "version 1 serves again"]]);
    let shown = school.models(&["show", "estimate", School::STREAM, learnt, "--json"]);
    assert!(shown.contains("sent back"), "{shown}");
    publish(&mut school, 100, 1.0);
    school.every_record_is_answered_once("estimate");
    // All that was new may make another version, which may serve; the one before did in any case.
    let answered = school.rows(
        "SELECT DISTINCT version FROM dunlin_predictions \
         WHERE ts > (SELECT ts FROM dunlin_events WHERE kind = 'rolled_back')",
    );
    assert!(answered.contains(&vec!["1".to_owned()]), "{answered:?}");
    let last = school.rows("SELECT version FROM dunlin_predictions ORDER BY last_ts DESC LIMIT 1");
    assert_ne!(&last[0][0], learnt);
    school.world.stop();
}
