//! Cuts the power at random moments while the whole agent ingests and learns, and looks at what is left.
//!
//! `power_cut [--cuts N] [--seed S]`. Needs root, Linux, loop devices and ext4; says so and ends with 0
//! otherwise. The data directory lies on a disk image; broker and upstream are elsewhere. A cut: the
//! agent is stopped with SIGSTOP, what it had acknowledged is noted, the image is copied. The copy is
//! opened by the library and, in another copy, by the agent; see `check` and `learning` for what must hold. After
//! some cuts the copy becomes the device, so that recoveries follow on one another.
//!
//! Generations are small, so that they are made and deleted all the time. Prints one line of JSON;
//! exits with 1 on a violation and keeps the image.

mod check;
mod learning;
mod parts;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dunlin_tests::{
    central::{Central, Row},
    device::{Device, as_agent, until},
    disk_image::{self, Mounted, NoWriteBack},
    doubles::mqtt::MqttDouble,
    interrupts,
    options::{option, refuse_others},
    records::Numbered,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use self::{
    check::{BUFFER_BYTES_MAX, Known, QUARANTINE_BYTES_MAX},
    parts::Parts,
};

/// Name of the device, before that of every stream upstream.
const DEVICE: &str = "power";
/// What is learnt, beside the image.
const CONFIG: &str = "dunlin.toml";
const IMAGE_BYTES: u64 = 96 << 20;
const RATE_PER_S: f64 = 4_000.0;
/// Text in each record: a generation of 2 MiB fills in about two seconds.
const PAD_BYTES: usize = 40;
/// For an agent to answer on what a cut has left. It does in milliseconds; `answer_ms_max` tells.
const OPEN_MAX: Duration = Duration::from_secs(20);
const DRAIN_MAX: Duration = Duration::from_mins(2);
/// Violations shown.
const SHOWN: usize = 10;

fn main() -> ExitCode {
    if let Some(code) = as_agent() {
        return code;
    }
    refuse_others(&["cuts", "seed"]);
    let cuts = option("cuts").unwrap_or(50);
    let seed = option("seed").unwrap_or_else(rand::random::<u64>);
    let again = format!("again with: power_cut --cuts {cuts} --seed {seed}");
    let dir = match tempfile::tempdir_in(work_dir()) {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("no temporary directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(why) = disk_image::missing(dir.path()) {
        println!("skipped: the power cannot be cut here: {why}");
        return ExitCode::SUCCESS;
    }
    let outcome = Rig::new(dir.path(), seed).and_then(|mut rig| rig.run(cuts, seed));
    match outcome {
        Ok(violations) if violations.is_empty() => ExitCode::SUCCESS,
        Ok(violations) => {
            for violation in violations.iter().take(SHOWN) {
                eprintln!("violation: {violation}");
            }
            eprintln!("{} violations; {again}", violations.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}\n{again}");
            ExitCode::FAILURE
        }
    }
}

/// Memory where there is some: images are copied all the time.
fn work_dir() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if room > 8 * IMAGE_BYTES {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// Freezing again because the upstream's file was locked, at most.
const FREEZE_TRIES_MAX: u32 = 20;

/// Counts over the whole run.
#[derive(Default)]
struct Tally {
    chained: u64,
    in_start: u64,
    during_stop: u64,
    outages: u64,
    shunned: u64,
    parts_made: u64,
    parts_deleted: u64,
    generations_made: u64,
    generations_deleted: u64,
    fresh_min: Option<u64>,
    idle_cuts: u64,
    answer_ms_max: u64,
    rows_checked: u64,
    quarantined_checked: u64,
    promoted_by_hand: u64,
    answers_checked: u64,
    versions_checked: u64,
    versions_made: u64,
    checkpoints_checked: u64,
}

struct Rig {
    // Dropped in this order: the agent before its disk, the disk before its file.
    device: Device,
    /// The upstream's lock, while it is away.
    outage: Option<rusqlite::Connection>,
    /// Some streams are refused.
    is_shunning: bool,
    disk: Option<Mounted>,
    dir: PathBuf,
    broker: MqttDouble,
    central: Central,
    numbered: Numbered,
    known: Known,
    rng: StdRng,
    tally: Tally,
    buffer_parts: Parts,
    quarantine_parts: Parts,
    disks: u64,
    interrupted: Arc<AtomicBool>,
    _no_write_back: NoWriteBack,
}

impl Rig {
    fn new(dir: &Path, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let numbered = Numbered {
            pad_bytes: PAD_BYTES,
            bad_every: 11,
            wide_every: 503,
            shunned_every: 97,
            ..Numbered::new("power")
        };
        let broker = MqttDouble::start().map_err(failed)?;
        let central = Central::new(dir);
        let program = std::env::current_exe().map_err(failed)?;
        let config = format!("{}{}", learning::config(), numbered.rules());
        fs::write(dir.join(CONFIG), config).map_err(failed)?;
        let mut device = device(&program, dir, "live", &central.url());
        device.set("--mqtt", broker.url());
        let image = dir.join("disk-0.img");
        disk_image::format(&image, IMAGE_BYTES)?;
        let no_write_back = NoWriteBack::begin().map_err(failed)?;
        let disk = Mounted::new(&image, &dir.join("disk-0"))?;
        device.move_to(&disk.dir().join("data"));
        Ok(Self {
            device,
            outage: None,
            is_shunning: false,
            disk: Some(disk),
            dir: dir.to_owned(),
            broker,
            central,
            known: Known::new(numbered.clone()),
            numbered,
            rng: StdRng::seed_from_u64(seed),
            tally: Tally::default(),
            buffer_parts: Parts::default(),
            quarantine_parts: Parts::default(),
            disks: 1,
            interrupted: interrupts::watch().map_err(failed)?,
            _no_write_back: no_write_back,
        })
    }

    fn image(&self) -> PathBuf {
        self.dir.join(format!("disk-{}.img", self.disks - 1))
    }

    fn run(&mut self, cuts: u64, seed: u64) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        self.broker
            .feed(self.numbered.clone(), u64::MAX, Some(RATE_PER_S));
        self.start(false)?;
        let mut violations = Vec::new();
        let mut done = 0;
        while done < cuts && violations.is_empty() && !self.interrupted.load(Relaxed) {
            violations = self.cut(done)?;
            done += 1;
        }
        if violations.is_empty() {
            violations = match self.finish() {
                Ok(violations) => violations,
                Err(error) => {
                    self.device.kill();
                    self.disk = None;
                    self.preserve(&self.image(), "end")?;
                    return Err(error);
                }
            };
        }
        let (counts, tally) = (self.broker.counts(), &self.tally);
        let (answers, let_go) = (self.known.answers().count(), self.known.answers().let_go());
        let line = json!({
            "cuts": done, "during_start": tally.in_start, "during_stop": tally.during_stop,
            "outages": tally.outages, "shunned": tally.shunned, "quarantine_parts_made": tally.parts_made,
            "quarantine_parts_deleted": tally.parts_deleted, "chained": tally.chained, "seed": seed,
            "acknowledged": counts.acknowledged, "sent_again": counts.sent_again,
            "upstream_rows": self.known.upstream_rows(),
            "fresh_acknowledged_min": tally.fresh_min, "cuts_without_fresh": tally.idle_cuts,
            "generations_made": tally.generations_made,
            "generations_deleted": tally.generations_deleted,
            "rows_checked": tally.rows_checked, "answer_ms_max": tally.answer_ms_max,
            "quarantined_checked": tally.quarantined_checked, "answers": answers, "let_go": let_go,
            "answers_checked": tally.answers_checked, "versions_checked": tally.versions_checked,
            "versions_made": tally.versions_made, "checkpoints_checked": tally.checkpoints_checked,
            "promoted_by_hand": tally.promoted_by_hand,
            "violations": violations.len(), "seconds": begun.elapsed().as_secs_f64(),
        });
        println!("{line}");
        if self.interrupted.load(Relaxed) {
            return Err("interrupted".into());
        }
        Ok(violations)
    }

    /// Starts the device; `at_once`: does not wait for it.
    fn start(&mut self, at_once: bool) -> Result<(), String> {
        let gaps_ms = [0, 5, 50, 250];
        let gap_ms = gaps_ms[self.rng.random_range(0..gaps_ms.len())];
        self.device.set("--buffer-commit-gap-ms-min", gap_ms);
        self.device.start().map_err(|e| e.to_string())?;
        if at_once {
            return Ok(());
        }
        self.device.wait_connected().map(drop)
    }

    /// One cut, looked at from all sides.
    fn cut(&mut self, number: u64) -> Result<Vec<String>, String> {
        let pause = Duration::from_millis(self.rng.random_range(20..700));
        thread::sleep(pause);
        self.change_weather()?;
        if self.rng.random_range(0..3) == 0 {
            let control = self.device.control();
            let promoted = learning::promote_any(&control, &mut self.rng)?;
            self.tally.promoted_by_hand += u64::from(promoted.is_some());
        }
        let chain = self.rng.random_range(0..3) == 0;
        let stopping = chain && self.rng.random_range(0..4) == 0;
        // What it has acknowledged last may not have reached the broker, which then sends it again.
        if chain && self.rng.random_range(0..2) == 0 {
            self.broker.lose_acks(true);
            thread::sleep(pause / 20);
        }
        if stopping {
            self.tally.during_stop += 1;
            self.device.terminate();
            thread::sleep(pause / 10);
        }
        self.freeze(stopping)?;
        let (kept, fresh) = (self.dir.join("cut.img"), self.known.fresh());
        disk_image::copy(&self.image(), &kept)?;
        self.count_generations();
        if chain {
            self.device.kill();
            self.broker.lose_acks(false);
        } else {
            self.device.thaw();
        }

        let mut violations = self.check_with_library(&kept)?;
        violations.extend(self.check_with_agent(&kept)?);
        self.tally.idle_cuts += u64::from(fresh == 0);
        self.tally.fresh_min = Some(self.tally.fresh_min.map_or(fresh, |min| min.min(fresh)));
        if !violations.is_empty() {
            self.preserve(&kept, &format!("cut-{number}"))?;
            return Ok(violations);
        }
        if chain {
            self.tally.chained += 1;
            self.become_copy(&kept)?;
            // Half of these are cut again before the agent is up.
            if self.rng.random_range(0..2) == 0 {
                self.tally.in_start += 1;
                self.start(true)?;
                thread::sleep(Duration::from_millis(self.rng.random_range(0..80)));
                self.freeze(false)?;
                disk_image::copy(&self.image(), &kept)?;
                self.device.thaw();
                violations = self.check_with_library(&kept)?;
                violations.extend(self.check_with_agent(&kept)?);
                self.device.wait_connected()?;
            } else {
                self.start(false)?;
            }
        }
        Ok(violations)
    }

    /// Keeps an image, and what is upstream, for people to look at.
    fn preserve(&self, image: &Path, what: &str) -> Result<(), String> {
        let name = format!("dunlin-power-{}-{what}", std::process::id());
        let image_kept = std::env::temp_dir().join(name).with_extension("img");
        disk_image::copy(image, &image_kept)?;
        let upstream = image_kept.with_extension("db");
        let upstream = self
            .central
            .copy_to(&upstream)
            .map_or_else(|e| e.to_string(), |()| upstream.display().to_string());
        eprintln!(
            "{what}: kept as {}; upstream: {upstream}",
            image_kept.display()
        );
        Ok(())
    }

    /// Lets the upstream be away now and then, or refuse some streams, so that backlogs grow and drain between cuts.
    fn change_weather(&mut self) -> Result<(), String> {
        let failed = |error: rusqlite::Error| format!("upstream: {error}");
        // For one cut at a time: what is refused pins the buffer, and a full one lets go of records that are not
        // answered yet.
        if self.outage.is_none() {
            let refuse = !self.is_shunning && self.rng.random_range(0..6) == 0;
            self.is_shunning = self.central.shun(refuse).map_err(failed)?;
            self.tally.shunned += u64::from(self.is_shunning);
        }
        if self.outage.is_some() {
            if self.rng.random_range(0..2) == 0 {
                self.outage = None;
            }
        } else if !self.is_shunning && self.rng.random_range(0..8) == 0 {
            let lock = self.central.lock().map_err(failed)?;
            self.tally.outages += u64::from(lock.is_some());
            self.outage = lock;
        }
        Ok(())
    }

    /// Stops the agent and notes what it has promised. It may have ended only if it was told to.
    fn freeze(&mut self, stopping: bool) -> Result<(), String> {
        let mut tries = 0;
        loop {
            self.device.freeze()?;
            if !stopping && self.device.has_ended() {
                return Err(format!("the agent has ended:\n{}", self.device.log_tail()));
            }
            self.known.answers().listen(&self.device.log());
            self.broker.settle();
            self.known.acknowledged(self.broker.acknowledged());
            let mut arrived: Vec<(u64, Row)> = Vec::new();
            let looked = self
                .central
                .each_after(self.known.settled_ts(), |n, row| arrived.push((n, row)));
            let after_ts = self.known.answers_seen_ts();
            match looked.and_then(|()| self.central.answers_after(after_ts)) {
                Ok(answers) => {
                    self.known.upstream(arrived)?;
                    return self.known.answered(&answers);
                }
                // Stopped in one of the moments in which SQLite lets nobody else read: cut later.
                Err(error) if is_locked(&error) && tries < FREEZE_TRIES_MAX => {
                    tries += 1;
                    self.device.thaw();
                    thread::sleep(Duration::from_millis(self.rng.random_range(1..20)));
                }
                Err(error) => return Err(format!("upstream: {error}")),
            }
        }
    }

    fn count_generations(&mut self) {
        let data_dir = self.device.data_dir();
        let (made, deleted) = self.buffer_parts.look(&data_dir.join("buffer"));
        self.tally.generations_made += made;
        self.tally.generations_deleted += deleted;
        let (made, deleted) = self.quarantine_parts.look(&data_dir.join("quarantine"));
        self.tally.parts_made += made;
        self.tally.parts_deleted += deleted;
    }

    fn check_with_library(&mut self, image: &Path) -> Result<Vec<String>, String> {
        let copy = self.dir.join("library.img");
        disk_image::copy(image, &copy)?;
        let mounted = match Mounted::new(&copy, &self.dir.join("library")) {
            Ok(mounted) => mounted,
            Err(error) => return Ok(vec![format!("the copy does not mount: {error}")]),
        };
        let found = check::check(&mounted.dir().join("data"), &self.known);
        self.tally.rows_checked += found.rows;
        self.tally.quarantined_checked += found.quarantined;
        self.tally.answers_checked += found.answers;
        self.tally.versions_checked += found.versions;
        self.tally.checkpoints_checked += found.checkpoints;
        Ok(found.violations)
    }

    /// The agent alone, no broker, another upstream: it must come up and answer.
    fn check_with_agent(&mut self, image: &Path) -> Result<Vec<String>, String> {
        let copy = self.dir.join("agent.img");
        disk_image::copy(image, &copy)?;
        let mounted = Mounted::new(&copy, &self.dir.join("agent"))?;
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let elsewhere = self.dir.join("elsewhere.db");
        let upstream = format!("sqlite:{}", elsewhere.display());
        let mut device = device(&program, &self.dir, "agent", &upstream);
        device.set("--mqtt", "mqtt://127.0.0.1:1");
        device.move_to(&mounted.dir().join("data"));
        let started = Instant::now();
        device.start().map_err(|e| e.to_string())?;
        let answer = device.wait_status(OPEN_MAX, "an answer", |_| true);
        let answer_ms = started.elapsed().as_millis() as u64;
        self.tally.answer_ms_max = self.tally.answer_ms_max.max(answer_ms);
        device.kill();
        Ok(match answer {
            Ok(status) if status.buffer.blocks_corrupt > 0 || status.buffer.set_aside > 0 => {
                vec![format!(
                    "the agent set something aside: {:?}",
                    status.buffer
                )]
            }
            Ok(_) => Vec::new(),
            Err(error) => vec![format!("the agent does not open the copy: {error}")],
        })
    }

    /// What the cut has left is the device from now on.
    fn become_copy(&mut self, image: &Path) -> Result<(), String> {
        let old = self.image();
        self.disk = None;
        fs::remove_file(old).map_err(|e| e.to_string())?;
        self.disks += 1;
        disk_image::copy(image, &self.image())?;
        let disk = Mounted::new(
            &self.image(),
            &self.dir.join(format!("disk-{}", self.disks)),
        )?;
        self.device.move_to(&disk.dir().join("data"));
        self.disk = Some(disk);
        Ok(())
    }

    /// Drains everything and looks at the whole of it.
    fn finish(&mut self) -> Result<Vec<String>, String> {
        self.outage = None;
        self.central
            .shun(false)
            .map_err(|error| format!("upstream: {error}"))?;
        let published = self.broker.stop_feeding();
        until(DRAIN_MAX, "the last PUBACK", || {
            (self.broker.outstanding() == 0).then_some(())
        })?;
        let drained = "the last upload";
        self.device
            .wait_status(DRAIN_MAX, drained, |s| s.upstream.lag_rows == 0)?;
        let failed = |error: rusqlite::Error| format!("upstream: {error}");
        until(DRAIN_MAX, "the last answers upstream", || {
            let central = self.central.open().ok().flatten()?;
            learning::has_caught_up(&central).ok()?.then_some(())
        })
        .map_err(|error| {
            let (status, log) = (self.device.status(), self.device.log_tail());
            format!("{error}; status {status:?}; the log ends with\n{log}")
        })?;
        self.device.terminate();
        let end = self.device.wait_exit(Duration::from_secs(30))?;
        let central = self.central.open().map_err(failed)?;
        let central = central.ok_or("there is no table upstream")?;
        self.tally.versions_made = learning::versions_made(&central).map_err(failed)?;
        self.known.answers().listen(&self.device.log());
        let let_go = self.known.answers().let_go();
        let mut violations = learning::check_upstream(&central, let_go).map_err(failed)?;
        if !end.success() {
            violations.push(format!("the last stop ended with {end}"));
        }
        let rows = self.central.rows().map_err(|e| e.to_string())?;
        for n in 0..published {
            match (rows.by_number.get(&n), self.numbered.is_bad(n)) {
                (None, false) => violations.push(format!("record {n} is not upstream")),
                (Some(_), true) => violations.push(format!("record {n} is no record")),
                (Some(row), false) if self.known.row(n).is_some_and(|known| known != *row) => {
                    violations.push(format!("record {n} has changed upstream"));
                }
                _ => {}
            }
        }
        let twice = rows.duplicates.iter();
        violations.extend(twice.map(|n| format!("record {n} is upstream more than once")));
        violations.extend(rows.disorder());
        let (wrong, _) = self.central.wrong_wide().map_err(failed)?;
        let changed = |n: &u64| format!("record {n} is not what was published");
        violations.extend(wrong.iter().map(changed));
        self.known.upstream(rows.by_number)?;
        Ok(violations)
    }
}

/// A device whose buffer and quarantine are small, so that their parts come and go.
fn device(program: &Path, dir: &Path, log: &str, upstream: &str) -> Device {
    let log = dir.join(format!("{log}.log"));
    Device::new(program, &dir.join("nowhere"), &log)
        .with("--config", dir.join(CONFIG).display())
        .with("--upstream", upstream)
        .with("--device", DEVICE)
        .with("--clock-hold-s", 0)
        .with("--http-listen", "")
        .with("--buffer-bytes-max", BUFFER_BYTES_MAX)
        .with("--buffer-disk-free-bytes-min", 1 << 20)
        .with("--quarantine-bytes-max", QUARANTINE_BYTES_MAX)
        .with("--upstream-timeout-ms", 1_000)
        .with("--upstream-backoff-ms-min", 10)
        .with("--upstream-backoff-ms-max", 200)
        .with("--mqtt-backoff-ms-min", 10)
        .with("--mqtt-backoff-ms-max", 100)
        .with("--log-level", "warn")
}

fn is_locked(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}
