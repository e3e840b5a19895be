//! What keeps a task civil: a share of one core, a temperature, a time limit, and the agent's end.
//!
//! Promises: a step is logged without waiting for anything; rows go to the tables between steps, in
//! batches.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dunlin_models::recipe::{EpochEnd, Host, Step, Stopped};

use crate::{
    base::thermal,
    learn::{Shared, scheduler::task::Task, tables::Tables, training::checkpoint::Checkpoint},
};

/// Steps in one batch of the training log.
const LOG_BATCH_STEPS: usize = 256;
/// Longest a step waits to be handed to the tables.
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
    tables: Tables,
    cpu_share: f64,
    temperature_c_max: f64,
    deadline: Instant,
    /// The rescuer has given the task up.
    given_up: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    checkpoint: Checkpoint,
    begun: Instant,
    /// Begin of the work that has not been paid for.
    working_since: Instant,
    owed: Duration,
    next_heat_look: Instant,
    steps: Vec<Step>,
    last_log: Instant,
}

impl Governor {
    /// For `task`, whose worker is told by `given_up` that nobody waits for it any more.
    pub(super) fn new(shared: &Shared, task: &Task, given_up: &Arc<AtomicBool>) -> Self {
        let settings = &shared.settings;
        let now = Instant::now();
        // Its age counts as it does for the rescuer.
        let age_ns = (shared.wall_ns)().saturating_sub(task.started_ns);
        let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
        Self {
            task: task.clone(),
            tables: shared.tables.clone(),
            cpu_share: settings.cpu_share.clamp(0.01, 1.0),
            temperature_c_max: settings.temperature_c_max,
            deadline: now + settings.limit.saturating_sub(age),
            given_up: Arc::clone(given_up),
            stop: Arc::clone(&shared.stop),
            checkpoint: Checkpoint::new(&shared.state_dir, task),
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
            self.tables.steps(&self.task, &self.steps);
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
        self.tables.epoch(&self.task, &end);
    }

    fn save_checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        self.checkpoint.save(checkpoint)
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        self.checkpoint.load()
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
mod tests;
