//! Records, labels, artifacts and disks that no recipe can use: each is told, and costs nothing else.

use std::fs;

use dunlin_tests::device::until;
use rand::RngExt as _;

use super::school::{PATIENCE, PCA, School};

#[test]
fn what_cannot_be_learnt_is_told_with_its_reason_and_the_rest_is_learnt() {
    let shared = "min_start_count = 600\nwindows_min = 20\nmin_update_count = 1000000\n";
    let recipe = |lines: &str| format!("{lines}{shared}");
    let classifier = "algorithm = \"mlp_classifier\"\nlookback = 4\nfeatures = [\"a\", \"b\"]\n";
    let recipes = [
        ("health", PCA.to_owned()),
        // A label that no record has; one that only the first has; one that is always the same.
        (
            "unheard",
            recipe(&format!("{classifier}label = \"verdict\"\n")),
        ),
        (
            "unlabelled",
            recipe(&format!("{classifier}label = \"once\"\n")),
        ),
        (
            "uniform",
            recipe(&format!("{classifier}label = \"mode\"\n")),
        ),
        // A window that is longer than all there is, and a channel that never moves.
        (
            "farsighted",
            recipe("algorithm = \"pca\"\nlookback = 5000\nfeatures = [\"a\", \"b\"]\n"),
        ),
        (
            "still",
            recipe("algorithm = \"pca\"\nlookback = 4\nfeatures = [\"k\"]\n"),
        ),
    ];
    let hopeless: Vec<&str> = recipes[1..].iter().map(|(name, _)| *name).collect();
    let recipes = recipes.each_ref().map(|(name, lines)| (*name, &**lines));
    let mut school = School::new("", &recipes);
    school.world.start();
    let publish = |school: &mut School, count| {
        school.publish_as(count, |n, rng| {
            let angle = n as f64 * std::f64::consts::TAU / 20.0;
            let noise: f64 = rng.random_range(-0.1..0.1);
            let once = if n == 0 { ",\"once\":\"x\"" } else { "" };
            // A sensor that says nothing now and then.
            let b = match n % 50 {
                49 => "null".to_owned(),
                _ => (angle.cos() + noise).to_string(),
            };
            let a = angle.sin();
            format!("\"a\":{a},\"b\":{b},\"k\":7.5,\"mode\":\"on\"{once}")
        });
    };
    publish(&mut school, 1_000);
    school.promoted();
    for name in hopeless {
        let ended = school.some(&format!(
            "SELECT status, reason FROM dunlin_tasks WHERE stream LIKE '%/{name}/%' \
             AND status IN ('failed', 'rejected', 'available')"
        ));
        assert_ne!(ended[0][0], "available", "{name}: {ended:?}");
        assert!(!ended[0][1].is_empty(), "{name}: {ended:?}");
    }

    // A window with a hole has no answer; every other one has exactly one.
    publish(&mut school, 500);
    school.all_upstream();
    let began = school
        .some("SELECT min(last_ts) FROM dunlin_predictions")
        .concat();
    let whole = format!(
        "WITH windows AS (SELECT ts, count(b) OVER (ORDER BY ts ROWS 3 PRECEDING) = 4 AS is_whole \
         FROM records), answers AS (SELECT last_ts, count(*) AS n FROM dunlin_predictions \
         GROUP BY last_ts) \
         SELECT count(*) FROM windows LEFT JOIN answers ON last_ts = ts \
         WHERE ts >= {} AND coalesce(n, 0) <> is_whole",
        began[0]
    );
    until(PATIENCE, "an answer to every whole window", || {
        (school.rows(&whole) == [["0"]]).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?} wrong", school.rows(&whole)));
    let status = school.wait("an answer", |_| true);
    assert_eq!(status.learn.models_promoted, 1, "{:?}", status.learn);
    school.world.stop();
}

#[test]
fn an_artifact_of_another_shape_or_kind_is_told_and_who_served_serves_on() {
    let longer = PCA.replace("lookback = 4", "lookback = 6");
    let forecast = "algorithm = \"ridge_nlinear\"\nfeatures = [\"a\", \"b\"]\nlookback = 20\n\
                    horizon = 4\nmargin = 0.0\nmin_start_count = 600\nwindows_min = 20\n\
                    min_update_count = 1000000\n";
    let recipes = [("health", PCA), ("longer", &longer), ("next", forecast)];
    let mut school = School::new("", &recipes);
    school.world.start();
    school.publish(700);
    school.wait("three promotions", |s| s.learn.models_promoted == 3);
    school.until_answered("health");
    let (stream, file) = (School::STREAM, school.world.path("model"));
    let file = file.to_str().unwrap();
    for (from, version) in [("longer", "2"), ("next", "3")] {
        school.models(&["export", from, stream, "--output", file]);
        school.models(&["import", "health", stream, file]);
        school.models(&["promote", "health", stream, version]);
        school.publish(50);
        school.some(&format!(
            "SELECT what FROM dunlin_events WHERE kind = 'unusable' AND version = {version}"
        ));
    }
    school.publish(200);
    school.every_record_is_answered_once("health");
    let answers = "SELECT DISTINCT version FROM dunlin_predictions WHERE stream LIKE '%/health/%'";
    assert_eq!(school.rows(answers), [["1"]]);
    school.world.stop();
}

#[test]
fn without_a_place_for_checkpoints_the_task_fails_and_the_next_one_need_not() {
    let recipe = "algorithm = \"autoencoder\"\nfeatures = [\"a\", \"b\"]\nlookback = 8\n\
                  epochs_max = 20\nmin_start_count = 600\nmin_update_count = 300\n\
                  windows_min = 20\n";
    let mut school = School::new("", &[("slow", recipe), ("health", PCA)]);
    // A directory that is not empty is replaced by no file.
    let state = school.world.device.data_dir().join("state");
    // Whichever of the two is counted first.
    for task in [1, 2] {
        fs::create_dir_all(state.join(format!("checkpoint-{task}/x"))).unwrap();
    }
    school.world.start();
    school.publish(620);
    school.promoted();
    let failed = school
        .some("SELECT reason FROM dunlin_tasks WHERE status = 'failed' AND stream LIKE '%/slow/%'");
    assert!(failed[0][0].contains("checkpoint"), "{failed:?}");
    school.until_answered("health");
    school.publish(400);
    school.wait("another try", |s| s.learn.models_promoted >= 2);
    school.until_answered("slow");
    for line in ["slow", "health"] {
        school.every_record_is_answered_once(line);
    }
    school.world.stop();
}
