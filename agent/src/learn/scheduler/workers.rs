//! Workers: threads at low priority that do one task each.
//!
//! Promises: whoever gives a task never waits for it; a worker whose task never returns is given up, and another
//! takes its place, [`LOST_WORKERS_MAX`] times.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::{
    config::settings::RecipeRule,
    learn::{
        Shared,
        scheduler::{
            ending::{self, Ending},
            task::Task,
        },
        training::run,
    },
};

/// Workers that never came back before nothing more is learnt.
const LOST_WORKERS_MAX: usize = 4;
/// Niceness of a task's thread: whatever else there is to do comes first.
const NICENESS: i32 = 15;

/// A task that has come back from its worker.
pub(super) struct Returned {
    pub(super) task: Task,
    pub(super) ending: Ending,
}

/// A task that a worker has.
struct AtWork {
    task: u64,
    /// Tells its worker that it was given up.
    given_up: Arc<AtomicBool>,
}

pub(super) struct Workers {
    at_work: Vec<AtWork>,
    lost: usize,
    tell_return: mpsc::Sender<Returned>,
    returned: mpsc::Receiver<Returned>,
}

impl Workers {
    pub(super) fn new() -> Self {
        let (tell_return, returned) = mpsc::channel();
        Self {
            at_work: Vec::new(),
            lost: 0,
            tell_return,
            returned,
        }
    }

    /// Whether one of `workers` is free.
    pub(super) fn has_room(&self, workers: usize) -> bool {
        self.at_work.len() < workers && self.lost <= LOST_WORKERS_MAX
    }

    /// Gives the task to a worker.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(
        &mut self,
        shared: &Arc<Shared>,
        rule: Arc<RecipeRule>,
        mut task: Task,
    ) -> io::Result<()> {
        let at_work = AtWork {
            task: task.id,
            given_up: Arc::default(),
        };
        let (shared, given_up) = (Arc::clone(shared), Arc::clone(&at_work.given_up));
        let returned = self.tell_return.clone();
        let worker = thread::Builder::new().name("dunlin-task".into());
        worker.spawn(move || {
            be_nice();
            let outcome = run::run(&shared, &rule, &mut task, &given_up);
            let ending = ending::decide(&shared, &task, outcome);
            // Nobody listens any more when the agent has ended.
            let _gone = returned.send(Returned { task, ending });
        })?;
        self.at_work.push(at_work);
        Ok(())
    }

    /// Whether none of them has a task.
    #[cfg(all(test, feature = "demo"))]
    pub(super) fn are_idle(&self) -> bool {
        self.at_work.is_empty()
    }

    /// The next task that comes back, if one does within `wait`.
    pub(super) fn next_returned(&self, wait: Duration) -> Option<Returned> {
        self.returned.recv_timeout(wait).ok()
    }

    /// The worker of the task is free again; `false` if it has none.
    pub(super) fn free(&mut self, task: u64) -> bool {
        let before = self.at_work.len();
        self.at_work.retain(|at_work| at_work.task != task);
        self.at_work.len() < before
    }

    /// Waits for the worker of the task no longer, and tells it so, should it still live; `false` if it has none.
    pub(super) fn give_up(&mut self, task: u64) -> bool {
        let Some(at) = self.at_work.iter().position(|a| a.task == task) else {
            return false;
        };
        self.at_work.remove(at).given_up.store(true, Relaxed);
        self.lost += 1;
        true
    }

    /// One that was given up has come back after all.
    pub(super) fn find_again(&mut self) {
        self.lost = self.lost.saturating_sub(1);
    }
}

/// Lowers the priority of this thread, as far as the system lets it.
#[allow(unsafe_code)]
fn be_nice() {
    // On Linux this concerns the calling thread alone.
    // SAFETY: a system call on numbers.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}

#[cfg(test)]
mod tests;
