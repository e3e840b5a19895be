//! What a service manager is told, by systemd's protocol: one datagram a message to the socket that it
//! names in `NOTIFY_SOCKET`.
//!
//! Promises: ready once the data directory is open and every worker runs, whether or not a broker or
//! an upstream is there; the watchdog hears from us only while no worker has ended and the disk
//! answers; a manager that does not listen costs nothing.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dunlin_sync::lock::unpoisoned;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::observe::status::{Status, View};

/// How often the status line is looked at, if the watchdog does not want to hear more often.
const TELL_GAP: Duration = Duration::from_secs(10);

/// The way to the service manager, or to nobody.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// To whoever started us; to nobody if that is no service manager.
    pub fn from_env() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        Self::to(&address).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager's socket cannot be reached");
            Self::default()
        })
    }

    /// To the socket at `address`: a path, or a name in the abstract namespace after an `@`.
    ///
    /// # Errors
    /// What the system said.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes() {
            [b'@', name @ ..] => connect_abstract(&socket, name)?,
            _ => socket.connect(address)?,
        }
        // A manager that does not read must not hold us up.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some(socket),
        })
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Says `message`, assignments one a line; what is not taken is not said again.
    pub fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How often the watchdog wants to hear from this process at least; `None`: there is none.
pub fn watchdog() -> Option<Duration> {
    let of = |name| std::env::var(name).ok();
    watchdog_of(of("WATCHDOG_USEC"), of("WATCHDOG_PID"), std::process::id())
}

fn watchdog_of(usec: Option<String>, pid: Option<String>, us: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(us)) {
        return None;
    }
    let usec = usec?.parse().ok().filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

/// What is said from the start to the end.
pub struct Telling {
    notifier: Arc<Notifier>,
    said: Arc<Mutex<Said>>,
    task: Option<JoinHandle<()>>,
}

/// What has been said last.
#[derive(Debug, Default)]
struct Said {
    status: String,
    /// The agent ends: workers end too, which is as it should be.
    stopping: bool,
}

impl Said {
    /// What is to be said now, if anything.
    fn next(&mut self, working: &Result<(), String>, status: &str) -> Option<String> {
        let mut lines = Vec::new();
        let status = match working {
            Err(why) if !self.stopping => why,
            _ => {
                lines.push("WATCHDOG=1".to_owned());
                status
            }
        };
        if self.status != status && !self.stopping {
            // One line, whatever a broker has said.
            let line: String = status
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            lines.push(format!("STATUS={line}"));
            status.clone_into(&mut self.status);
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Telling {
    /// Says that the agent is ready, and from then on how it is, twice as often as the watchdog
    /// wants to hear. Must be called on a tokio runtime.
    pub fn begin(notifier: Notifier, watchdog: Option<Duration>, view: &Arc<View>) -> Self {
        let (notifier, said) = (Arc::new(notifier), Arc::<Mutex<Said>>::default());
        notifier.tell("READY=1");
        let task = notifier.is_heard().then(|| {
            let (notifier, said, view) =
                (Arc::clone(&notifier), Arc::clone(&said), Arc::clone(view));
            tokio::spawn(async move {
                let half = watchdog.map(|period| period / 2);
                let gap = half.map_or(TELL_GAP, |half| half.min(TELL_GAP));
                let mut ticks = tokio::time::interval(gap.max(Duration::from_millis(1)));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let (working, line) = (view.working(Instant::now()), line(&view.status()));
                    let message = unpoisoned(said.lock()).next(&working, &line);
                    if let Some(message) = message {
                        notifier.tell(&message);
                    }
                }
            })
        });
        Self {
            notifier,
            said,
            task,
        }
    }

    /// Says that the agent ends; the watchdog goes on hearing from us until this is dropped.
    pub fn stopping(&self) {
        unpoisoned(self.said.lock()).stopping = true;
        let status = "STATUS=stopping: committing and uploading what is left";
        self.notifier.tell(&format!("STOPPING=1\n{status}"));
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn line(status: &Status) -> String {
    let mqtt = &status.mqtt;
    let connected = if mqtt.connected {
        "connected to"
    } else {
        "NOT connected to"
    };
    let full = if status.buffer.full { "; FULL" } else { "" };
    format!(
        "{connected} {}; {} records committed, {} wait for the upstream{full}",
        mqtt.broker, status.records.committed, status.upstream.lag_rows
    )
}

#[cfg(test)]
mod tests;
