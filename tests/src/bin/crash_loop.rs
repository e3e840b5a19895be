//! Kills the agent at random moments while it ingests at full speed, and counts what arrived.
//!
//! `crash_loop [--kills N] [--seed S]`. Broker (a double, or the one that `DUNLIN_MQTT_URL` names) and
//! upstream stay up; the agent is this program, or the one that `DUNLIN_AGENT_PROGRAM` names. At the end every
//! record that was acknowledged, and every one published at all, is upstream exactly once, with timestamps in the
//! order of arrival, and no row has changed since it was first seen there. Some records take several blocks, some
//! the upstream refuses for a while, and the device is renamed again and again. Prints one line of JSON; exits
//! with 1 on a violation. A SIGKILL says nothing about a power cut: that is `power_cut`.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use dunlin_agent::mqtt::url::BrokerUrl;
use dunlin_tests::{
    central::{Central, Row},
    device::{Device, as_agent, program, until},
    doubles::{mqtt::MqttDouble, relay::Relay},
    options::{option, refuse_others},
    publisher::Publisher,
    records::Numbered,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

/// Records a second: above what the uploader takes in a debug build, below what fills the buffer.
const RATE_PER_S: f64 = 20_000.0;
/// For everything to arrive at the end.
const DRAIN_MAX: Duration = Duration::from_mins(2);
/// Without a PUBACK although there are records to come.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);
/// Names that the device has in turn.
const NAMES: u32 = 4;
/// Violations shown.
const SHOWN: usize = 10;

fn main() -> ExitCode {
    if let Some(code) = as_agent() {
        return code;
    }
    refuse_others(&["kills", "seed"]);
    let kills = option("kills").unwrap_or(20);
    let seed = option("seed").unwrap_or_else(rand::random::<u64>);
    match run(kills, seed) {
        Ok(violations) if violations.is_empty() => ExitCode::SUCCESS,
        Ok(violations) => {
            for violation in violations.iter().take(SHOWN) {
                eprintln!("violation: {violation}");
            }
            eprintln!(
                "{} violations; again with: crash_loop --kills {kills} --seed {seed}",
                violations.len()
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}\nagain with: crash_loop --kills {kills} --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn run(kills: u64, seed: u64) -> Result<Vec<String>, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
    let central = Central::new(dir.path());
    let numbered = Numbered {
        bad_every: 101,
        wide_every: 1_009,
        shunned_every: 7,
        ..Numbered::new(&format!("crash-{}", std::process::id()))
    };
    let broker = Source::start()?;
    let relay = Relay::mqtt(broker.address()?).map_err(|e| failed(&e))?;
    let program = program().map_err(|e| failed(&e))?;
    let config = dir.path().join("dunlin.toml");
    std::fs::write(&config, numbered.rules()).map_err(|e| failed(&e))?;
    let mut device = Device::new(&program, &dir.path().join("data"), &dir.path().join("log"))
        .with("--mqtt", relay.mqtt_url())
        .with("--config", config.display())
        .with("--upstream", central.url())
        .with("--device", &numbered.prefix)
        .with("--clock-hold-s", 0)
        .with("--http-listen", "")
        .with("--mqtt-backoff-ms-min", 10)
        .with("--mqtt-backoff-ms-max", 100)
        .with("--log-level", "warn");

    // A session first: without one, a broker keeps nothing for us.
    device.start().map_err(|e| failed(&e))?;
    until(DRAIN_MAX, "the subscription", || {
        (relay.seen().subscribed > 0).then_some(())
    })?;
    device.kill();
    let feed = broker.feed(&numbered)?;
    let mut violations = Vec::new();
    let mut first_seen: BTreeMap<u64, Row> = BTreeMap::new();
    let (mut in_start, mut in_stop, mut acks_lost, mut renamed, mut shunned) = (0, 0, 0, 0, 0);
    for kill in 0..kills {
        if rng.random_range(0..10) == 0 {
            renamed += 1;
            let name = format!("{}-{}", numbered.prefix, rng.random_range(0..NAMES));
            device.set("--device", name);
        }
        let refuse = rng.random_range(0..3) == 0;
        shunned += u64::from(central.shun(refuse).map_err(|e| failed(&e))?);
        device.start().map_err(|e| failed(&e))?;
        let pause = Duration::from_millis(rng.random_range(20..400));
        match rng.random_range(0..10) {
            // While it starts.
            0..2 => {
                in_start += 1;
                sleep(pause / 4);
            }
            // While it stops.
            2..4 => {
                in_stop += 1;
                device.wait_connected()?;
                sleep(pause);
                device.terminate();
                sleep(pause / 8);
            }
            // With what it has acknowledged last not yet at the broker, which sends that again.
            4..7 => {
                acks_lost += 1;
                device.wait_connected()?;
                sleep(pause / 2);
                relay.lose_acks(true);
                sleep(pause / 8);
            }
            _ => {
                device.wait_connected()?;
                sleep(pause);
            }
        }
        device.kill();
        relay.lose_acks(false);
        if kill % 8 == 7 {
            notice(&central, &mut first_seen, &mut violations)?;
        }
    }

    central.shun(false).map_err(|e| failed(&e))?;
    device.start().map_err(|e| failed(&e))?;
    device.wait_connected()?;
    let published = feed.end()?;
    drain(&relay, published, &device)?;
    let status = device.wait_status(DRAIN_MAX, "the last upload", |s| s.upstream.lag_rows == 0)?;
    device.terminate();
    let end = device.wait_exit(Duration::from_secs(30))?;
    if !end.success() {
        violations.push(format!(
            "the last stop ended with {end}: {}",
            device.log_tail()
        ));
    }

    notice(&central, &mut first_seen, &mut violations)?;
    let rows = central.rows().map_err(|e| failed(&e))?;
    let seen = relay.seen();
    for n in 0..published {
        match (rows.by_number.contains_key(&n), numbered.is_bad(n)) {
            (false, false) => violations.push(format!("record {n} is not upstream")),
            (true, true) => violations.push(format!("record {n} should be in quarantine")),
            _ => {}
        }
    }
    for n in &rows.duplicates {
        violations.push(format!("record {n} is upstream more than once"));
    }
    violations.extend(rows.disorder());
    let (wrong, wide) = central.wrong_wide().map_err(|e| failed(&e))?;
    let changed = |n: &u64| format!("record {n} is not what was published");
    violations.extend(wrong.iter().map(changed));
    let expected = (0..published).filter(|n| numbered.is_wide(*n)).count() as u64;
    if wide != expected {
        violations.push(format!("{wide} wide records upstream, and not {expected}"));
    }
    let train = rows.by_number.values().filter(|row| row.is_train).count();
    let line = json!({
        "kills": kills, "during_start": in_start, "during_stop": in_stop,
        "acks_lost": acks_lost, "renamed": renamed, "shunned": shunned, "wide": wide, "seed": seed, "broker": broker.name(),
        "published": published, "acknowledged": seen.acknowledged.len(),
        "sent_again": seen.sent_again, "upstream_rows": rows.by_number.len(),
        "duplicates": rows.duplicates.len(), "violations": violations.len(),
        "train_fraction": train as f64 / rows.by_number.len().max(1) as f64,
        "clock_skew_s": status.clock.skew_s, "seconds": begun.elapsed().as_secs_f64(),
    });
    println!("{line}");
    if !violations.is_empty() {
        let kept = dir.keep();
        eprintln!("everything is kept in {}", kept.display());
    }
    Ok(violations)
}

/// Waits for the PUBACKs of everything published, for as long as there are more and more of them.
fn drain(relay: &Relay, published: u64, device: &Device) -> Result<(), String> {
    let mut before = 0;
    loop {
        let more = until(STANDSTILL_MAX, "another PUBACK", || {
            let now = relay.acknowledged() as u64;
            (now > before || now >= published).then_some(now)
        });
        before = more.map_err(|error| {
            let acknowledged = relay.seen().acknowledged;
            let missing = (0..published).filter(|n| !acknowledged.contains(n));
            let first: Vec<u64> = missing.clone().take(5).collect();
            format!(
                "{error}: {} of {published} missing, from {first:?}; {:?}\n{}",
                missing.count(),
                device.status(),
                device.log_tail()
            )
        })?;
        if before >= published {
            return Ok(());
        }
    }
}

/// Where the records come from.
enum Source {
    Double(MqttDouble),
    /// The URL of a real broker.
    Real(String),
}

/// Publishing, until told to end.
enum Feed<'a> {
    Double(&'a MqttDouble),
    Real(Arc<AtomicBool>, JoinHandle<io::Result<u64>>),
}

impl Source {
    fn start() -> Result<Self, String> {
        match std::env::var("DUNLIN_MQTT_URL") {
            Ok(url) => Ok(Self::Real(url)),
            Err(_) => MqttDouble::start()
                .map(Self::Double)
                .map_err(|e| e.to_string()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Double(_) => "double",
            Self::Real(url) => url,
        }
    }

    fn address(&self) -> Result<SocketAddr, String> {
        match self {
            Self::Double(double) => Ok(double.address()),
            Self::Real(url) => {
                let url = BrokerUrl::parse(url).map_err(|e| e.to_string())?;
                let mut found = (url.host.as_str(), url.port)
                    .to_socket_addrs()
                    .map_err(|e| e.to_string())?;
                found
                    .next()
                    .ok_or_else(|| format!("{} has no address", url.host))
            }
        }
    }

    fn feed(&self, numbered: &Numbered) -> Result<Feed<'_>, String> {
        let url = match self {
            Self::Double(double) => {
                double.feed(numbered.clone(), u64::MAX, Some(RATE_PER_S));
                return Ok(Feed::Double(double));
            }
            Self::Real(url) => url,
        };
        let name = format!("{}-publisher", numbered.prefix);
        let mut publisher = Publisher::connect(url, &name).map_err(|e| e.to_string())?;
        let (ending, numbered) = (Arc::new(AtomicBool::new(false)), numbered.clone());
        let told = Arc::clone(&ending);
        let began = Instant::now();
        let records = (0..).map_while(move |n| {
            let due = Duration::from_secs_f64(n as f64 / RATE_PER_S);
            // The pace.
            sleep(due.saturating_sub(began.elapsed()));
            (!told.load(Relaxed)).then(|| numbered.publish(n))
        });
        Ok(Feed::Real(
            ending,
            thread::spawn(move || publisher.publish(records)),
        ))
    }
}

impl Feed<'_> {
    /// Ends it; returns how many records the broker has taken.
    fn end(self) -> Result<u64, String> {
        match self {
            Self::Double(double) => Ok(double.stop_feeding()),
            Self::Real(ending, publisher) => {
                ending.store(true, Relaxed);
                let published = publisher.join().map_err(|_| "the publisher panicked")?;
                published.map_err(|e| format!("publisher: {e}"))
            }
        }
    }
}

/// Compares what is upstream now with what was there before.
fn notice(
    central: &Central,
    first_seen: &mut BTreeMap<u64, Row>,
    violations: &mut Vec<String>,
) -> Result<(), String> {
    let found = central.each_after(i64::MIN, |n, row| {
        let before = first_seen.entry(n).or_insert(row);
        if *before != row {
            violations.push(format!("record {n} was {before:?} and is {row:?}"));
        }
    });
    found.map_err(|e| e.to_string())
}
