//! A disk that does not answer: no call ever returns, so nothing else could say it.
//!
//! Where a watchdog listens (`notify`) it restarts the agent; elsewhere the agent ends by itself, if it
//! was told to, for whoever starts it again.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// How often the disk is asked about.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The message may go to the disk that hangs.
const SAY_MAX: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
pub struct StallWatch {
    _stop: mpsc::Sender<()>,
}

impl StallWatch {
    /// Calls `end` once `hangs_for` says that the disk has not answered for `most`. Looks from a thread
    /// of its own, since every other may be waiting for that disk.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn begin(
        most: Duration,
        hangs_for: impl Fn(Instant) -> Option<Duration> + Send + 'static,
        end: impl FnOnce(String) + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::looking_every(LOOK_EVERY, most, hangs_for, end)
    }

    fn looking_every(
        gap: Duration,
        most: Duration,
        hangs_for: impl Fn(Instant) -> Option<Duration> + Send + 'static,
        end: impl FnOnce(String) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            while stopped.recv_timeout(gap) == Err(RecvTimeoutError::Timeout) {
                if let Some(took) = hangs_for(Instant::now()).filter(|took| *took >= most) {
                    return end(format!(
                        "the disk has not answered for {} s (stall_s_max): the agent ends, and \
                         whoever started it may start it again; nothing acknowledged is lost",
                        took.as_secs()
                    ));
                }
            }
        };
        thread::Builder::new()
            .name("dunlin-stall".into())
            .spawn(look)?;
        Ok(Self { _stop: stop })
    }
}

/// Says why, if that can be said at all, and ends the process with `code`.
pub fn say_and_exit(why: String, code: i32) {
    let (said, heard) = mpsc::channel();
    let say = move || {
        tracing::error!("{why}");
        // Nobody listens any more if this took too long.
        let _late = said.send(());
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _unsaid = heard.recv_timeout(SAY_MAX);
    }
    std::process::exit(code);
}

#[cfg(test)]
mod tests;
