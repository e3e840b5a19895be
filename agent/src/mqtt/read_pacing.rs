//! Fewer, larger reads under load.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{LinkProblem, link::Reader};

/// A broker writes every packet by itself, and a reader that is quick enough is woken for each. When
/// two reads fall within this time, the next one waits for as long: at full speed that is a
/// thousand wake-ups a second instead of fifty thousand, for a millisecond of delay. At low rates
/// nothing waits.
///
/// The thread sleeps, not the task: a runtime would go on being woken by the socket for every
/// packet. So whatever reads through this has a thread and a runtime of its own.
const PACE: Duration = Duration::from_millis(1);

/// When to read next.
#[derive(Debug)]
pub(crate) struct ReadPacing {
    last: Instant,
    due: bool,
}

impl ReadPacing {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
            due: false,
        }
    }

    /// Reads into the decoder, after a rest if there is reason for one. Cancel-safe.
    ///
    /// # Errors
    /// As [`Reader::fill`].
    pub(crate) async fn read(&mut self, reader: &mut Reader) -> Result<(), LinkProblem> {
        if self.due {
            self.due = false;
            thread::sleep(PACE.saturating_sub(self.last.elapsed()));
        }
        reader.fill().await?;
        let now = Instant::now();
        self.due = now - self.last < PACE;
        self.last = now;
        Ok(())
    }
}
