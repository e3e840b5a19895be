//! What to subscribe to, while the session goes on.
//!
//! The broker keeps subscriptions with the session, so what is not wanted any more must be said, on this
//! connection or the next, until the broker has heard it.

use tokio::sync::watch;

use crate::topic::cover::without_covered;

/// Changes what an [`super::Ingest`] subscribes to.
#[derive(Clone, Debug)]
pub struct Subscriber(watch::Sender<Vec<String>>);

impl Subscriber {
    /// Subscribes to `filters` (MQTT syntax) and to nothing else, as soon as there is a connection.
    pub fn subscribe(&self, filters: Vec<String>) {
        self.0.send_if_modified(|wanted| {
            let is_new = *wanted != filters;
            *wanted = filters;
            is_new
        });
    }
}

/// The other end.
#[derive(Debug)]
pub(super) struct Wanted {
    asked: watch::Receiver<Vec<String>>,
    /// In force, or asked for on this connection.
    pub(super) filters: Vec<String>,
    /// Not wanted any more, as far as the broker has not heard it.
    pub(super) retired: Vec<String>,
}

pub(super) fn channel(filters: Vec<String>) -> (Subscriber, Wanted) {
    let (sender, asked) = watch::channel(filters.clone());
    let all = filters;
    let filters = without_covered(&all);
    // A session that lasts may have them from a run that asked for them.
    let is_covered = |filter: &String| !filters.contains(filter);
    let retired = all.into_iter().filter(is_covered).collect();
    (
        Subscriber(sender),
        Wanted {
            asked,
            filters,
            retired,
        },
    )
}

impl Wanted {
    /// Resolves when something else is wanted. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.asked.changed().await.is_err() {
            // Nobody can want anything else any more.
            std::future::pending::<()>().await;
        }
    }

    /// Takes what is wanted now; whether that is something else.
    pub(super) fn take(&mut self) -> bool {
        let wanted = without_covered(&self.asked.borrow_and_update());
        if wanted == self.filters {
            return false;
        }
        let before = std::mem::replace(&mut self.filters, wanted);
        self.retired.extend(before);
        self.retired.retain(|filter| !self.filters.contains(filter));
        self.retired.sort();
        self.retired.dedup();
        true
    }
}

#[cfg(test)]
mod tests;
