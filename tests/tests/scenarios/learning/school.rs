//! A world whose agent learns.

use std::{
    f64::consts::TAU,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dunlin_agent::observe::status::Status;
use dunlin_tests::{central::Central, device::until};
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use rusqlite::{Connection, OpenFlags};

use crate::world::{PROGRAM, World};

/// Longest wait for a training, which is of the lowest priority.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// Finds anomalies in `a` and `b`; never fine-tuned but after drift.
pub(super) const PCA: &str = "algorithm = \"pca\"\nfeatures = [\"a\", \"b\"]\nlookback = 4\n\
                              min_start_count = 600\nwindows_min = 20\n\
                              min_update_count = 1000000\n";

/// A world whose agent learns.
pub(super) struct School {
    pub(super) world: World,
    rng: SmallRng,
    /// Number of the next record.
    pub(super) next: u64,
    /// Added to one channel.
    pub(super) shift: f64,
    /// What is published has no pattern.
    pub(super) is_noise: bool,
    /// Letters by chance in each record.
    pub(super) text_bytes: usize,
}

impl School {
    /// With `learn` in the table `[learn]`, and recipes by name and lines.
    pub(super) fn new(learn: &str, recipes: &[(&str, &str)]) -> Self {
        let world = World::with_sessions();
        let mut school = Self {
            world,
            rng: SmallRng::seed_from_u64(7),
            next: 0,
            shift: 0.0,
            is_noise: false,
            text_bytes: 0,
        };
        school.configure(learn, recipes);
        school.world.device.set("--buffer-commit-gap-ms-min", 10);
        school
    }

    /// As for [`School::new`], from the next start on.
    pub(super) fn configure(&mut self, learn: &str, recipes: &[(&str, &str)]) {
        let recipes = recipes.iter().map(|(name, lines)| {
            format!("[[recipe]]\nname = \"{name}\"\nstreams = \"*records/*\"\n{lines}\n")
        });
        let recipes: String = recipes.collect();
        let text = format!(
            "[learn]\nscan_ms = 100\ncpu_percent_max = 100\ntemperature_c_max = 150\n{learn}\n\
             {recipes}"
        );
        let config = self.world.write("dunlin.toml", &text);
        self.world.device.set("--config", config.display());
    }

    /// Publishes the next `count` records of a machine that turns.
    pub(super) fn publish(&mut self, count: u64) {
        let (shift, is_noise, text_bytes) = (self.shift, self.is_noise, self.text_bytes);
        self.publish_as(count, |n, rng| {
            let angle = n as f64 * TAU / 20.0;
            let mut noise = || rng.random_range(-1.0..1.0);
            let (a, b) = if is_noise {
                (noise(), noise())
            } else {
                let (x, y): (f64, f64) = (noise(), noise());
                (angle.sin() + 0.1 * x + shift, angle.cos() + 0.1 * y)
            };
            let members = format!("\"a\":{a},\"b\":{b}");
            if text_bytes == 0 {
                return members;
            }
            let letters = (0..text_bytes).map(|_| rng.random_range('a'..='z'));
            let letters: String = letters.collect();
            format!("{members},\"text\":\"{letters}\"")
        });
    }

    /// Publishes the next `count` records, each with the JSON members that `members` writes for its
    /// number.
    pub(super) fn publish_as(
        &mut self,
        count: u64,
        mut members: impl FnMut(u64, &mut SmallRng) -> String,
    ) {
        let topic = format!("{}/line0", self.world.numbered.prefix);
        let numbers = self.next..self.next + count;
        let payloads = numbers.map(|n| format!("{{\"n\":{n},{}}}", members(n, &mut self.rng)));
        self.world.publish_all(&topic, payloads);
        self.next += count;
    }

    pub(super) fn wait(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.world
            .device
            .wait_status(PATIENCE, what, wanted)
            .unwrap()
    }

    /// First model.
    pub(super) fn promoted(&mut self) {
        self.wait("a promotion", |s| s.learn.models_promoted >= 1);
    }

    /// Publishes until a recipe answers.
    pub(super) fn until_answered(&mut self, recipe: &str) {
        let answers =
            format!("SELECT 1 FROM dunlin_predictions WHERE stream LIKE '%/{recipe}/%' LIMIT 1");
        self.publish_until("an answer", &answers, |school| school.publish(10));
    }

    /// Publishes again and again until a query has rows upstream; seldom, since much would be enough for
    /// another task.
    pub(super) fn publish_until(
        &mut self,
        what: &str,
        sql: &str,
        mut publish: impl FnMut(&mut Self),
    ) {
        until(PATIENCE, what, || {
            publish(self);
            let soon = Duration::from_millis(200);
            until(soon, what, || (!self.rows(sql).is_empty()).then_some(())).ok()
        })
        .unwrap();
    }

    /// The rows of a query upstream, each cell as text; none while there is no such table.
    pub(super) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.world.central, sql)
    }

    /// Waits for rows of a query upstream.
    pub(super) fn some(&self, sql: &str) -> Vec<Vec<String>> {
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
    pub(super) fn all_upstream(&mut self) {
        let count = self.next.to_string();
        self.some(&format!(
            "SELECT 1 WHERE (SELECT count(DISTINCT n) FROM records) = {count}"
        ));
    }

    /// Every stream is answered, and from its first answer on every record of it once.
    pub(super) fn every_record_is_answered_once(&mut self, recipe: &str) -> u64 {
        self.all_upstream();
        let missing = format!(
            "WITH answers AS (SELECT last_ts, replace(stream, 'dunlin_predictions/{recipe}/', '') \
             AS stream FROM dunlin_predictions WHERE stream LIKE '%/{recipe}/%'), \
             began AS (SELECT stream, min(last_ts) AS ts FROM answers GROUP BY stream) \
             SELECT n FROM records r LEFT JOIN began b ON b.stream = r.stream \
             LEFT JOIN answers a ON a.stream = r.stream AND a.last_ts = r.ts \
             WHERE (b.ts IS NULL OR r.ts > b.ts) AND a.last_ts IS NULL"
        );
        let count = format!(
            "SELECT count(*) FROM dunlin_predictions WHERE stream LIKE '%/{recipe}/%' \
             HAVING count(*) > 0"
        );
        let is_complete = until(PATIENCE, "all answers", || {
            let is_begun = !self.rows(&count).is_empty();
            (is_begun && self.rows(&missing).is_empty()).then_some(())
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
        self.rows(&count)[0][0].parse().unwrap()
    }

    /// Files called so below the models.
    pub(super) fn artifacts(&self) -> Vec<PathBuf> {
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
    pub(super) fn models(&self, words: &[&str]) -> String {
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
    pub(super) const STREAM: &'static str = "records/line0";
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

pub(super) fn copy(from: &Path, to: &Path) {
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
