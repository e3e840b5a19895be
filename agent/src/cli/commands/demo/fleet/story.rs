//! What happens: records come together, jobs are done, a builder dies, a model is released and judged.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dunlin_sync::centre::{
    Centre,
    job::{Attempt, Job, JobId, JobState},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    Views,
    account::{Told, said},
    devices::{self, RECORDS_MIN},
    program::{Building, Program},
};
use crate::{
    base::text,
    cli::commands::{
        Exit,
        demo::{
            DemoArgs,
            setup::{RECIPE, Setup},
        },
    },
    jobs::document::mine::Mined,
    release::verdict::{Outcome, Verdict},
};

/// Longest wait for one thing to happen.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a command is asked.
const ASK: Duration = Duration::from_secs(1);
/// The jobs differ by nothing else.
const SEEDS: [&str; 2] = ["1", "2"];
const BUILDERS: [&str; 2] = ["builder-1", "builder-2"];
/// Where the recipe of the jobs is, and the best model.
const JOBS: &str = "jobs.toml";
const MODEL: &str = "best.safetensors";
/// An attempt that is not heard of for so long is over, seconds.
const LEASE_S: &str = "1";

/// Builders at work, by name.
type Builders = BTreeMap<&'static str, Building>;

/// What it takes to play.
pub(super) struct Story<'a> {
    pub(super) program: &'a Program,
    /// To look at.
    pub(super) centre: Arc<dyn Centre>,
    pub(super) setup: &'a Setup,
    pub(super) args: &'a DemoArgs,
    pub(super) views: &'a Views,
}

impl Story<'_> {
    /// # Errors
    /// [`Exit::Failed`], also if something that must happen does not.
    pub(super) async fn play(&self) -> Result<Told, Exit> {
        let devices = self.views.len() as u64;
        self.say(&format!(
            "{}, each with a machine, all with one centre: a SQLite file",
            text::of(devices, "device")
        ));
        until(LOOK, "records of each device", async || {
            let uploaded = self.views.iter().map(|view| {
                // What the agent says of itself is none of them.
                let own = view.writer.records_own.load(Relaxed);
                let all = view.uploads.rows_uploaded.load(Relaxed);
                all.saturating_sub(own)
            });
            Ok((uploaded.min() >= Some(RECORDS_MIN)).then_some(()))
        })
        .await?;
        self.say(&format!(
            "each device has {RECORDS_MIN} records at the centre; no device has a model"
        ));
        let trainings = self.submit().await?;
        let mut builders = Builders::new();
        for name in BUILDERS {
            builders.insert(name, self.program.builder(name)?);
        }
        self.say(&format!("{} pull them", BUILDERS.join(" and ")));
        let killed = self.disturb(&mut builders, &trainings).await?;
        let mut jobs = self.ended(&trainings).await?;
        jobs.push(self.mine().await?);
        let serial = self.program.publish(RECIPE, MODEL).await?;
        self.say(&format!(
            "release {serial} of {RECIPE:?} is signed and published to all devices: each judges it on its own records"
        ));
        let verdicts = self.judged(serial).await?;
        self.answered(&verdicts).await?;
        Ok(told(&jobs, killed, verdicts))
    }

    /// Puts the trainings in line.
    async fn submit(&self) -> Result<Vec<JobId>, Exit> {
        self.setup.write(JOBS, &devices::recipe())?;
        let mut jobs = Vec::new();
        for seed in SEEDS {
            jobs.push(self.in_line(&["jobs", "submit", "--seed", seed]).await?);
        }
        self.say(&format!(
            "{} submitted: train {RECIPE:?} on the records of all devices",
            text::of(jobs.len() as u64, "job")
        ));
        Ok(jobs)
    }

    /// Puts a job in line.
    async fn in_line(&self, words: &[&str]) -> Result<JobId, Exit> {
        #[derive(Deserialize)]
        struct Submitted {
            job: String,
        }
        let terms = [
            "--config",
            JOBS,
            "--recipe",
            RECIPE,
            "--lease-s",
            LEASE_S,
            "--attempts",
            "100",
        ];
        let submitted: Submitted = self.program.json(&[words, &terms].concat()).await?;
        Ok(submitted.job.parse()?)
    }

    /// Kills a builder in the middle of one of the jobs, and waits until all are done; how many were killed.
    async fn disturb(&self, builders: &mut Builders, jobs: &[JobId]) -> Result<u64, Exit> {
        // With a checkpoint at the centre there is something to go on from.
        let at = until(LOOK, "a training under way", async || {
            let mut all_ended = true;
            for job in self.jobs(jobs).await? {
                all_ended &= !is_open(&job);
                let under_way = job.attempts.into_iter().last().filter(|attempt| {
                    attempt.ending.is_none() && attempt.progress.checkpoint.is_some()
                });
                if let Some(attempt) = under_way {
                    return Ok(Some(Some((job.id, attempt))));
                }
            }
            Ok(all_ended.then_some(None))
        })
        .await?;
        let Some((job, attempt)) = at else {
            self.say("the trainings were over before a builder could be killed");
            return Ok(0);
        };
        let Some(victim) = builders.remove(&*attempt.builder) else {
            let who = text::printable(&attempt.builder);
            return Err(Exit::Failed(format!(
                "{who} is none of the demo's builders"
            )));
        };
        victim.kill();
        self.say(&format!(
            "{} is killed (SIGKILL) after step {} of job {job}",
            attempt.builder, attempt.progress.steps
        ));
        let next = until(LOOK, "another attempt", async || {
            let job = self.job(job).await?;
            let is_over = !is_open(&job);
            let mut later = job.attempts.into_iter();
            let next = later.find(|other| other.number > attempt.number);
            Ok((is_over || next.is_some()).then_some(next))
        })
        .await?;
        match next {
            Some(next) => self.say(&format!(
                "{} goes on with job {job} from its last checkpoint (attempt {})",
                next.builder, next.number
            )),
            None => self.say("it had just told its result"),
        }
        self.all_ended(jobs).await?;
        Ok(1)
    }

    async fn all_ended(&self, jobs: &[JobId]) -> Result<(), Exit> {
        until(LOOK, "the end of all jobs", async || {
            let jobs = self.jobs(jobs).await?;
            Ok((!jobs.iter().any(is_open)).then_some(()))
        })
        .await
    }

    async fn job(&self, id: JobId) -> Result<Job, Exit> {
        let job = self.centre.job(id).await?;
        job.ok_or_else(|| Exit::Failed(format!("the centre knows no job {id}")))
    }

    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Job>, Exit> {
        let mut jobs = Vec::new();
        for id in ids {
            jobs.push(self.job(*id).await?);
        }
        Ok(jobs)
    }

    /// The jobs, all of which are done.
    async fn ended(&self, ids: &[JobId]) -> Result<Vec<Job>, Exit> {
        let jobs = self.jobs(ids).await?;
        for job in &jobs {
            if job.state != JobState::Done {
                let why = text::printable(job.reason.as_deref().unwrap_or_default());
                let state = job.state.as_str();
                return Err(Exit::Failed(format!("job {} is {state}: {why}", job.id)));
            }
        }
        Ok(jobs)
    }

    /// Has the models judged on the same records, and fetches the best one.
    async fn mine(&self) -> Result<Job, Exit> {
        let id = self.in_line(&["jobs", "mine"]).await?;
        self.say(&format!(
            "job {id} submitted: judge both models on the same, newest records"
        ));
        self.all_ended(&[id]).await?;
        let job = self.ended(&[id]).await?.pop();
        let job = job.ok_or_else(|| Exit::Failed("there was no job".into()))?;
        let mined = Mined::read(job.result.as_deref().unwrap_or_default());
        let mined = mined.map_err(|error| Exit::Failed(format!("{id}: {error}")))?;
        for (place, standing) in mined.leaderboard.iter().enumerate() {
            let figures = standing.figures.as_ref();
            let error = figures.map_or(f64::INFINITY, |figures| figures.error);
            let (place, job) = (place + 1, &standing.job);
            self.say(&format!(
                "  {place}. error {error:.5}: the model of job {job}"
            ));
        }
        let words = ["jobs", "fetch", &id.to_string(), "--output", MODEL];
        let _shown: serde_json::Value = self.program.json(&words).await?;
        Ok(job)
    }

    /// What each device says of release `serial`.
    async fn judged(&self, serial: u64) -> Result<Vec<Verdict>, Exit> {
        #[derive(Deserialize)]
        struct Listed {
            serial: u64,
            verdicts: Vec<Verdict>,
        }
        let mut told: Vec<String> = Vec::new();
        let verdicts = until(ASK, "a verdict of each device", async || {
            let all: Vec<Listed> = self.program.json(&["release", "list"]).await?;
            let listed = all.into_iter().find(|listed| listed.serial == serial);
            let verdicts = listed.map(|listed| listed.verdicts).unwrap_or_default();
            for verdict in &verdicts {
                if !told.contains(&verdict.device) {
                    self.say(&text::printable(&said(verdict)));
                    told.push(verdict.device.clone());
                }
            }
            Ok((verdicts.len() == self.views.len()).then_some(verdicts))
        });
        let mut verdicts = verdicts.await?;
        verdicts.sort_by(|a, b| a.device.cmp(&b.device));
        Ok(verdicts)
    }

    /// Waits until the released model has answered where it serves.
    async fn answered(&self, verdicts: &[Verdict]) -> Result<(), Exit> {
        let serves = |view: &&Arc<crate::observe::status::View>| {
            let device = &view.settings().device;
            let mut verdicts = verdicts.iter();
            verdicts.any(|verdict| verdict.outcome == Outcome::Serves && verdict.device == *device)
        };
        let serving: Vec<_> = self.views.iter().filter(serves).collect();
        until(LOOK, "an answer of the released model", async || {
            let mut all = serving.iter();
            Ok(all
                .all(|view| view.status().learn.predictions > 0)
                .then_some(()))
        })
        .await
    }

    fn say(&self, words: &str) {
        if !self.args.json {
            // Nobody reading any more is no reason to stop.
            let _closed = writeln!(std::io::stdout(), "{words}");
        }
    }
}

fn is_open(job: &Job) -> bool {
    matches!(job.state, JobState::Open | JobState::Running)
}

fn told(jobs: &[Job], builders_killed: u64, verdicts: Vec<Verdict>) -> Told {
    let ended =
        |word: &'static str| move |attempt: &&Attempt| attempt.ending.as_deref() == Some(word);
    let once = jobs.iter().filter(|job| {
        let done = job.attempts.iter().filter(ended("done")).count();
        job.state == JobState::Done && job.result.is_some() && done == 1
    });
    let attempts = || jobs.iter().flat_map(|job| &job.attempts);
    Told {
        jobs: jobs.len() as u64,
        jobs_done_once: once.count() as u64,
        attempts: attempts().count() as u64,
        attempts_expired: attempts().filter(ended("expired")).count() as u64,
        builders_killed,
        verdicts,
    }
}

/// Looks every `gap` until there is something to see.
async fn until<T>(
    gap: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Exit>,
) -> Result<T, Exit> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            let minutes = PATIENCE.as_secs() / 60;
            return Err(Exit::Failed(format!(
                "{what}: waited {minutes} minutes in vain"
            )));
        }
        sleep(gap).await;
    }
}
