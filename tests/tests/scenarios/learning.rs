//! Learning in the running agent: what is trained, what the gate says, who answers, and what is left
//! of it when the agent is killed or its models are damaged.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use dunlin_agent::status::Status;
use dunlin_tests::{central::Central, device::until};
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use rusqlite::{Connection, OpenFlags};

use crate::world::{PROGRAM, World};

/// Longest wait for a training.
const PATIENCE: Duration = Duration::from_mins(1);

const PCA: &str = "algorithm = \"pca\"\nlookback = 4\nmin_start_count = 600\nwindows_min = 20\n\
                   min_update_count = 1000000\n";

/// A world whose agent learns.
struct School {
    world: World,
    rng: SmallRng,
    next: u64,
    /// Added to one channel.
    shift: f64,
    /// What is published has no pattern.
    is_noise: bool,
}

impl School {
    /// With `learn` in the table `[learn]`, and recipes by name and lines.
    fn new(learn: &str, recipes: &[(&str, &str)]) -> Self {
        let mut world = World::with_sessions();
        let recipes = recipes.iter().map(|(name, lines)| {
            format!(
                "[[recipe]]\nname = \"{name}\"\nstreams = \"*records/*\"\n\
                 features = [\"a\", \"b\"]\n{lines}\n"
            )
        });
        let recipes: String = recipes.collect();
        let text = format!(
            "[learn]\nscan_ms = 100\ncpu_percent_max = 100\ntemperature_c_max = 150\n{learn}\n\
             {recipes}"
        );
        let config = world.write("dunlin.toml", &text);
        world.device.set("--config", config.display());
        world.device.set("--buffer-commit-gap-ms-min", 10);
        Self {
            world,
            rng: SmallRng::seed_from_u64(7),
            next: 0,
            shift: 0.0,
            is_noise: false,
        }
    }

    /// Publishes the next `count` records of a machine that turns.
    fn publish(&mut self, count: u64) {
        let topic = format!("{}/line0", self.world.numbered.prefix);
        let mut payloads = Vec::new();
        for n in self.next..self.next + count {
            let angle = n as f64 * std::f64::consts::TAU / 20.0;
            let mut noise = || self.rng.random_range(-1.0..1.0);
            let (a, b) = if self.is_noise {
                (noise(), noise())
            } else {
                let (x, y): (f64, f64) = (noise(), noise());
                (angle.sin() + 0.1 * x + self.shift, angle.cos() + 0.1 * y)
            };
            payloads.push(format!("{{\"n\":{n},\"a\":{a},\"b\":{b}}}"));
        }
        self.next += count;
        self.world.publish_all(&topic, payloads.into_iter());
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.world
            .device
            .wait_status(PATIENCE, what, wanted)
            .unwrap()
    }

    /// First model.
    fn promoted(&mut self) {
        self.wait("a promotion", |s| s.learn.models_promoted >= 1);
    }

    /// The rows of a query upstream, each cell as text; none while there is no such table.
    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.world.central, sql)
    }

    /// Waits for rows of a query upstream.
    fn some(&self, sql: &str) -> Vec<Vec<String>> {
        let found = until(PATIENCE, sql, || {
            let rows = self.rows(sql);
            (!rows.is_empty()).then_some(rows)
        });
        found.unwrap_or_else(|error| {
            let tasks =
                self.rows("SELECT task, kind, status, reason FROM dunlin_tasks ORDER BY ts");
            panic!(
                "{error}\ntasks: {tasks:?}\n{}",
                self.world.device.log_tail()
            )
        })
    }

    /// Waits until every record published has come upstream, and everything else with it.
    fn all_upstream(&mut self) {
        let count = self.next.to_string();
        self.some(&format!(
            "SELECT 1 WHERE (SELECT count(DISTINCT n) FROM records) = {count}"
        ));
    }

    /// After its first answer a line answers every record once.
    fn every_record_is_answered_once(&mut self, recipe: &str) -> u64 {
        self.all_upstream();
        let answers = format!(
            "(SELECT last_ts FROM dunlin_predictions p \
             WHERE replace(p.stream, 'dunlin_predictions/{recipe}/', '') = r.stream)"
        );
        let missing = format!(
            "SELECT r.n FROM records r WHERE r.ts > (SELECT min(last_ts) FROM {answers}) \
             AND r.ts NOT IN {answers}"
        );
        let is_complete = until(Duration::from_secs(20), "all answers", || {
            self.rows(&missing).is_empty().then_some(())
        });
        if is_complete.is_err() {
            let missing: Vec<_> = self.rows(&missing).concat();
            panic!("{} records without an answer: {missing:?}", missing.len());
        }
        let twice = self.rows(
            "SELECT stream, source_ts, count(*) FROM dunlin_predictions \
             GROUP BY stream, source_ts HAVING count(*) > 1",
        );
        assert!(twice.is_empty(), "answered twice: {twice:?}");
        let count = self.rows(&format!(
            "SELECT count(*) FROM dunlin_predictions WHERE stream LIKE '%/{recipe}/%'"
        ));
        // Without an answer there is not even a table.
        count.first().map_or(0, |row| row[0].parse().unwrap())
    }

    /// Files called so below the models.
    fn artifacts(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find(
            &self.world.device.data_dir().join("models"),
            "model.safetensors",
            &mut found,
        );
        found.sort();
        found
    }

    /// `dunlin models` with these words behind; what it prints.
    fn models(&self, words: &[&str]) -> String {
        let output = Command::new(PROGRAM)
            .args(["models"])
            .args(words)
            .arg("--data-dir")
            .arg(self.world.device.data_dir())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {text} {error}");
        text
    }

    /// The one stream, as the agent itself calls it.
    const STREAM: &'static str = "records/line0";
}

fn rows(central: &Central, sql: &str) -> Vec<Vec<String>> {
    let url = central.url();
    let path = url.strip_prefix("sqlite:").unwrap();
    let Ok(connection) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) else {
        return Vec::new();
    };
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let mut statement = match connection.prepare(sql) {
        Ok(statement) => statement,
        // Before its first row.
        Err(error) if error.to_string().contains("no such table") => return Vec::new(),
        Err(error) => panic!("{sql}: {error}"),
    };
    let columns = statement.column_count();
    let found = statement.query_map([], |row| {
        (0..columns)
            .map(|column| {
                Ok(match row.get::<_, rusqlite::types::Value>(column)? {
                    rusqlite::types::Value::Null => String::new(),
                    rusqlite::types::Value::Integer(n) => n.to_string(),
                    rusqlite::types::Value::Real(x) => x.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Blob(_) => "blob".into(),
                })
            })
            .collect()
    });
    found.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn find(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name, found);
        } else if path.file_name().is_some_and(|other| other == name) {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else if path.is_file() {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn a_first_model_is_trained_and_serves_and_everything_about_it_is_a_row() {
    let gradient = "algorithm = \"nlinear\"\nlookback = 20\nhorizon = 4\nepochs_max = 15\npatience_epochs = 15\n\
                    learning_rate = 0.01\nmargin = 0.0\nmin_start_count = 600\nwindows_min = 20\n\
                    min_update_count = 1000000\n";
    let mut school = School::new(
        "status_queued = \"in line\"\nstatus_training = \"at school\"\n\
         status_available = \"in service\"\nworking_status = \"in line,at school\"",
        &[("health", PCA), ("next", gradient)],
    );
    school.world.start();
    school.publish(700);
    school.wait("two promotions", |s| s.learn.models_promoted == 2);
    school.publish(300);
    for recipe in ["health", "next"] {
        school.some(&format!(
            "SELECT 1 FROM dunlin_predictions WHERE stream LIKE '%/{recipe}/%'"
        ));
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
    let recipe = "algorithm = \"ridge_nlinear\"\nlookback = 20\nhorizon = 4\nmargin = 0.9\n\
                  min_start_count = 600\nwindows_min = 20\nmin_update_count = 400\n";
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
    let recipe = "algorithm = \"autoencoder\"\nlookback = 8\nepochs_max = 100000\n\
                  patience_epochs = 100000\nmin_start_count = 600\nmin_update_count = 300\n\
                  windows_min = 20\n";
    let mut school = School::new(
        "limit_s = 1\nstatus_dead = \"lost at sea\"",
        &[("slow", recipe), ("health", PCA)],
    );
    school.world.start();
    school.publish(700);
    let dead = school.some(
        "SELECT reason FROM dunlin_tasks WHERE status = 'lost at sea' AND stream LIKE '%/slow/%'",
    );
    assert!(dead[0][0].contains("limit_s"), "{dead:?}");
    // The worker is free again: the next one is trained, and the dead one tried anew with news.
    school.publish(400);
    school.promoted();
    school.some(
        "SELECT 1 WHERE (SELECT count(*) FROM dunlin_tasks \
         WHERE status = 'lost at sea' AND stream LIKE '%/slow/%') >= 2",
    );
    school.every_record_is_answered_once("health");
    let versions = school.models(&["list", "--recipe", "slow", "--json"]);
    assert_eq!(versions.trim(), "[]");
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
fn killed_while_answering_it_goes_on_without_a_gap_and_without_a_double() {
    let mut school = School::new("", &[("health", PCA), ("second", PCA)]);
    let mut rng = SmallRng::seed_from_u64(11);
    school.world.start();
    school.publish(700);
    school.wait("two promotions", |s| s.learn.models_promoted == 2);
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
    school.publish(50);
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
    school.publish(100);
    school.some("SELECT 1 FROM dunlin_predictions WHERE version = 2");
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
        until(PATIENCE, "answers of the other version", || {
            published += 1;
            school.publish(20);
            (!school.rows(&answers).is_empty()).then_some(())
        })
        .unwrap();
        assert!(published < 1_000);
    }
    school.every_record_is_answered_once("health");
}

#[test]
fn killed_in_training_it_ends_with_the_bytes_of_an_uninterrupted_run() {
    let recipe = "algorithm = \"autoencoder\"\nlookback = 8\nepochs_max = 60\n\
                  patience_epochs = 60\nmin_start_count = 1500\nmin_update_count = 1000000\n\
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
    while kills < 6 {
        let before = fs::read(&first).unwrap_or_default();
        school.world.start();
        // They are none of the task's business.
        school.publish(100);
        let moved = until(PATIENCE, "an epoch", || {
            let now = fs::read(&first).unwrap_or_default();
            (now != before).then_some(())
        });
        moved.unwrap();
        if !first.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        school.world.device.kill();
        kills += 1;
    }
    assert!(kills >= 3, "too fast to be killed");
    if school.world.device.has_ended() {
        school.world.start();
    }
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
