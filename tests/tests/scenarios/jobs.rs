//! Jobs at a centre, done by builders that are killed.

use std::{
    fs, iter,
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
        world.write("short.toml", &RECIPE.replace("= 400", "= 30"));
        world.write("poor.toml", &RECIPE.replace("= 400", "= 1"));
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

    fn submit(&self, config: &str) -> String {
        self.put_in_line("submit", config, &[])
    }

    /// Puts a job in line that stays there, however often a builder is killed.
    fn put_in_line(&self, command: &str, config: &str, more: &[&str]) -> String {
        let config = self.world.path(config).display().to_string();
        let words = [
            "jobs", command, "--config", &config, "--recipe", "slow", "--seed", "3",
        ];
        let lease = ["--lease-s", "1", "--attempts", "1000"];
        let words: Vec<&str> = words.iter().chain(&lease).chain(more).copied().collect();
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
    let undisturbed = shop.submit("jobs.toml");
    let builder = shop.builder();
    let expected = shop.until_done(&undisturbed);
    kill(builder);
    assert_eq!(expected["attempts"].as_array().unwrap().len(), 1);

    let job = shop.submit("jobs.toml");
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

#[test]
fn what_is_best_is_found_and_continued_whoever_is_killed_meanwhile() {
    let shop = Shop::new();
    let [good, poor] = ["short.toml", "poor.toml"].map(|config| shop.submit(config));
    let mine = || {
        let more = ["--then", "continue", &poor, &good];
        shop.put_in_line("mine", "short.toml", &more)
    };
    let builder = shop.builder();
    let model = shop.until_done(&good)["result"]["model"].clone();
    shop.until_done(&poor);
    let undisturbed = mine();
    let expected = shop.until_done(&undisturbed)["result"].clone();
    let continued = expected["continued"]["job"].as_str().unwrap().to_owned();
    let next = shop.until_done(&continued);
    kill(builder);
    assert_eq!(expected["model"], model, "{expected}");
    assert_eq!(expected["leaderboard"][0]["job"], *good);
    assert_eq!(expected["leaderboard"][1]["job"], *poor);
    assert_eq!(next["document"]["parent"], model);
    assert_ne!(next["result"]["evaluations"]["incumbent"], Value::Null);
    let files = [&good, &undisturbed].map(|job| {
        let file = shop.world.path(job);
        let output = file.display().to_string();
        shop.json(&["jobs", "fetch", job, "--output", &output]);
        fs::read(file).unwrap()
    });
    assert_eq!(files[0], files[1]);
    let shown = shop.command(&["jobs", "show", &undisturbed]).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    for word in [&good, &poor, &continued, "baseline"] {
        assert!(shown.contains(word), "{shown}");
    }
    println!("{shown}");

    let mut rng = SmallRng::seed_from_u64(6);
    let disturbed = iter::repeat_with(|| {
        let job = mine();
        let builder = shop.builder();
        until(PATIENCE, "an attempt", || {
            (shop.job(&job)["state"] != "open").then_some(())
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        kill(builder);
        let builder = shop.builder();
        let done = shop.until_done(&job);
        kill(builder);
        // Nobody is to train it before the next mining.
        let continued = done["result"]["continued"]["job"].as_str().unwrap();
        shop.json(&["jobs", "cancel", continued]);
        done
    });
    let mut killed = 0;
    for done in disturbed.take(20) {
        for what in ["model", "leaderboard", "windows", "baseline_error"] {
            assert_eq!(done["result"][what], expected[what], "{done}");
        }
        assert_eq!(done["result"]["continued"]["from"], model);
        let attempts = done["attempts"].as_array().unwrap();
        killed += usize::from(attempts.len() > 1);
        if killed == 2 {
            return;
        }
    }
    panic!("too fast to be killed: {killed} of 20");
}
