//! Runs the agent for long, with broker and upstream away again and again, and looks at its memory and its account.
//!
//! `soak [--minutes N] [--rate RECORDS_PER_S] [--streams N]`. Every minute the connection to the broker is cut, and
//! refused for some seconds; every minute the upstream is away for some more. At the end every record that was
//! published is upstream once or in quarantine, and resident memory has grown by no more than 5 % since the tenth
//! minute (medians of a minute each; of fewer than 20 minutes it is only shown). The agent is this program, or the
//! one that `DUNLIN_AGENT_PROGRAM` names. Prints one line of JSON; exits with 1 if something is wrong.

use std::{
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use dunlin_tests::{
    central::Central,
    device::{Device, as_agent, program, until},
    doubles::{mqtt::MqttDouble, relay::Relay},
    measure::{median, memory_bytes},
    options::{option, refuse_others},
    records::Numbered,
};
use serde_json::json;

/// Between two looks at its memory.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// From when on memory may not grow, minutes.
const SETTLED_MIN: usize = 10;
/// By how much it may, percent.
const GROWTH_PERCENT_MAX: f64 = 5.0;
/// Seconds of each minute at which the broker goes, comes, the upstream goes, comes.
const WEATHER_S: [u64; 4] = [10, 15, 30, 42];
/// For everything to arrive at the end.
const DRAIN_MAX: Duration = Duration::from_mins(5);

fn main() -> ExitCode {
    if let Some(code) = as_agent() {
        return code;
    }
    refuse_others(&["minutes", "rate", "streams"]);
    let minutes = option("minutes").unwrap_or(60);
    let rate_per_s = option("rate").unwrap_or(1_000.0);
    let streams = option("streams").unwrap_or(200);
    match run(minutes, rate_per_s, streams) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("wrong: {}", wrong.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(minutes: u64, rate_per_s: f64, streams: u64) -> Result<Vec<String>, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
    let central = Central::new(dir.path());
    let numbered = Numbered {
        streams,
        bad_every: 1_013,
        ..Numbered::new("soak")
    };
    let broker = MqttDouble::start().map_err(|e| failed(&e))?;
    let relay = Relay::mqtt(broker.address()).map_err(|e| failed(&e))?;
    let config = dir.path().join("dunlin.toml");
    std::fs::write(&config, numbered.rules()).map_err(|e| failed(&e))?;
    let program = program().map_err(|e| failed(&e))?;
    let mut device = Device::new(&program, &dir.path().join("data"), &dir.path().join("log"))
        .with("--config", config.display())
        .with("--mqtt", relay.mqtt_url())
        .with("--upstream", central.url())
        .with("--upstream-timeout-ms", 2_000)
        .with("--upstream-backoff-ms-max", 2_000)
        .with("--mqtt-backoff-ms-max", 2_000)
        .with("--device", "soak")
        .with("--clock-hold-s", 0)
        .with("--http-listen", "")
        .with("--log-level", "error");
    device.start().map_err(|e| failed(&e))?;
    device.wait_connected()?;
    broker.feed(numbered.clone(), u64::MAX, Some(rate_per_s));

    let begun = Instant::now();
    let mut rss_bytes: Vec<Vec<f64>> = vec![Vec::new(); minutes as usize];
    let mut outage = None;
    while begun.elapsed() < Duration::from_mins(minutes) {
        let elapsed = begun.elapsed();
        let second = elapsed.as_secs() % 60;
        let [broker_goes, broker_comes, upstream_goes, upstream_comes] = WEATHER_S;
        let is_broker_away = (broker_goes..broker_comes).contains(&second);
        relay.refuse(is_broker_away);
        if is_broker_away {
            relay.cut();
        }
        match ((upstream_goes..upstream_comes).contains(&second), &outage) {
            (true, None) => outage = central.lock().map_err(|e| failed(&e))?,
            (false, Some(_)) => outage = None,
            _ => {}
        }
        let pid = device.pid().ok_or("the agent is not running")?;
        let minute = (elapsed.as_secs() / 60) as usize;
        if let Some(of_minute) = rss_bytes.get_mut(minute) {
            of_minute.push(memory_bytes(pid, "VmRSS:") as f64);
        }
        if device.has_ended() {
            return Err(format!("the agent has ended:\n{}", device.log_tail()));
        }
        sleep(LOOK_EVERY);
    }
    drop(outage);
    relay.refuse(false);
    let published = broker.stop_feeding();
    until(DRAIN_MAX, "the last PUBACK", || {
        (broker.outstanding() == 0).then_some(())
    })?;
    let status = device.wait_status(DRAIN_MAX, "the last upload", |s| s.upstream.lag_rows == 0)?;
    device.terminate();
    let end = device.wait_exit(Duration::from_secs(30))?;

    let rows = central.rows().map_err(|e| failed(&e))?;
    let mut wrong = rows.disorder();
    wrong.truncate(5);
    let mut expect = |what: &str, found: u64, expected: u64| {
        if found != expected {
            wrong.push(format!("{what}: {found}, expected {expected}"));
        }
    };
    let good = (0..published).filter(|n| !numbered.is_bad(*n));
    let missing = good.clone().filter(|n| !rows.by_number.contains_key(n));
    expect("records missing upstream", missing.count() as u64, 0);
    expect(
        "rows upstream",
        rows.by_number.len() as u64,
        good.count() as u64,
    );
    expect("records twice upstream", rows.duplicates.len() as u64, 0);
    let records = &status.records;
    expect(
        "committed and quarantined",
        records.committed + records.quarantined,
        published,
    );
    if !end.success() {
        wrong.push(format!("the stop ended with {end}"));
    }
    let rss: Vec<f64> = rss_bytes.iter().map(|minute| median(minute)).collect();
    let (settled, last) = (rss.get(SETTLED_MIN - 1), rss.last());
    let growth = settled
        .zip(last)
        .map(|(settled, last)| (last / settled - 1.0) * 100.0);
    if minutes >= 2 * SETTLED_MIN as u64 && growth.is_none_or(|growth| growth > GROWTH_PERCENT_MAX)
    {
        wrong.push(format!("memory has grown by {growth:?} %"));
    }
    let line = json!({
        "minutes": minutes, "rate_per_s": rate_per_s, "streams": streams, "published": published,
        "committed": records.committed, "quarantined": records.quarantined,
        "upstream_rows": rows.by_number.len(), "connections": status.mqtt.connections,
        "upload_retries": status.upstream.retries, "rss_bytes_by_minute": rss,
        "growth_percent": growth, "wrong": wrong.len(),
    });
    println!("{line}");
    Ok(wrong)
}
