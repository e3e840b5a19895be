//! Keep-alive: when to ping, and when to give a connection up.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::LinkProblem;

/// Ping interval when the keep-alive is off: practically never.
const NEVER: Duration = Duration::from_hours(365 * 24);

/// Beats at three quarters of the keep-alive: the broker hangs up after one and a half.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    beat: Interval,
    heard: bool,
    wrote: bool,
}

impl KeepAlive {
    /// For a connection made just now; `keep_alive_s` 0: never pings, never gives up.
    pub(crate) fn new(keep_alive_s: u16) -> Self {
        Self::every(match keep_alive_s {
            0 => NEVER,
            s => Duration::from_millis(u64::from(s) * 750),
        })
    }

    fn every(period: Duration) -> Self {
        let mut beat = interval_at(Instant::now() + period, period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            beat,
            heard: true,
            wrote: true,
        }
    }

    /// Something was read, or nobody was reading.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    pub(crate) fn wrote(&mut self) {
        self.wrote = true;
    }

    /// Resolves when a ping is due. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkProblem::Silent`] if the last ping did not leave, or nothing has come back since.
    pub(crate) async fn beat(&mut self) -> Result<(), LinkProblem> {
        self.beat.tick().await;
        if !(self.heard && self.wrote) {
            return Err(LinkProblem::Silent);
        }
        (self.heard, self.wrote) = (false, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
