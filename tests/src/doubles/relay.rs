//! A relay between an agent and whatever it talks to, where connections are cut, stalled and slowed.
//!
//! Between an agent and a broker it reads along: it knows which records the agent was sent and which
//! of them it has acknowledged, and can lose the acknowledgements on the way.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use dunlin_sync::lock::unpoisoned;

use crate::{mqtt_packet, records::number_in};

/// Longest sleep of a pump that is stalled.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes passed on between two pauses when slow.
const SLOW_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From the agent.
    Out,
    /// To the agent.
    In,
}

/// What the relay has read along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections taken.
    pub connections: u64,
    /// Subscriptions that the broker has confirmed.
    pub subscribed: u64,
    /// Records sent to the agent, by number.
    pub sent: BTreeSet<u64>,
    /// Publishes sent to the agent with DUP set.
    pub sent_again: u64,
    /// Records whose PUBACK the broker got, by number.
    pub acknowledged: BTreeSet<u64>,
    /// Records whose PUBACK was lost here, by number.
    pub acks_lost: BTreeSet<u64>,
    /// PUBACKs passed on, whatever they were for.
    pub acks: u64,
}

/// When what was read along.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Records sent to the agent, by number.
    pub sent: HashMap<u64, Instant>,
    /// PUBACKs of the agent, by number of the record.
    pub acknowledged: HashMap<u64, Instant>,
    /// Publishes of the agent with their payloads, in order.
    pub published: Vec<(Instant, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    times: Option<Times>,
    sockets: Vec<(u64, TcpStream)>,
    refuses: bool,
    is_stalled: bool,
    bytes_per_s: Option<u64>,
    /// So many more PUBACKs pass, the rest is lost; `None`: all pass.
    acks_left: Option<u64>,
    /// Connections up to this number carry nothing any more and do not say so.
    dead_to: u64,
    /// Cuts every connection after this many more publishes.
    cut_after: Option<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

/// A running relay. Its threads end with the process.
#[derive(Clone, Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Relay {
    /// A relay to a broker; reads along.
    ///
    /// # Errors
    /// The operating system's.
    pub fn mqtt(to: SocketAddr) -> io::Result<Self> {
        Self::start(to, true)
    }

    /// A relay to anything.
    ///
    /// # Errors
    /// The operating system's.
    pub fn tcp(to: SocketAddr) -> io::Result<Self> {
        Self::start(to, false)
    }

    fn start(to: SocketAddr, is_mqtt: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                // A connection that cannot be passed on is closed: that is what the agent sees then.
                drop(connect(&ours, &agent, to, is_mqtt));
            }
        });
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `mqtt://127.0.0.1:port`.
    pub fn mqtt_url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// What was read along.
    pub fn seen(&self) -> Seen {
        self.shared.lock().seen.clone()
    }

    /// Takes times from now on.
    pub fn start_times(&self) {
        self.shared.lock().times = Some(Times::default());
    }

    /// The times taken so far.
    pub fn times(&self) -> Times {
        self.shared.lock().times.clone().unwrap_or_default()
    }

    /// Number of records acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.lock().seen.acknowledged.len()
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        for (_, socket) in self.shared.lock().sockets.drain(..) {
            // Gone already is as good.
            let _gone = socket.shutdown(Shutdown::Both);
        }
    }

    /// Breaks every connection once `publishes` more have gone through.
    pub fn cut_after(&self, publishes: u64) {
        self.shared.lock().cut_after = Some(publishes);
    }

    /// New connections are closed at once (or served again).
    pub fn refuse(&self, refuse: bool) {
        self.shared.lock().refuses = refuse;
    }

    /// Nothing moves; connections stay open (or all goes on).
    pub fn stall(&self, stall: bool) {
        self.shared.lock().is_stalled = stall;
        self.shared.changed.notify_all();
    }

    /// The connections there are now carry nothing any more, and nobody is told.
    pub fn half_open(&self) {
        let mut state = self.shared.lock();
        state.dead_to = state.seen.connections;
    }

    /// At most so many bytes a second each way (or as fast as it goes).
    pub fn slow(&self, bytes_per_s: Option<u64>) {
        self.shared.lock().bytes_per_s = bytes_per_s;
    }

    /// The agent's PUBACKs get lost (or no longer).
    pub fn lose_acks(&self, lose: bool) {
        self.shared.lock().acks_left = lose.then_some(0);
    }

    /// So many more of the agent's PUBACKs pass, those behind get lost.
    pub fn lose_acks_after(&self, count: u64) {
        self.shared.lock().acks_left = Some(count);
    }
}

fn connect(
    shared: &Arc<Shared>,
    agent: &TcpStream,
    to: SocketAddr,
    is_mqtt: bool,
) -> io::Result<()> {
    if shared.lock().refuses {
        return Ok(());
    }
    let far = TcpStream::connect(to)?;
    for socket in [agent, &far] {
        socket.set_nodelay(true)?;
    }
    let number = {
        let mut state = shared.lock();
        state.seen.connections += 1;
        let number = state.seen.connections;
        for socket in [agent, &far] {
            state.sockets.push((number, socket.try_clone()?));
        }
        number
    };
    let reading = Arc::new(Mutex::new(Reading::default()));
    for (direction, from, into) in [
        (Direction::Out, agent.try_clone()?, far.try_clone()?),
        (Direction::In, far, agent.try_clone()?),
    ] {
        let pump = Pump {
            shared: Arc::clone(shared),
            number,
            direction,
            reading: is_mqtt.then(|| Arc::clone(&reading)),
        };
        thread::spawn(move || pump.run(from, into));
    }
    Ok(())
}

/// One connection's MQTT, read along.
#[derive(Debug, Default)]
struct Reading {
    is_v5: bool,
    /// Records under way, by packet id: oldest first, for mosquitto, under backlog, has more than
    /// 65,535 publishes under way and uses ids twice.
    under_way: HashMap<u16, VecDeque<Option<u64>>>,
}

struct Pump {
    shared: Arc<Shared>,
    number: u64,
    direction: Direction,
    reading: Option<Arc<Mutex<Reading>>>,
}

impl Pump {
    fn run(self, mut from: TcpStream, mut into: TcpStream) {
        // However it ends, both ends are told.
        let _ended = self.pass_on(&mut from, &mut into);
        for socket in [from, into] {
            let _gone = socket.shutdown(Shutdown::Both);
        }
        let number = self.number;
        self.shared
            .lock()
            .sockets
            .retain(|(other, _)| *other != number);
    }

    fn pass_on(&self, from: &mut TcpStream, into: &mut TcpStream) -> io::Result<()> {
        let mut pending = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = from.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            let mut state = self.shared.lock();
            while state.is_stalled && state.sockets.iter().any(|(n, _)| *n == self.number) {
                let waited = self.shared.changed.wait_timeout(state, WAIT);
                state = unpoisoned(waited).0;
            }
            if self.number <= state.dead_to {
                continue;
            }
            let pace = state.bytes_per_s;
            drop(state);
            let mut out = Vec::new();
            if self.reading.is_some() {
                pending.extend_from_slice(&chunk[..read]);
                self.read_along(&mut pending, &mut out)?;
            } else {
                out.extend_from_slice(&chunk[..read]);
            }
            let Some(bytes_per_s) = pace else {
                into.write_all(&out)?;
                continue;
            };
            for part in out.chunks(SLOW_BYTES) {
                into.write_all(part)?;
                // The slowness itself.
                thread::sleep(Duration::from_secs_f64(
                    part.len() as f64 / bytes_per_s as f64,
                ));
            }
        }
    }

    /// Moves whole packets from `pending` to `out`, but for those that get lost.
    fn read_along(&self, pending: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(reading) = &self.reading else {
            return Ok(());
        };
        let mut reading = unpoisoned(reading.lock());
        let mut at = 0;
        while let Some((head, body)) = mqtt_packet::frame(&pending[at..])? {
            let end = at + head + body;
            let Some(packet) = pending.get(at..end) else {
                break;
            };
            let mut state = self.shared.lock();
            let passes = match (self.direction, packet[0] >> 4) {
                (Direction::Out, 1) => {
                    // Protocol name, then its level.
                    reading.is_v5 = packet.get(head + 6) == Some(&5);
                    true
                }
                (Direction::Out, 3) => {
                    if let Some(times) = &mut state.times {
                        let publish =
                            mqtt_packet::read_publish(packet[0], &packet[head..], reading.is_v5)?;
                        times
                            .published
                            .push((Instant::now(), publish.payload.to_vec()));
                    }
                    true
                }
                (Direction::Out, 4) => acknowledge(&mut reading, &packet[head..], &mut state),
                (Direction::In, 9) => {
                    state.seen.subscribed += 1;
                    true
                }
                (Direction::In, 3) => sent(&mut reading, packet, head, &mut state)?,
                _ => true,
            };
            if !passes {
                drop(state);
                pending.drain(..end);
                if self.direction == Direction::In {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                at = 0;
                continue;
            }
            out.extend_from_slice(packet);
            at = end;
        }
        pending.drain(..at);
        Ok(())
    }
}

/// Whether this PUBACK is passed on.
fn acknowledge(reading: &mut Reading, body: &[u8], state: &mut State) -> bool {
    let Some(id) = body.first_chunk::<2>() else {
        return true;
    };
    let under_way = reading.under_way.get_mut(&u16::from_be_bytes(*id));
    let n = under_way.and_then(VecDeque::pop_front).flatten();
    match &mut state.acks_left {
        Some(0) => {
            state.seen.acks_lost.extend(n);
            return false;
        }
        Some(left) => *left -= 1,
        None => {}
    }
    if let (Some(times), Some(n)) = (&mut state.times, n) {
        times.acknowledged.insert(n, Instant::now());
    }
    state.seen.acks += 1;
    state.seen.acknowledged.extend(n);
    true
}

/// Whether this publish is passed on; if not, the connection is to be cut.
fn sent(reading: &mut Reading, packet: &[u8], head: usize, state: &mut State) -> io::Result<bool> {
    if let Some(left) = &mut state.cut_after {
        if *left == 0 {
            state.cut_after = None;
            return Ok(false);
        }
        *left -= 1;
    }
    let publish = mqtt_packet::read_publish(packet[0], &packet[head..], reading.is_v5)?;
    let n = number_in(publish.payload);
    if let (Some(times), Some(n)) = (&mut state.times, n) {
        times.sent.insert(n, Instant::now());
    }
    state.seen.sent.extend(n);
    state.seen.sent_again += u64::from(publish.dup);
    if let Some(id) = publish.id {
        reading.under_way.entry(id).or_default().push_back(n);
    }
    Ok(true)
}
