//! What is trained when, what the gate says, and how tasks end.

use std::fs;

use super::school::{PCA, School};

#[test]
fn a_first_model_is_trained_and_serves_and_everything_about_it_is_a_row() {
    let gradient = "algorithm = \"nlinear\"\nfeatures = [\"a\", \"b\"]\nlookback = 20\n\
                    horizon = 4\nepochs_max = 15\npatience_epochs = 15\nlearning_rate = 0.01\nmargin = 0.0\nmin_start_count = 600\nwindows_min = 20\n\
                    min_update_count = 1000000\n";
    let mut school = School::new(
        "status_queued = \"in line\"\nstatus_training = \"at school\"\n\
         status_available = \"in service\"\nworking_status = \"in line,at school\"",
        &[("health", PCA), ("next", gradient)],
    );
    school.world.start();
    school.publish(700);
    school.wait("two promotions", |s| s.learn.models_promoted == 2);
    for recipe in ["health", "next"] {
        school.until_answered(recipe);
    }
    school.publish(300);
    for recipe in ["health", "next"] {
        assert!(school.every_record_is_answered_once(recipe) >= 300);
        let states = format!(
            "SELECT status FROM dunlin_tasks WHERE stream LIKE '%/{recipe}/%' AND kind = 'scratch' \
             ORDER BY ts"
        );
        school.some(&format!(
            "SELECT 1 FROM dunlin_tasks WHERE stream LIKE '%/{recipe}/%' AND status = 'in service'"
        ));
        assert_eq!(
            school.rows(&states).concat(),
            ["in line", "at school", "in service"]
        );
        let evaluation = school.some(&format!(
            "SELECT version, promoted FROM dunlin_evaluations WHERE stream LIKE '%/{recipe}/%'"
        ));
        assert_eq!(evaluation, [["1", "1"]]);
        let event = format!(
            "SELECT kind, version FROM dunlin_events WHERE stream LIKE '%/{recipe}/%' \
             AND kind = 'promoted'"
        );
        assert_eq!(school.some(&event), [["promoted", "1"]]);
    }
    // Only the one trained by gradient has steps and epochs.
    let epochs = school
        .some("SELECT DISTINCT epoch FROM dunlin_epochs ORDER BY epoch")
        .concat();
    assert_eq!(epochs.len(), 15);
    let logged = school.some("SELECT DISTINCT epoch FROM dunlin_training_log ORDER BY epoch");
    assert_eq!(logged.concat(), epochs);
    let listed = school.models(&["list", "--json"]);
    assert!(listed.contains("in service"), "{listed}");
    school.world.stop();
}

#[test]
fn what_the_gate_refuses_never_serves_and_the_reason_is_a_row() {
    let recipe = "algorithm = \"ridge_nlinear\"\nfeatures = [\"a\", \"b\"]\nlookback = 20\n\
                  horizon = 4\nmargin = 0.9\nmin_start_count = 600\nwindows_min = 20\nmin_update_count = 400\n";
    let mut school = School::new("status_rejected = \"sent home\"", &[("next", recipe)]);
    school.is_noise = true;
    school.world.start();
    school.publish(700);
    school.wait("a refusal", |s| s.learn.models_rejected == 1);
    let evaluation = school.some("SELECT promoted, reason FROM dunlin_evaluations");
    assert_eq!(evaluation[0][0], "0");
    assert!(evaluation[0][1].contains("90"), "{evaluation:?}");
    let task = school.some("SELECT reason, version FROM dunlin_tasks WHERE status = 'sent home'");
    assert_eq!(task, [[evaluation[0][1].clone(), "1".into()]]);
    // Tried again from nothing only when there is something new.
    school.publish(500);
    let status = school.wait("another", |s| s.learn.models_rejected == 2);
    assert_eq!(
        (status.learn.models_promoted, status.learn.predictions),
        (0, 0)
    );
    let kinds = school.some("SELECT DISTINCT kind FROM dunlin_tasks");
    assert_eq!(kinds, [["scratch"]]);
}

#[test]
fn enough_new_records_are_a_fine_tune() {
    let recipe = PCA.replace("1000000", "500");
    let mut school = School::new("", &[("health", &recipe)]);
    school.world.start();
    school.publish(700);
    school.promoted();
    school.publish(800);
    let ended = school.some(
        "SELECT kind, reason, version FROM dunlin_tasks WHERE kind = 'fine_tune' \
         AND status IN ('available', 'rejected')",
    );
    assert_eq!(ended[0][2], "2", "{ended:?}");
    let queued = school
        .some("SELECT reason FROM dunlin_tasks WHERE kind = 'fine_tune' AND status = 'queued'");
    assert_eq!(queued[0][0], "enough records");
    let query =
        school.some("SELECT query FROM dunlin_tasks WHERE kind = 'fine_tune' AND query <> ''");
    assert!(
        query[0][0].contains("--after=") && query[0][0].contains("replay"),
        "{query:?}"
    );
    let shown = school.models(&["show", "health", School::STREAM, "2", "--json"]);
    assert!(shown.contains("\"parent\":1"), "{shown}");
    school.every_record_is_answered_once("health");
}

#[test]
fn drift_is_an_event_and_a_fine_tune_without_waiting_for_records() {
    let mut school = School::new("", &[("health", PCA)]);
    school.world.start();
    school.publish(700);
    school.promoted();
    school.publish(300);
    school.all_upstream();
    assert!(
        school
            .rows("SELECT 1 FROM dunlin_events WHERE kind = 'drift'")
            .is_empty()
    );
    school.shift = 5.0;
    school.publish(1_500);
    let event = school.some("SELECT what, figure, bound FROM dunlin_events WHERE kind = 'drift'");
    let number = |text: &str| text.parse::<f64>().unwrap();
    assert!(number(&event[0][1]) > number(&event[0][2]), "{event:?}");
    let task = school.some("SELECT reason FROM dunlin_tasks WHERE kind = 'fine_tune'");
    assert_eq!(task[0][0], "drift");
    school.some(
        "SELECT 1 FROM dunlin_tasks WHERE kind = 'fine_tune' AND status IN ('available', 'rejected')",
    );
    school.every_record_is_answered_once("health");
}

#[test]
fn a_task_that_takes_too_long_is_dead_and_leaves_nothing() {
    let recipe = "algorithm = \"autoencoder\"\nfeatures = [\"a\", \"b\"]\nlookback = 8\n\
                  epochs_max = 100000\npatience_epochs = 100000\nmin_start_count = 600\nmin_update_count = 300\n\
                  windows_min = 20\n";
    let mut school = School::new("", &[("health", PCA)]);
    school.world.start();
    school.publish(700);
    school.promoted();
    school.until_answered("health");
    school.world.stop();

    let limit = "limit_s = 1\nstatus_dead = \"lost at sea\"";
    school.configure(limit, &[("slow", recipe), ("health", PCA)]);
    school.world.start();
    let dead = school.some("SELECT stream, reason FROM dunlin_tasks WHERE status = 'lost at sea'");
    assert!(dead[0][0].contains("/slow/"), "{dead:?}");
    assert!(dead[0][1].contains("limit_s"), "{dead:?}");
    // A worker is free again: with news it is tried anew. Who serves serves on.
    school.publish(400);
    school.some(
        "SELECT 1 WHERE (SELECT count(*) FROM dunlin_tasks \
         WHERE status = 'lost at sea') >= 2",
    );
    school.every_record_is_answered_once("health");
    let versions = school.models(&["list", "--recipe", "slow", "--json"]);
    assert_eq!(versions.trim(), "[]");
    // A checkpoint that was just being written is swept by the next start.
    school.world.stop();
    school.world.start();
    school.world.stop();
    let state = school.world.device.data_dir().join("state");
    let left = fs::read_dir(state).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(
        !left.iter().any(|name| name.starts_with("checkpoint")),
        "{left:?}"
    );
}

#[test]
fn two_inferences_on_one_stream_accept_each_what_they_are_told() {
    let recipe = "algorithm = \"ridge_nlinear\"\nfeatures = [\"a\", \"b\"]\nlookback = 20\n\
                  horizon = 4\nmargin = 0.9\nmin_start_count = 600\nwindows_min = 20\n\
                  min_update_count = 1000000\n";
    let bold = format!("{recipe}available_status = [\"available\", \"sent home\"]\n");
    let mut school = School::new(
        "status_rejected = \"sent home\"",
        &[("careful", recipe), ("bold", &bold)],
    );
    school.is_noise = true;
    school.world.start();
    school.publish(700);
    school.wait("two refusals", |s| s.learn.models_rejected == 2);
    school.until_answered("bold");
    school.publish(200);
    assert!(school.every_record_is_answered_once("bold") >= 200);
    let answered = school.rows("SELECT DISTINCT stream FROM dunlin_predictions");
    assert_eq!(answered.len(), 1, "{answered:?}");
    school.world.stop();
}
