//! The bounded queue between the connection and the one thread that decodes and commits.
//!
//! The connection appends a whole read's publishes under one lock and wakes the consumer only if it
//! sleeps; the consumer takes everything at once, swapping its own empty vector in: at full speed
//! neither side allocates. When the queue is full the connection stops reading; it goes on pinging
//! and acknowledging, so a consumer may stall for as long as it likes.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

use bytes::Bytes;
use dunlin_sync::lock::unpoisoned;
use tokio::sync::Notify;

use super::Ack;
use crate::mqtt::wire::Publish;

/// One publish as it came. Topic and payload are slices of the read buffer: hold them briefly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Number of the connection it came over, from 1.
    pub connection: u64,
    /// Topic name as sent; not checked, not even for UTF-8.
    pub topic: Bytes,
    /// Payload, cut at `payload_bytes_max`.
    pub payload: Bytes,
    /// Length of the payload as sent, bytes; more than `payload.len()`: too large, cut.
    pub payload_bytes: usize,
    /// MQTT packet id; 0 for `QoS` 0.
    pub packet_id: u16,
    /// The broker says that it has sent this before.
    pub dup: bool,
    /// No acknowledgement wanted.
    pub qos0: bool,
    /// Retained by the broker, not live.
    pub retain: bool,
    /// The broker has said that it knew the session of this connection.
    pub session_present: bool,
}

impl Incoming {
    pub(super) fn new(connection: u64, session_present: bool, publish: Publish) -> Self {
        Self {
            connection,
            session_present,
            topic: publish.topic,
            payload: publish.payload,
            payload_bytes: publish.payload_bytes,
            packet_id: publish.packet_id,
            dup: publish.dup,
            qos0: publish.packet_id == 0,
            retain: publish.retain,
        }
    }

    /// What to hand to [`super::Acker::ack`] once this publish is durable; `None` for `QoS` 0.
    pub fn ack(&self) -> Option<Ack> {
        (!self.qos0).then_some(Ack {
            connection: self.connection,
            packet_id: self.packet_id,
        })
    }

    /// Whether the payload was cut because it is larger than allowed.
    pub fn too_large(&self) -> bool {
        self.payload_bytes > self.payload.len()
    }
}

/// What [`Inbox::recv`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Publishes.
    Some,
    /// Nothing until the deadline, or until a [`Waker`] said not to wait.
    TimedOut,
    /// Nothing, and nothing will come.
    Closed,
}

#[derive(Debug, Default)]
struct Queue {
    publishes: Vec<Incoming>,
    bytes: usize,
    waiting: bool,
    woken: bool,
    closed: bool,
}

#[derive(Debug)]
struct InboxState {
    queue: Mutex<Queue>,
    arrived: Condvar,
    room: Notify,
    publishes_max: usize,
    bytes_max: usize,
}

impl InboxState {
    // No code panics while it holds the lock; a poisoned queue would still be whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }

    fn full(&self, queue: &Queue) -> bool {
        queue.publishes.len() >= self.publishes_max || queue.bytes >= self.bytes_max
    }
}

/// The consumer's end. Dropping it makes the connection stop reading for good.
#[derive(Debug)]
pub struct Inbox(Arc<InboxState>);

/// Ends a wait of [`Inbox::recv`] early, or the next one if there is none.
#[derive(Clone, Debug)]
pub struct Waker(Arc<InboxState>);

impl Waker {
    /// Something besides a publish is waiting for the consumer.
    pub fn wake(&self) {
        let mut queue = self.0.lock();
        queue.woken = true;
        let wake = mem::take(&mut queue.waiting);
        drop(queue);
        if wake {
            self.0.arrived.notify_one();
        }
    }
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Outlet(Arc<InboxState>);

/// A queue that counts as full from `publishes_max` publishes or `bytes_max` bytes of topics and
/// payloads on. One read of the socket may overshoot either.
pub(crate) fn channel(publishes_max: usize, bytes_max: usize) -> (Outlet, Inbox) {
    let shared = Arc::new(InboxState {
        queue: Mutex::default(),
        arrived: Condvar::new(),
        room: Notify::new(),
        publishes_max,
        bytes_max,
    });
    (Outlet(shared.clone()), Inbox(shared))
}

impl Inbox {
    /// Waits for publishes, at most until `deadline` (`None`: for ever), and appends all there are
    /// to `into`, in order of arrival. Blocks the thread: not for async code.
    pub fn recv(&mut self, into: &mut Vec<Incoming>, deadline: Option<Instant>) -> Received {
        let mut queue = self.0.lock();
        while queue.publishes.is_empty() {
            if queue.closed {
                return Received::Closed;
            }
            if mem::take(&mut queue.woken) {
                return Received::TimedOut;
            }
            queue.waiting = true;
            queue = match deadline {
                None => unpoisoned(self.0.arrived.wait(queue)),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        queue.waiting = false;
                        return Received::TimedOut;
                    }
                    let waited = self.0.arrived.wait_timeout(queue, left);
                    unpoisoned(waited).0
                }
            };
        }
        queue.waiting = false;
        let was_full = self.0.full(&queue);
        if into.is_empty() {
            mem::swap(into, &mut queue.publishes);
        } else {
            into.append(&mut queue.publishes);
        }
        queue.bytes = 0;
        drop(queue);
        if was_full {
            self.0.room.notify_one();
        }
        Received::Some
    }

    /// For whoever has something else for the consumer.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }

    /// Publishes and bytes waiting now.
    pub fn backlog(&self) -> (usize, usize) {
        let queue = self.0.lock();
        (queue.publishes.len(), queue.bytes)
    }
}

impl Outlet {
    /// Appends `batch`, leaving it empty, and says whether there is room for more.
    pub(crate) fn push(&self, batch: &mut Vec<Incoming>) -> bool {
        let bytes: usize = batch.iter().map(|p| p.topic.len() + p.payload.len()).sum();
        let mut queue = self.0.lock();
        queue.publishes.append(batch);
        queue.bytes += bytes;
        let (wake, room) = (queue.waiting, !self.0.full(&queue));
        // One wake-up is enough until the consumer sleeps again.
        queue.waiting = false;
        drop(queue);
        if wake {
            self.0.arrived.notify_one();
        }
        room
    }

    /// Resolves when there is room.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.0.room.notified();
            if !self.0.full(&self.0.lock()) {
                return;
            }
            notified.await;
        }
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.0.arrived.notify_one();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
