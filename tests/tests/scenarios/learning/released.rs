//! Models that one device has made, released to another by way of a centre.

use std::{fs, path::PathBuf, process::Command};

use dunlin_tests::device::until;
use serde_json::Value;

use super::school::{PATIENCE, PCA, School};
use crate::world::PROGRAM;

/// A centre, a key, and what was released there.
struct Fleet {
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fleet = Self { dir };
        fleet.release("keygen", &["--key", &fleet.path("key")]);
        fleet
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn centre(&self) -> String {
        format!("sqlite:{}", self.path("centre.db"))
    }

    /// `[fleet]` of a device.
    fn table(&self) -> String {
        let public = fs::read_to_string(self.path("key.pub")).unwrap();
        let key = public.lines().nth(1).unwrap();
        let centre = self.centre();
        format!(
            "[fleet]\ncentre = \"{centre}\"\nfollow = \"health\"\nkeys = \"{key}\"\ncheck_s = 1\n"
        )
    }

    /// `dunlin release` with these words behind; what it prints.
    fn release(&self, command: &str, words: &[&str]) -> String {
        let mut release = Command::new(PROGRAM);
        release.args(["release", command]).args(words);
        if command != "keygen" {
            release.arg("--centre").arg(self.centre());
        }
        let output = release.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command} {words:?}: {text} {error}"
        );
        text
    }

    fn publish(&self, model: &str) {
        let (key, model) = (self.path("key"), self.path(model));
        let words = ["--key", &key, "--line", "health", "--model", &model];
        self.release("publish", &[&words[..], &["--share", "100"]].concat());
    }

    /// Waits for the first verdict of a release: what became of it, and why.
    fn verdict(&self, serial: u64) -> (String, String) {
        let told = until(PATIENCE, "a verdict", || {
            let all: Vec<Value> = serde_json::from_str(&self.release("list", &["--json"])).unwrap();
            let release = all.iter().find(|release| release["serial"] == serial)?;
            let verdict = release["verdicts"].get(0)?;
            let word = |key: &str| verdict[key].as_str().map(str::to_owned);
            word("outcome").zip(word("reason"))
        });
        told.unwrap()
    }

    /// The model that a device of its own makes of such records.
    fn model_of(&self, name: &str, change: impl FnOnce(&mut School)) {
        let mut donor = School::new("", &[("health", PCA)]);
        donor.world.start();
        change(&mut donor);
        donor.publish(700);
        donor.promoted();
        donor.world.stop();
        let file = self.path(name);
        donor.models(&["export", "health", School::STREAM, "-o", &file]);
    }
}

fn arrived(school: &School) -> Option<PathBuf> {
    let dir = school.world.device.data_dir().join("releases");
    let entry = fs::read_dir(dir).ok()?.flatten().next()?;
    (entry.path().extension()? == "safetensors").then(|| entry.path())
}

#[test]
fn a_released_model_serves_elsewhere_and_a_worse_one_is_refused_with_its_reason() {
    let fleet = Fleet::new();
    fleet.model_of("good", |_| {});
    fleet.model_of("worse", |donor| donor.shift = 5.0);
    let mut school = School::new(&fleet.table(), &[("health", PCA)]);
    school.world.start();
    fleet.publish("good");
    until(PATIENCE, "the model", || arrived(&school)).unwrap();
    school.publish(700);
    let (outcome, reason) = fleet.verdict(1);
    assert_eq!(outcome, "serves", "{reason}");
    school.until_answered("health");
    let tasks = school.some("SELECT kind, status, reason FROM dunlin_tasks WHERE version = 1");
    assert_eq!(tasks[0][..2], ["released", "available"], "{tasks:?}");
    let artifacts = school.artifacts();
    assert_eq!(artifacts.len(), 1, "it has made none of its own");
    let good = fs::read(fleet.path("good")).unwrap();
    assert!(fs::read(&artifacts[0]).unwrap() == good);

    fleet.publish("worse");
    let (outcome, reason) = fleet.verdict(2);
    assert_eq!(outcome, "refused", "{reason}");
    assert!(reason.contains("incumbent"), "{reason}");
    let table = fleet.release("list", &[]);
    assert!(table.contains("health 2 on"), "{table}");
    let serves = school.models(&["show", "health", School::STREAM, "--json"]);
    let serves: Value = serde_json::from_str(&serves).unwrap();
    assert_eq!(serves["number"], 1);
    school.every_record_is_answered_once("health");
    school.world.stop();
}
