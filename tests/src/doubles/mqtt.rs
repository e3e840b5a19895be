//! A double of an MQTT broker that does what the standard says and knows what was acknowledged.
//!
//! It serves one client with one persistent session: publishes that were sent and not acknowledged
//! are sent again after a reconnect, in order, with their packet ids and with DUP set; no more are
//! under way than the client's `receive_maximum`. Brokers that do otherwise are imitated: see [`Habit`].
//! It feeds numbered records as fast as they are taken, so nothing piles up here.

mod session;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use dunlin_sync::lock::unpoisoned;

pub use self::session::Habit;
use self::session::{Feed, Session};
use crate::{
    mqtt_packet::{
        Packet, {self as packet},
    },
    records::{Numbered, Publish},
};

/// Longest sleep of a writer that waits for something to write.
const WAIT: Duration = Duration::from_millis(50);
/// As long when publishes are paced.
const PACED_WAIT: Duration = Duration::from_millis(2);

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub connections: u64,
    /// Publishes sent, those sent again included.
    pub sent: u64,
    /// Of these with DUP set.
    pub sent_again: u64,
    /// Publishes acknowledged.
    pub acknowledged: u64,
    /// PUBACKs that named no publish under way.
    pub stray_acks: u64,
}

#[derive(Debug, Default)]
struct State {
    session: Session,
    /// Number of the connection that counts.
    connection: u64,
    socket: Option<TcpStream>,
    /// To be written to it before publishes.
    control: Vec<u8>,
    refuses: bool,
    is_stalled: bool,
    /// Reads done, whatever they brought.
    reads: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    // Every change is whole before the lock is released.
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, most);
        unpoisoned(waited).0
    }
}

/// A running double. Its threads end with the process.
#[derive(Debug)]
pub struct MqttDouble {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl MqttDouble {
    /// Listens on a free port of 127.0.0.1; takes MQTT 5 and 3.1.1.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&ours);
                // A connection that breaks is the test's business, not ours.
                thread::spawn(move || drop(serve(&shared, &socket)));
            }
        });
        Ok(Self { shared, address })
    }

    /// `mqtt://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes records from the next number on, below `end`, at most so many a second.
    pub fn feed(&self, numbered: Numbered, end: u64, rate_per_s: Option<f64>) {
        let mut state = self.shared.lock();
        let started = (Instant::now(), state.session.next_n);
        state.session.feed = Some(Feed {
            numbered,
            end,
            rate_per_s,
            started,
        });
        self.shared.changed.notify_all();
    }

    /// Publishes no more numbered records; returns the number that would have been next.
    pub fn stop_feeding(&self) -> u64 {
        let mut state = self.shared.lock();
        state.session.feed = None;
        state.session.next_n
    }

    /// Publishes this, after what waits already.
    pub fn publish(&self, publish: Publish) {
        let mut state = self.shared.lock();
        state.session.waiting.push_back((publish, false));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether record `n` was acknowledged, by number.
    pub fn acknowledged(&self) -> Vec<bool> {
        self.shared.lock().session.acknowledged.clone()
    }

    /// The number of the next record that has not been published.
    pub fn next_number(&self) -> u64 {
        self.shared.lock().session.next_n
    }

    /// Counters.
    pub fn counts(&self) -> Counts {
        self.shared.lock().session.counts
    }

    /// Publishes sent or waiting and not acknowledged.
    pub fn outstanding(&self) -> usize {
        let state = self.shared.lock();
        state.session.in_flight.len() + state.session.waiting.len()
    }

    /// From now on PUBACKs get lost on the way (or no longer).
    pub fn lose_acks(&self, lose: bool) {
        self.shared.lock().session.loses_acks = lose;
    }

    /// Imitates a broker that ignores the client's window (or no longer).
    pub fn ignore_window(&self, ignore: bool) {
        self.shared.lock().session.ignores_window = ignore;
        self.shared.changed.notify_all();
    }

    /// Imitates a broker that keeps no more than this under way, whatever the client allows.
    pub fn keep_under_way(&self, window_max: usize) {
        self.shared.lock().session.window_max = Some(window_max);
    }

    /// Sends again as this kind of broker does.
    pub fn behave(&self, habit: Habit) {
        self.shared.lock().session.habit = habit;
    }

    /// Imitates a restart that costs the broker the last `acks` PUBACKs, 64 at most.
    pub fn restart(&self, acks: usize) {
        self.shared.lock().session.forget(acks);
        self.cut();
    }

    /// Breaks the connection, if there is one.
    pub fn cut(&self) {
        if let Some(socket) = self.shared.lock().socket.take() {
            // Gone already is as good.
            let _gone = socket.shutdown(Shutdown::Both);
        }
    }

    /// New connections are closed at once (or served again).
    pub fn refuse(&self, refuse: bool) {
        self.shared.lock().refuses = refuse;
    }

    /// Neither reads nor writes, keeping connections open (or goes on).
    pub fn stall(&self, stall: bool) {
        self.shared.lock().is_stalled = stall;
        self.shared.changed.notify_all();
    }

    /// Waits until everything that a stopped client had written has been read here.
    pub fn settle(&self) {
        let mut quiet = 0;
        let mut before = None;
        while quiet < 3 {
            let now = {
                let state = self.shared.lock();
                let unread = state.socket.as_ref().map_or(0, |socket| {
                    rustix::io::ioctl_fionread(socket).unwrap_or_default()
                });
                (state.reads, unread)
            };
            quiet = if before == Some(now) && now.1 == 0 {
                quiet + 1
            } else {
                0
            };
            before = Some(now);
            // Not to synchronise: the kernel moves the bytes of a stopped process by itself, and only
            // silence tells that it has finished.
            thread::sleep(Duration::from_millis(3));
        }
    }
}

fn serve(shared: &Arc<Shared>, socket: &TcpStream) -> io::Result<()> {
    if shared.lock().refuses {
        return Ok(());
    }
    socket.set_nodelay(true)?;
    let mut reader = packet::Reader::new(socket.try_clone()?);
    let Some(Packet::Connect {
        is_v5,
        receive_maximum,
    }) = reader.next()?
    else {
        return Ok(());
    };
    let connection = {
        let mut state = shared.lock();
        if let Some(other) = state.socket.replace(socket.try_clone()?) {
            let _gone = other.shutdown(Shutdown::Both);
        }
        state.connection += 1;
        state.control.clear();
        let session_present = state.session.connected(is_v5, receive_maximum);
        packet::connack(is_v5, session_present, &mut state.control);
        shared.changed.notify_all();
        state.connection
    };
    reader.is_v5 = is_v5;
    let (writing, writer_socket) = (Arc::clone(shared), socket.try_clone()?);
    thread::spawn(move || drop(write(&writing, connection, writer_socket)));
    let end = read(shared, connection, &mut reader);
    let _gone = socket.shutdown(Shutdown::Both);
    shared.changed.notify_all();
    end
}

fn read(
    shared: &Shared,
    connection: u64,
    reader: &mut packet::Reader<TcpStream>,
) -> io::Result<()> {
    loop {
        let packet = reader.next()?;
        let mut state = shared.lock();
        while state.is_stalled && state.connection == connection {
            state = shared.wait(state, WAIT);
        }
        if state.connection != connection {
            return Ok(());
        }
        state.reads += 1;
        let is_v5 = reader.is_v5;
        match packet {
            None | Some(Packet::Disconnect) => return Ok(()),
            Some(Packet::PubAck(id)) => state.session.acknowledge(id),
            Some(Packet::Subscribe { id, filters }) => {
                packet::suback(is_v5, id, filters, &mut state.control);
                state.session.is_subscribed = true;
            }
            Some(Packet::Publish { id: Some(id) }) => packet::puback(id, &mut state.control),
            Some(Packet::PingReq) => state.control.extend([0xd0, 0]),
            Some(_) => {}
        }
        shared.changed.notify_all();
    }
}

fn write(shared: &Shared, connection: u64, mut socket: TcpStream) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        let mut state = shared.lock();
        loop {
            if state.connection != connection {
                return Ok(());
            }
            if !state.is_stalled {
                out.append(&mut state.control);
                state.session.send_into(&mut out);
                if !out.is_empty() {
                    break;
                }
            }
            let paced = state.session.is_paced();
            state = shared.wait(state, if paced { PACED_WAIT } else { WAIT });
        }
        drop(state);
        socket.write_all(&out)?;
        out.clear();
    }
}
