//! Workers that never come back.

use super::*;

impl Workers {
    /// As if a worker had the task, and never came back.
    pub(in crate::learn::scheduler) fn lend(&mut self, task: u64) -> Arc<AtomicBool> {
        let given_up = Arc::default();
        self.at_work.push(AtWork {
            task,
            given_up: Arc::clone(&given_up),
        });
        given_up
    }

    pub(in crate::learn::scheduler) fn lost(&self) -> usize {
        self.lost
    }
}

#[test]
fn workers_are_not_lost_without_end() {
    let mut workers = Workers::new();
    for task in 0..=LOST_WORKERS_MAX as u64 {
        assert!(workers.has_room(1));
        let given_up = workers.lend(task);
        assert!(!workers.has_room(1));
        assert!(workers.give_up(task) && !workers.give_up(task));
        assert!(given_up.load(Relaxed), "it is told, should it still live");
    }
    assert!(!workers.has_room(1));
    workers.find_again();
    assert!(workers.has_room(1));
}
