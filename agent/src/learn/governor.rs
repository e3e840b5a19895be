//! What keeps a task civil: a share of one core, a temperature, a time limit, and the agent's end.
//!
//! Promises: a step is logged without waiting for anything; rows go to the journal between steps, in
//! batches; a checkpoint is durable when it is said to be kept.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dunlin_models::recipe::{EpochEnd, Host, Step, Stopped};
use dunlin_sync::state_file;

use super::{journal::Journal, task::Task};
use crate::settings::LearnSettings;

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
pub(super) struct Governor {
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
    pub(super) fn new(
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
    pub(super) fn check(&self) -> Result<(), Stopped> {
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
    let zones = fs::read_dir(dir).ok()?.flatten();
    let milli = zones.filter_map(|zone| {
        let text = fs::read_to_string(zone.path().join("temp")).ok()?;
        text.trim().parse::<f64>().ok()
    });
    milli.map(|milli| milli / 1_000.0).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
