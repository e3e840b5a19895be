//! Training that is killed, or whose records go, under way.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use dunlin_agent::observe::status::Status;
use dunlin_tests::{central::Central, device::until};
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::school::{PATIENCE, PCA, School, copy};

#[test]
fn killed_in_training_it_ends_with_the_bytes_of_an_uninterrupted_run() {
    let recipe = "algorithm = \"autoencoder\"\nfeatures = [\"a\", \"b\"]\nlookback = 8\nepochs_max = 300\n\
                  patience_epochs = 300\nmin_start_count = 1500\nmin_update_count = 1000000\n\
                  windows_min = 20\n";
    let mut school = School::new("", &[("slow", recipe)]);
    school.world.start();
    school.publish(1_500);
    let checkpoint = |dir: &Path| dir.join("state").join("checkpoint-1");
    let ours = school.world.device.data_dir().to_owned();
    let first = checkpoint(&ours);
    school
        .world
        .until("a checkpoint", |_| first.exists().then_some(()));
    school.world.device.kill();

    // The same task with the same seed, from the beginning, in one go.
    let theirs = school.world.path("uninterrupted");
    copy(&ours, &theirs);
    fs::remove_file(checkpoint(&theirs)).unwrap();
    let other = school.world.path("other");
    fs::create_dir(&other).unwrap();
    let (central, other) = (school.world.central.clone(), Central::new(&other));
    school.world.device.move_to(&theirs);
    school.world.device.set("--upstream", other.url());
    school.world.start();
    let ended = |s: &Status| s.learn.models_promoted + s.learn.models_rejected == 1;
    school.wait("the end", ended);
    school.world.stop();
    let whole = fs::read(&school.artifacts()[0]).unwrap();

    school.world.device.move_to(&ours);
    school.world.device.set("--upstream", central.url());
    let mut rng = SmallRng::seed_from_u64(3);
    let mut kills = 0;
    while kills < 6 && first.exists() {
        let before = fs::read(&first).unwrap();
        // They are none of the task's business. Nothing is waited for that a quick device could train
        // to the end in.
        school.publish(100);
        school.world.device.start().unwrap();
        school.world.until("an epoch", |_| {
            let now = fs::read(&first).unwrap_or_default();
            (now != before).then_some(())
        });
        std::thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        school.world.device.kill();
        kills += 1;
    }
    assert!(kills >= 3, "too fast to be killed");
    school.world.start();
    school.some("SELECT 1 FROM dunlin_tasks WHERE status IN ('available', 'rejected')");
    school.world.stop();
    let [artifact] = &school.artifacts()[..] else {
        panic!("{:?}", school.artifacts());
    };
    assert!(fs::read(artifact).unwrap() == whole, "other bytes");
    // It went on where it was, and did not begin again.
    let epochs = school
        .rows("SELECT CAST(epoch AS TEXT) FROM dunlin_epochs")
        .concat();
    let distinct: BTreeSet<&String> = epochs.iter().collect();
    assert_eq!(epochs.len(), distinct.len(), "an epoch was done twice");
}

#[test]
fn records_trimmed_under_a_task_fail_it_and_nothing_else() {
    let recipe = |epochs: u32, update_count: u32| {
        format!(
            "algorithm = \"autoencoder\"\nfeatures = [\"a\", \"b\"]\nlookback = 8\n\
             epochs_max = {epochs}\npatience_epochs = {epochs}\nmin_start_count = 600\n\
             min_update_count = {update_count}\nwindows_min = 20\n"
        )
    };
    let mut school = School::new("", &[("slow", &recipe(10, 1_000_000))]);
    school.world.device.set("--buffer-bytes-max", 8 << 20);
    school
        .world
        .device
        .set("--buffer-replay-bytes-max", 1 << 20);
    school.world.start();
    school.publish(620);
    school.promoted();
    school.until_answered("slow");
    school.every_record_is_answered_once("slow");
    school.world.stop();

    // From now on a training does not come to an end before its records do.
    let waiting = PCA.replace("600", "2000").replace("1000000", "300");
    school.configure("", &[("slow", &recipe(100_000, 300)), ("health", &waiting)]);
    school.world.start();
    school.publish(300);
    let checkpoint = school.world.device.data_dir().join("state/checkpoint-2");
    until(PATIENCE, "an epoch of the fine-tune", || {
        checkpoint.exists().then_some(())
    })
    .unwrap();
    school.text_bytes = 1_000;
    let failed = until(PATIENCE, "a task without its records", || {
        school.publish(200);
        school.all_upstream();
        let rows = school.rows(
            "SELECT task, kind, reason FROM dunlin_tasks \
             WHERE status = 'failed' AND stream LIKE '%/slow/%'",
        );
        (!rows.is_empty()).then_some(rows)
    })
    .unwrap();
    assert_eq!(failed[0][..2], ["2", "fine_tune"]);
    assert!(
        failed[0][2].contains("since the cohort was resolved"),
        "{failed:?}"
    );
    until(PATIENCE, "the checkpoint to go", || {
        (!checkpoint.exists()).then_some(())
    })
    .unwrap();
    school.text_bytes = 0;
    // Its worker is free for others, and who served serves on.
    school.until_answered("health");
    for line in ["slow", "health"] {
        school.every_record_is_answered_once(line);
    }
    let answered = "SELECT DISTINCT version FROM dunlin_predictions WHERE stream LIKE '%/slow/%'";
    assert_eq!(school.rows(answered), [["1"]]);
    school.world.stop();
}
