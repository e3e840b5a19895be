//! Jobs at a centre, done by builders that are killed.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use dunlin_tests::device::until;
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use serde_json::Value;

use crate::world::{PROGRAM, World};

const RECIPE: &str = "[[recipe]]\nname = \"slow\"\nstreams = \"*records/*\"\nalgorithm = \"autoencoder\"\n\
                      features = [\"n\"]\nlookback = 8\nepochs_max = 400\npatience_epochs = 400\n";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(3);

/// A centre to which a device has uploaded its records.
struct Shop {
    world: World,
}

impl Shop {
    fn new() -> Self {
        let mut world = World::with_sessions();
        world.start();
        world.publish(1_500);
        world.all_acknowledged();
        world.stop();
        world.write("jobs.toml", RECIPE);
        Self { world }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .arg("--centre")
            .arg(self.world.central.url());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What a command prints, as JSON.
    fn json(&self, words: &[&str]) -> Value {
        let output = self.command(words).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn submit(&self) -> String {
        let config = self.world.path("jobs.toml").display().to_string();
        let words = [
            "jobs", "submit", "--config", &config, "--recipe", "slow", "--seed", "3",
        ];
        let lease = ["--lease-s", "1", "--attempts", "1000"];
        let words: Vec<&str> = words.into_iter().chain(lease).collect();
        self.json(&words)["job"].as_str().unwrap().to_owned()
    }

    fn job(&self, job: &str) -> Value {
        self.json(&["jobs", "show", job])
    }

    fn builder(&self) -> Child {
        let work = self.world.path("work").display().to_string();
        let words = ["builder", "--work-dir", &work];
        self.command(&words).stdout(Stdio::null()).spawn().unwrap()
    }

    fn until_done(&self, job: &str) -> Value {
        until(PATIENCE, "the end of the job", || {
            let job = self.job(job);
            assert_ne!(job["state"], "failed", "{job}");
            (job["state"] == "done").then_some(job)
        })
        .unwrap()
    }
}

fn kill(mut builder: Child) {
    builder.kill().unwrap();
    builder.wait().unwrap();
}

#[test]
fn a_killed_builders_job_ends_elsewhere_with_the_bytes_of_an_undisturbed_run() {
    let shop = Shop::new();
    let undisturbed = shop.submit();
    let builder = shop.builder();
    let expected = shop.until_done(&undisturbed);
    kill(builder);
    assert_eq!(expected["attempts"].as_array().unwrap().len(), 1);

    let job = shop.submit();
    let mut rng = SmallRng::seed_from_u64(5);
    for kills in 1..=3 {
        let builder = shop.builder();
        until(PATIENCE, "an attempt that has got somewhere", || {
            let job = shop.job(&job);
            let attempts = job["attempts"].as_array().unwrap();
            let is_under_way = attempts.last().is_some_and(|attempt| {
                attempt["ending"].is_null() && attempt["steps"].as_u64() > Some(0)
            });
            let is_over = job["state"] == "done";
            ((is_under_way && attempts.len() >= kills) || is_over).then_some(())
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
        kill(builder);
    }
    let builder = shop.builder();
    let done = shop.until_done(&job);
    kill(builder);
    let attempts = done["attempts"].as_array().unwrap();
    let killed = attempts
        .iter()
        .filter(|attempt| attempt["ending"] == "expired");
    assert!(killed.count() > 0, "too fast to be killed: {done}");
    assert_eq!(
        done["result"]["model"], expected["result"]["model"],
        "{done}"
    );
    // What the killed ones have left went with the next start.
    let left = fs::read_dir(shop.world.path("work")).unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name() != "lock").collect();
    assert!(left.is_empty(), "{left:?}");
}
