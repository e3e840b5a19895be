//! Where time comes from: the operating system, or a test.

use std::{
    cell::Cell,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_sync::lock::unpoisoned;

/// Reads the clocks of a machine.
pub trait TimeSource: Debug + Send {
    /// The wall clock, nanoseconds since 1970 UTC. May jump.
    fn wall_ns(&self) -> i64;
    /// Nanoseconds since the machine started, suspension included. Never goes back.
    fn boot_ns(&self) -> i64;
    /// Whether the kernel calls its wall clock synchronised; `None`: it cannot be asked.
    fn synchronised(&self) -> Option<bool>;
    /// Names the current boot; `None`: not known.
    fn boot_id(&self) -> Option<String>;
}

/// How long an answer of the kernel about synchronisation is used.
const SYNCHRONISED_EVERY: Duration = Duration::from_secs(1);

/// The operating system.
#[derive(Debug, Default)]
pub struct System {
    asked: Cell<Option<(Instant, Option<bool>)>>,
}

impl TimeSource for System {
    fn wall_ns(&self) -> i64 {
        // Through std, whose seconds are 64 bits wide on 32-bit ARM too.
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }

    fn boot_ns(&self) -> i64 {
        #[cfg(target_os = "linux")]
        const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `now` is a valid timespec to write to; an unknown clock leaves it alone.
        #[allow(unsafe_code)]
        let _ = unsafe { libc::clock_gettime(CLOCK, &raw mut now) };
        // The fields are 32 bits wide on some targets.
        #[allow(clippy::useless_conversion)]
        let (seconds, nanos) = (i64::from(now.tv_sec), i64::from(now.tv_nsec));
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    }

    fn synchronised(&self) -> Option<bool> {
        if let Some((at, answer)) = self.asked.get()
            && at.elapsed() < SYNCHRONISED_EVERY
        {
            return answer;
        }
        let answer = ask_kernel();
        self.asked.set(Some((Instant::now(), answer)));
        answer
    }

    fn boot_id(&self) -> Option<String> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    }
}

#[cfg(target_os = "linux")]
fn ask_kernel() -> Option<bool> {
    // SAFETY: timex is plain integers, for which zero is valid; `modes` 0 only reads.
    #[allow(unsafe_code)]
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex.status)
    };
    (state >= 0).then_some(state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

#[cfg(not(target_os = "linux"))]
fn ask_kernel() -> Option<bool> {
    None
}

/// A machine whose clocks a test sets. Clones share them.
#[derive(Clone, Debug)]
pub struct Manual(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    wall_ns: i64,
    boot_ns: i64,
    synchronised: Option<bool>,
    boots: u64,
}

impl Manual {
    /// A machine just started, whose wall clock shows `wall_ns`.
    pub fn new(wall_ns: i64, synchronised: Option<bool>) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            wall_ns,
            boot_ns: 0,
            synchronised,
            boots: 0,
        })))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.with(|hands| {
            hands.wall_ns = hands.wall_ns.saturating_add(by_ns);
            hands.boot_ns = hands.boot_ns.saturating_add(by_ns);
        });
    }

    /// The wall clock is set; no time passes.
    pub fn set_wall(&self, wall_ns: i64) {
        self.with(|hands| hands.wall_ns = wall_ns);
    }

    /// The wall clock is stepped; no time passes.
    pub fn step_wall(&self, by_ns: i64) {
        self.with(|hands| hands.wall_ns = hands.wall_ns.saturating_add(by_ns));
    }

    /// The kernel changes its mind.
    pub fn set_synchronised(&self, synchronised: Option<bool>) {
        self.with(|hands| hands.synchronised = synchronised);
    }

    /// The machine starts anew, its wall clock showing `wall_ns`.
    pub fn reboot(&self, wall_ns: i64) {
        self.with(|hands| {
            hands.wall_ns = wall_ns;
            hands.boot_ns = 0;
            hands.boots += 1;
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Hands) -> T) -> T {
        let mut hands = unpoisoned(self.0.lock());
        act(&mut hands)
    }
}

impl TimeSource for Manual {
    fn wall_ns(&self) -> i64 {
        self.with(|hands| hands.wall_ns)
    }

    fn boot_ns(&self) -> i64 {
        self.with(|hands| hands.boot_ns)
    }

    fn synchronised(&self) -> Option<bool> {
        self.with(|hands| hands.synchronised)
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot-{}", self.with(|hands| hands.boots)))
    }
}
