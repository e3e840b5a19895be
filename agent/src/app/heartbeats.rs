//! The duty of a device to say how it is, once in a while.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use rand::RngExt as _;
use tokio::task::JoinHandle;

use crate::{
    observe::{heartbeat::DEVICES, status::View},
    record::{own_rows, writer::Requests},
};

/// The first says how it is when the connections of the start have been made.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// Starts it, if anything is to be said; until it is aborted, or the writer ends.
///
/// At most one row waits to be stored: where nothing can be stored, none is made either.
pub(super) fn start(view: &Arc<View>, requests: &Requests) -> Option<JoinHandle<()>> {
    let every = view.settings().heartbeat?;
    let (view, requests) = (Arc::clone(view), requests.clone());
    Some(tokio::spawn(async move {
        let mut wait = every.min(FIRST_AFTER);
        loop {
            // A fleet that was switched on together need not speak together.
            let part = rand::rng().random_range(0.9..=1.0);
            tokio::time::sleep(wait.mul_f64(part)).await;
            wait = every;
            let (view, requests) = (Arc::clone(&view), requests.clone());
            // The writer may be waiting for the disk.
            let said = tokio::task::spawn_blocking(move || say(&view, &requests, every));
            if !matches!(said.await, Ok(Some(()))) {
                return;
            }
        }
    }))
}

/// Says how it is now, and waits until that is stored, or refused: it is said again anyway. `None` if nobody takes
/// it any more.
fn say(view: &View, requests: &Requests, every: Duration) -> Option<()> {
    let row = (None, view.heartbeat(every).cells());
    let (reply, answer) = mpsc::channel();
    let request = own_rows::request(DEVICES, DEVICES.into(), Vec::new(), vec![row], reply);
    requests.send(request).ok()?;
    if let Err(error) = answer.recv().ok()? {
        tracing::debug!(%error, "how this device is could not be stored");
    }
    Some(())
}
