//! Builders that are killed, and stopped for longer than their leases, while they pull jobs from one centre: every
//! job must have exactly one accepted result, and none may be lost.
//!
//! `claims [--builders N] [--jobs N] [--centre URL] [--seed S]`. Each builder is a process of its own; it notes
//! what it was told was accepted or lost. At the end the notes and the centre must agree. On a `PostgreSQL`
//! server (`postgres://user:password@host:5432/any`; needs `psql`) it makes a database of its own, and cuts
//! connections, too; without `--centre`, a `SQLite` file. Prints one line of JSON; exits with 1 on a violation.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    num::NonZeroU32,
    path::Path,
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use dunlin_sync::{
    centre::{
        Builder, Centre, CentreError, connect,
        job::{Ended, Held, JobId, JobQuery, JobState, NewJob, Outcome, Progress},
    },
    upstream::UpstreamOptions,
};
use dunlin_tests::options::{option, refuse_others};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::sleep;

/// Short, so that many are lost.
const LEASE: Duration = Duration::from_millis(300);
/// Somebody is disturbed so often.
const DISTURB_EVERY: Duration = Duration::from_millis(10);
/// Every so many-th time is looked whether all is done.
const LOOK_EVERY: u64 = 10;
/// How long somebody stands still: shorter and longer than a lease.
const STOP_MAX: Duration = Duration::from_millis(900);
/// Without progress for so long it has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most jobs: what one list shows.
const LIST_MAX: usize = 10_000;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let done = match &args[..] {
        [_, what, url, name, notes] if what == "build" => build(url, name, Path::new(notes)).await,
        _ => {
            refuse_others(&["builders", "jobs", "centre", "seed"]);
            let seed = option("seed").unwrap_or_else(rand::random::<u64>);
            let builders = option("builders").unwrap_or(8);
            let jobs = option("jobs").unwrap_or(200);
            run(builders, jobs, option("centre"), seed).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn centre_at(url: &str) -> Result<Box<dyn Centre>, CentreError> {
    connect(&UpstreamOptions::new(url, Duration::from_secs(10)))
}

/// What the right result of a job is.
fn result_of(document: &[u8]) -> Vec<u8> {
    document.iter().rev().copied().collect()
}

/// One builder: pulls jobs until it is killed.
async fn build(url: &str, name: &str, notes: &Path) -> Result<(), Failed> {
    let centre = centre_at(url)?;
    let mut notes = OpenOptions::new().create(true).append(true).open(notes)?;
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let builder = Builder {
        name: name.into(),
        kinds: Vec::new(),
        labels: BTreeMap::new(),
    };
    loop {
        let request = JobId(rng.random());
        let Some(claim) = again(|| centre.claim(&builder, request)).await? else {
            // Longer than the proof waits: whoever is not told of a job does not find it by chance.
            again(|| centre.wait_for_jobs(2 * PATIENCE)).await?;
            continue;
        };
        let (job, attempt) = (claim.job.id, claim.attempt);
        let mut lost = false;
        for steps in 1..=rng.random_range(0..4) {
            sleep(Duration::from_millis(rng.random_range(0..50))).await;
            let progress = Progress {
                steps,
                checkpoint: None,
            };
            lost |= again(|| centre.renew(job, attempt, &progress)).await? == Held::Lost;
        }
        let outcome = Outcome::Done {
            result: result_of(&claim.job.document),
        };
        // One that was told that it is lost asks all the same: it must not be believed.
        let ended = again(|| centre.finish(job, attempt, &outcome)).await?;
        if lost && ended == Ended::Accepted {
            return Err(format!("{job}: attempt {attempt} was lost, and then accepted").into());
        }
        let word = match ended {
            Ended::Accepted => "accepted",
            Ended::Lost => "lost",
        };
        notes.write_all(format!("{word} {job} {attempt}\n").as_bytes())?;
    }
}

/// Asks until the centre is there.
async fn again<T, F: Future<Output = Result<T, CentreError>>>(
    ask: impl Fn() -> F,
) -> Result<T, CentreError> {
    loop {
        match ask().await {
            Err(CentreError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
}

struct Builders {
    url: String,
    notes: tempfile::TempDir,
    running: Vec<Child>,
    begun: usize,
}

impl Builders {
    fn start(&mut self) -> Result<(), Failed> {
        self.begun += 1;
        let name = format!("builder-{}", self.begun);
        let notes = self.notes.path().join(&name);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["build", &self.url, &name]).arg(notes);
        self.running.push(command.spawn()?);
        Ok(())
    }

    fn signal(&self, at: usize, signal: Signal) -> Result<(), Failed> {
        let pid = Pid::from_child(&self.running[at]);
        Ok(kill_process(pid, signal)?)
    }

    /// Nobody ends by itself.
    fn look(&mut self) -> Result<(), Failed> {
        for child in &mut self.running {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a builder ended: {status}").into());
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        for child in &mut self.running {
            let _gone_already = child.kill();
            let _gone_already = child.wait();
        }
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(count: usize, jobs: u64, url: Option<String>, seed: u64) -> Result<(), Failed> {
    if jobs as usize > LIST_MAX {
        return Err(format!("{jobs} jobs; at most {LIST_MAX}").into());
    }
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir()?;
    let server = url.map(Server::with_database).transpose()?;
    let url = match &server {
        Some(server) => server.url(),
        None => format!("sqlite:{}", dir.path().join("centre.db").display()),
    };
    let centre = centre_at(&url)?;
    let mut documents = HashMap::new();
    for number in 0..jobs {
        let job = NewJob {
            id: JobId(rng.random()),
            kind: "claims".into(),
            document: format!("job {number}").into_bytes(),
            labels: BTreeMap::new(),
            attempts_max: NonZeroU32::MIN.saturating_add(999),
            lease_ms: LEASE.as_millis() as u64,
            stalled_ms_max: 60_000,
            time_ms_max: 60_000,
        };
        again(|| centre.submit(&job)).await?;
        documents.insert(job.id, job.document);
    }
    let mut builders = Builders {
        url: url.clone(),
        notes: tempfile::tempdir()?,
        running: Vec::new(),
        begun: 0,
    };
    for _ in 0..count {
        builders.start()?;
    }
    let (mut kills, mut stops, mut cuts) = (0_u64, 0_u64, 0_u64);
    let mut stopped: HashMap<u32, Instant> = HashMap::new();
    let mut last = (usize::MAX, Instant::now());
    let mut turn = 0_u64;
    loop {
        sleep(DISTURB_EVERY).await;
        builders.look()?;
        let now = Instant::now();
        for at in 0..builders.running.len() {
            let id = builders.running[at].id();
            if stopped.get(&id).is_some_and(|until| *until <= now) {
                stopped.remove(&id);
                builders.signal(at, Signal::CONT)?;
            }
        }
        let at = rng.random_range(0..builders.running.len());
        let id = builders.running[at].id();
        if server.is_some() && rng.random_bool(0.2) {
            psql(&url, CUT)?;
            cuts += 1;
        } else if rng.random_bool(0.5) {
            builders.signal(at, Signal::KILL)?;
            builders.running.swap_remove(at).wait()?;
            stopped.remove(&id);
            builders.start()?;
            kills += 1;
        } else if let Entry::Vacant(place) = stopped.entry(id) {
            builders.signal(at, Signal::STOP)?;
            place.insert(now + rng.random_range(Duration::ZERO..STOP_MAX));
            stops += 1;
        }
        turn += 1;
        if !turn.is_multiple_of(LOOK_EVERY) {
            continue;
        }
        let left = unfinished(&*centre).await?;
        if left == 0 {
            break;
        }
        if left < last.0 {
            last = (left, now);
        } else if now - last.1 > PATIENCE {
            return Err(format!("{left} jobs are not done, and nothing moves\nseed {seed}").into());
        }
    }
    builders.end();
    let (attempts, violations) = compare(&*centre, &documents, builders.notes.path()).await?;
    let line = json!({
        "builders": count, "jobs": jobs, "kills": kills, "stops": stops, "cuts": cuts, "attempts": attempts,
        "violations": violations.len(), "seed": seed, "seconds": begun.elapsed().as_secs_f64(),
    });
    println!("{line}");
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations.join("\n").into())
    }
}

/// Ends somebody's connection, whoever's.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";

/// A database of its own on a server; goes with it.
struct Server {
    any: String,
    database: String,
}

impl Server {
    fn with_database(any: String) -> Result<Self, Failed> {
        let database = format!("dunlin_claims_{:016x}", rand::random::<u64>());
        psql(&any, &format!("CREATE DATABASE {database}"))?;
        Ok(Self { any, database })
    }

    fn url(&self) -> String {
        let (place, options) = match self.any.split_once('?') {
            Some((place, options)) => (place, format!("?{options}")),
            None => (&*self.any, String::new()),
        };
        let server = place.rsplit_once('/').map_or(place, |(server, _)| server);
        format!("{server}/{}{options}", self.database)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        if let Err(error) = psql(&self.any, &drop) {
            eprintln!("{error}");
        }
    }
}

fn psql(url: &str, sql: &str) -> Result<(), Failed> {
    let mut command = Command::new("psql");
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--output=/dev/null",
        "--dbname",
        url,
        "--command",
        sql,
    ]);
    let output = command.output().map_err(|error| format!("psql: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

async fn unfinished(centre: &dyn Centre) -> Result<usize, Failed> {
    let mut left = 0;
    for state in [JobState::Open, JobState::Running] {
        let query = JobQuery {
            state: Some(state),
            kind: Some("claims".into()),
            most: LIST_MAX,
        };
        left += again(|| centre.jobs(&query)).await?.len();
    }
    Ok(left)
}

/// How many attempts there were, and where the centre and what builders were told do not agree.
async fn compare(
    centre: &dyn Centre,
    documents: &HashMap<JobId, Vec<u8>>,
    notes: &Path,
) -> Result<(usize, Vec<String>), Failed> {
    let mut told: HashMap<JobId, Vec<(String, u32)>> = HashMap::new();
    for file in fs::read_dir(notes)? {
        for line in fs::read_to_string(file?.path())?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            // The last line of one that was killed may be cut.
            let [word, job, attempt] = words[..] else {
                continue;
            };
            if let (Ok(job), Ok(attempt)) = (job.parse(), attempt.parse()) {
                told.entry(job).or_default().push((word.into(), attempt));
            }
        }
    }
    let (mut attempts, mut violations) = (0, Vec::new());
    for (id, document) in documents {
        let Some(job) = again(|| centre.job(*id)).await? else {
            violations.push(format!("{id} is gone"));
            continue;
        };
        attempts += job.attempts.len();
        if job.state != JobState::Done || job.result != Some(result_of(document)) {
            violations.push(format!(
                "{id} is {} with {:?}",
                job.state.as_str(),
                job.result
            ));
        }
        let done = |ending: &str| {
            let ended = job
                .attempts
                .iter()
                .filter(|a| a.ending.as_deref() == Some(ending));
            ended.map(|attempt| attempt.number).collect::<Vec<u32>>()
        };
        let accepted = done("done");
        if accepted.len() != 1 || done("expired").len() + 1 != job.attempts.len() {
            violations.push(format!("{id} has these attempts: {:?}", job.attempts));
        }
        for (word, attempt) in told.get(id).into_iter().flatten() {
            if (word == "accepted") != accepted.contains(attempt) {
                violations.push(format!(
                    "{id}: attempt {attempt} was told that it is {word}"
                ));
            }
        }
    }
    let unknown = told.keys().filter(|id| !documents.contains_key(id));
    violations.extend(unknown.map(|id| format!("{id} was never submitted")));
    Ok((attempts, violations))
}
