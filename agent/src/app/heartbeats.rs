//! The duty of a device to say how it is, once in a while.

use std::{
    io,
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use rand::RngExt as _;

use crate::{
    observe::{heartbeat::DEVICES, status::View},
    record::{own_rows, writer::Requests},
};

/// The first says how it is when the connections of the start have been made.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// Says it until it is dropped, or the writer ends.
pub(super) struct Heartbeats {
    /// Its end is what tells.
    _alive: mpsc::Sender<()>,
}

impl Heartbeats {
    /// Starts it, if anything is to be said.
    ///
    /// At most one row waits to be stored: where nothing can be stored, none is made either. The thread is one that
    /// nobody waits for: the writer may be waiting for the disk.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(view: &Arc<View>, requests: &Requests) -> io::Result<Option<Self>> {
        let Some(every) = view.settings().heartbeat else {
            return Ok(None);
        };
        // What the view holds is not kept from being closed.
        let (view, requests) = (Arc::downgrade(view), requests.clone());
        let (alive, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("dunlin-heart".into());
        thread.spawn(move || {
            let mut wait = every.min(FIRST_AFTER);
            // A fleet that was switched on together need not speak together.
            while told.recv_timeout(wait.mul_f64(rand::rng().random_range(0.9..=1.0)))
                == Err(RecvTimeoutError::Timeout)
            {
                wait = every;
                if say(&view, &requests, every).is_none() {
                    return;
                }
            }
        })?;
        Ok(Some(Self { _alive: alive }))
    }
}

/// Says how it is now, and waits until that is stored, or refused: it is said again anyway. `None` if nobody takes
/// it any more.
fn say(view: &Weak<View>, requests: &Requests, every: Duration) -> Option<()> {
    let row = (None, view.upgrade()?.heartbeat(every).cells());
    let (reply, answer) = mpsc::channel();
    let request = own_rows::request(DEVICES, DEVICES.into(), Vec::new(), vec![row], reply);
    requests.send(request).ok()?;
    if let Err(error) = answer.recv().ok()? {
        tracing::debug!(%error, "how this device is could not be stored");
    }
    Some(())
}
