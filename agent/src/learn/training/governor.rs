//! What keeps a task civil: a share of one core, a temperature, a time limit, and the agent's end.
//!
//! Promises: a step is logged without waiting for anything; rows go to the journal between steps, in
//! batches; a checkpoint is durable when it is said to be kept.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dunlin_models::recipe::{EpochEnd, Host, Step, Stopped};
use dunlin_sync::files::state_file;

use crate::{
    base::thermal,
    config::settings::LearnSettings,
    learn::{scheduler::task::Task, tables::Journal},
};

/// Steps in one batch of the training log.
const LOG_BATCH_STEPS: usize = 256;
/// Longest a step waits to be handed to the journal.
const LOG_GAP: Duration = Duration::from_secs(1);
/// Work is paid for with rest in portions of this.
const REST_MIN: Duration = Duration::from_millis(2);
/// Longest rest at once, so that the end of the agent is noticed.
const REST_MAX: Duration = Duration::from_millis(100);
/// How often the temperature is looked at, and how long a hot device is left alone.
const HEAT_GAP: Duration = Duration::from_secs(2);
/// Where Linux tells temperatures, in thousandths of a degree Celsius.
const THERMAL: &str = "/sys/class/thermal";

/// The host of one task.
pub(in crate::learn) struct Governor {
    task: Task,
    journal: Journal,
    cpu_share: f64,
    temperature_c_max: f64,
    deadline: Instant,
    /// The scan has given the task up.
    given_up: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    checkpoint: PathBuf,
    begun: Instant,
    /// Begin of the work that has not been paid for.
    working_since: Instant,
    owed: Duration,
    next_heat_look: Instant,
    steps: Vec<Step>,
    last_log: Instant,
}

impl Governor {
    pub(in crate::learn) fn new(
        task: &Task,
        journal: Journal,
        settings: &LearnSettings,
        (stop, given_up): (Arc<AtomicBool>, Arc<AtomicBool>),
        checkpoint: PathBuf,
        now_ns: i64,
    ) -> Self {
        let now = Instant::now();
        // Its age counts from when it joined its queue, as for the scan.
        let age_ns = now_ns.saturating_sub(task.started_ns);
        let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
        Self {
            task: task.clone(),
            journal,
            cpu_share: settings.cpu_share.clamp(0.01, 1.0),
            temperature_c_max: settings.temperature_c_max,
            deadline: now + settings.limit.saturating_sub(age),
            given_up,
            stop,
            checkpoint,
            begun: now,
            working_since: now,
            owed: Duration::ZERO,
            next_heat_look: now,
            steps: Vec::with_capacity(LOG_BATCH_STEPS),
            last_log: now,
        }
    }

    fn log_steps(&mut self) {
        if !self.steps.is_empty() {
            self.journal.steps(&self.task, &self.steps);
            self.steps.clear();
        }
        self.last_log = Instant::now();
    }

    fn rest(&mut self) -> Result<(), Stopped> {
        let worked = self.working_since.elapsed();
        self.owed += worked.mul_f64((1.0 - self.cpu_share) / self.cpu_share);
        while self.owed >= REST_MIN {
            self.check()?;
            let rest = self.owed.min(REST_MAX);
            let before = Instant::now();
            thread::sleep(rest);
            self.owed = self.owed.saturating_sub(before.elapsed());
        }
        Ok(())
    }

    fn cool_down(&mut self) -> Result<(), Stopped> {
        if Instant::now() < self.next_heat_look {
            return Ok(());
        }
        while hottest_c(Path::new(THERMAL)).is_some_and(|c| c > self.temperature_c_max) {
            self.check()?;
            thread::sleep(REST_MAX);
        }
        self.next_heat_look = Instant::now() + HEAT_GAP;
        Ok(())
    }

    /// Whether the task may go on.
    pub(in crate::learn) fn check(&self) -> Result<(), Stopped> {
        if self.stop.load(Relaxed) {
            return Err(Stopped::Shutdown);
        }
        if self.given_up.load(Relaxed) || Instant::now() >= self.deadline {
            return Err(Stopped::TimeLimit);
        }
        Ok(())
    }
}

impl Drop for Governor {
    fn drop(&mut self) {
        self.log_steps();
    }
}

impl Host for Governor {
    fn pace(&mut self) -> Result<(), Stopped> {
        self.check()?;
        if self.steps.len() >= LOG_BATCH_STEPS
            || (!self.steps.is_empty() && self.last_log.elapsed() >= LOG_GAP)
        {
            self.log_steps();
        }
        self.rest()?;
        self.cool_down()?;
        self.working_since = Instant::now();
        Ok(())
    }

    fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn epoch(&mut self, end: EpochEnd) {
        self.journal.epoch(&self.task, &end);
    }

    fn save_checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        let kept = (self.task.id, self.task.seed, checkpoint.to_vec());
        state_file::write(&self.checkpoint, &kept)
            .map_err(|error| format!("{}: {error}", self.checkpoint.display()))
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        let kept: Result<Option<(u64, u64, Vec<u8>)>, _> = state_file::read(&self.checkpoint);
        match kept {
            Ok(kept) => kept
                // Numbers begin anew where the list of tasks was lost; a seed is drawn for each.
                .filter(|(id, seed, _)| (*id, *seed) == (self.task.id, self.task.seed))
                .map(|(_, _, checkpoint)| checkpoint),
            Err(error) => {
                tracing::warn!(%error, "training begins anew without its checkpoint");
                None
            }
        }
    }

    fn elapsed_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

/// The hottest zone below `dir`, degrees Celsius; `None` where there is none.
fn hottest_c(dir: &Path) -> Option<f64> {
    let zones = thermal::zones(dir).into_iter();
    zones.map(|zone| zone.celsius).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, sync::atomic::AtomicU64};

    use super::*;
    use crate::{
        learn::{
            LearnStats,
            scheduler::task::TaskState,
            tests::{NOW_NS, settings},
        },
        record::writer::Requests,
    };

    struct Desk {
        dir: tempfile::TempDir,
        stop: Arc<AtomicBool>,
        given_up: Arc<AtomicBool>,
        stats: Arc<LearnStats>,
        requests: Option<std::sync::mpsc::Receiver<Vec<crate::record::writer::Request>>>,
    }

    impl Desk {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
                stop: Arc::default(),
                given_up: Arc::default(),
                stats: Arc::default(),
                requests: None,
            }
        }

        fn governor(&mut self, task: &Task) -> Governor {
            let (requests, received) = Requests::to_nobody(1_000);
            self.requests = Some(received);
            Governor::new(
                task,
                Journal::new(requests, Arc::clone(&self.stats)),
                &settings(Vec::new()),
                (Arc::clone(&self.stop), Arc::clone(&self.given_up)),
                self.dir.path().join("checkpoint"),
                NOW_NS,
            )
        }
    }

    fn task(id: u64, seed: u64) -> Task {
        Task {
            seed,
            started_ns: NOW_NS,
            ..crate::learn::tests::task(id, TaskState::Training)
        }
    }

    #[test]
    fn a_task_ends_with_the_agent_when_given_up_and_when_it_is_too_old() {
        let mut desk = Desk::new();
        let mut governor = desk.governor(&task(1, 1));
        assert_eq!(governor.pace(), Ok(()));
        desk.given_up.store(true, Relaxed);
        assert_eq!(governor.pace(), Err(Stopped::TimeLimit));
        desk.stop.store(true, Relaxed);
        assert_eq!(
            governor.pace(),
            Err(Stopped::Shutdown),
            "this one goes on later"
        );

        let mut desk = Desk::new();
        let limit_ns = settings(Vec::new()).limit.as_nanos() as i64;
        let aged = |age_ns| Task {
            started_ns: NOW_NS - age_ns,
            ..task(1, 1)
        };
        assert_eq!(
            desk.governor(&aged(limit_ns)).pace(),
            Err(Stopped::TimeLimit)
        );
        assert_eq!(desk.governor(&aged(limit_ns / 2)).pace(), Ok(()));
        // The clock went back.
        assert_eq!(desk.governor(&aged(-limit_ns)).pace(), Ok(()));
    }

    #[test]
    fn a_checkpoint_comes_back_to_its_own_task_alone() {
        let mut desk = Desk::new();
        let mut governor = desk.governor(&task(1, 10));
        assert_eq!(governor.load_checkpoint(), None);
        governor.save_checkpoint(b"first").unwrap();
        governor.save_checkpoint(b"second").unwrap();
        assert_eq!(governor.load_checkpoint().unwrap(), b"second");
        assert_eq!(
            desk.governor(&task(1, 10)).load_checkpoint().unwrap(),
            b"second"
        );
        assert_eq!(desk.governor(&task(2, 10)).load_checkpoint(), None);
        assert_eq!(desk.governor(&task(1, 11)).load_checkpoint(), None);
        let path = desk.dir.path().join("checkpoint");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(desk.governor(&task(1, 10)).load_checkpoint(), None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let refused = desk.governor(&task(1, 10)).save_checkpoint(b"third");
        assert!(refused.unwrap_err().contains("checkpoint"));
    }

    #[test]
    fn every_step_is_handed_over_or_counted_as_lost() {
        let steps = |desk: &mut Desk, count: u64| {
            let mut governor = desk.governor(&task(1, 1));
            for step in 0..count {
                governor.pace().unwrap();
                governor.step(Step {
                    step,
                    ..Step::default()
                });
            }
            governor
        };
        let mut desk = Desk::new();
        drop(steps(&mut desk, 1_000));
        let requests = desk.requests.take().unwrap();
        let rows: usize = requests
            .try_iter()
            .flatten()
            .map(|request| match request.content {
                crate::record::writer::RequestContent::Records { records, .. } => records.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(rows, 1_000);
        let lost = |desk: &Desk| AtomicU64::load(&desk.stats.rows_lost, Relaxed);
        assert_eq!(lost(&desk), 0);
        let governor = steps(&mut desk, 100);
        desk.requests = None;
        drop(governor);
        assert_eq!(lost(&desk), 100);
    }

    #[test]
    fn the_hottest_zone_counts_and_one_that_says_nothing_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(hottest_c(dir.path()), None);
        for (zone, text) in [("a", "41500\n"), ("b", "67250\n"), ("c", "rubbish")] {
            fs::create_dir(dir.path().join(zone)).unwrap();
            fs::write(dir.path().join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(hottest_c(dir.path()), Some(67.25));
        assert_eq!(hottest_c(Path::new("/nowhere")), None);
    }
}
