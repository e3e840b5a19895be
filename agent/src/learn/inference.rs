//! Live inference: every committed record of a watched stream is answered, in order.
//!
//! Promises: predictions are durable before the next records are read; after a restart inference
//! goes on behind the last durable prediction (whose source time is that of the record it answers),
//! so none is skipped and none answered twice. Records are answered in rounds of a bounded number;
//! all answers of a round, whatever their predictors, become durable together, and what has been promoted
//! meanwhile serves from the next round on, also amidst a long backlog. What was let go before it was
//! answered is counted.
//!
//! `rollout` says which version serves, `reader` which records are next, `round` has the `predictor` of
//! each stream answer them, `delivery` makes their predictions durable, `events` tells of what came to light.
//! Over a restart, `state` keeps a `snapshot` of each predictor, with which `resume` goes on.

mod delivery;
mod drift;
mod events;
pub(in crate::learn) mod predictor;
mod predictors;
mod reader;
mod resume;
mod rollout;
mod round;
mod rows;
mod snapshot;
mod state;

#[cfg(test)]
mod tests;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{runtime, time::timeout};

use crate::learn::{
    Shared,
    inference::{
        predictor::Predictor,
        predictors::Predictors,
        reader::Reader,
        resume::Resume,
        rollout::{Rollout, Switch},
        round::{Round, RoundEnd},
        state::StateFile,
    },
};

/// Longest wait for a commit before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Everything that answers records.
pub(super) struct Inference<'a> {
    shared: &'a Shared,
    reader: Reader,
    predictors: Predictors,
    rollout: Rollout,
    resume: Resume,
    state: StateFile,
}

impl<'a> Inference<'a> {
    /// Inference that goes on where it was when the agent ended.
    pub(super) fn resume(shared: &'a Shared) -> Self {
        let (buffer, state) = (&shared.buffer, StateFile::new(&shared.state_dir));
        let shape = buffer.shape();
        Self {
            shared,
            reader: Reader::behind(buffer, &shape),
            predictors: Predictors::default(),
            rollout: Rollout::new(),
            resume: Resume::find(shared, &shape, state.read()),
            state,
        }
    }

    /// Answers until the agent ends.
    ///
    /// # Errors
    /// If the operating system refuses what waiting needs.
    pub(super) fn run(mut self) -> Result<(), String> {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut committed = self.shared.buffer.committed();
        loop {
            // What one more round does not reach is answered at the next start.
            let stopping = self.shared.stop.load(Relaxed);
            self.refresh();
            let ended = self.round();
            if ended != RoundEnd::Ended {
                self.store(stopping);
                let is_answering = !self.predictors.is_empty();
                self.reader.want(&self.shared.buffer, is_answering);
            }
            match ended {
                _ if stopping => return Ok(()),
                RoundEnd::Ended => return Ok(()),
                RoundEnd::More => {}
                RoundEnd::Done => {
                    // The end of the wait matters, not its reason.
                    let _woken =
                        runtime.block_on(async { timeout(WAIT_MAX, committed.changed()).await });
                }
            }
        }
    }

    /// Has the versions serve that should.
    pub(super) fn refresh(&mut self) {
        self.rollout.refresh(Switch {
            shared: self.shared,
            predictors: &mut self.predictors,
            reader: &mut self.reader,
            resume: &mut self.resume,
        });
    }

    /// Answers the next records and makes the predictions durable.
    fn round(&mut self) -> RoundEnd {
        let end = self.rollout.settled_to(&self.shared.buffer);
        let mut round = Round::new(self.shared, &mut self.predictors);
        let ended = round.run(&mut self.reader, end);
        if round.has_news() {
            self.state.note_news();
        }
        ended
    }

    /// Stores what predictors know, if it is time or the agent `is_ending`.
    fn store(&mut self, is_ending: bool) {
        if self.state.is_due(is_ending) {
            let snapshots = self.predictors.iter().map(Predictor::snapshot);
            self.state
                .write(self.reader.rows_passed(), snapshots.collect());
        }
    }
}
