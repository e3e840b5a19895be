//! Devices in words and columns. What they say of themselves is foreign text.

use std::collections::BTreeMap;

use super::seen::Seen;
use crate::{base::text, cli::commands::models::columns, release::verdict::Verdict};

/// Characters that a table has room for in a column, trouble apart.
const CHARS_MAX: usize = 40;

/// One line a device, under a line that says how many there are.
pub(super) fn table(devices: &[Seen]) -> String {
    if devices.is_empty() {
        return "no device has said how it is (fleet.heartbeat_s, or fleet.centre, in its configuration, and this database as its upstream)\n"
            .into();
    }
    let head = [
        "device",
        "last seen",
        "version",
        "lag",
        "quarantined",
        "serving",
        "trouble",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(devices.iter().map(|seen| {
        let heartbeat = &seen.heartbeat;
        let lag = match heartbeat.lag_rows {
            0 => "-".to_owned(),
            rows => format!("{} ({})", text::count(rows), text::seconds(heartbeat.lag_s)),
        };
        [
            shortened(&seen.device),
            format!("{} ago", text::seconds(seen.age_s)),
            shortened(&heartbeat.version),
            lag,
            text::count(heartbeat.quarantined),
            shortened(&heartbeat.serving),
            line(&seen.trouble.join("; ")),
        ]
    }));
    let count =
        |is: fn(&Seen) -> bool| text::count(devices.iter().filter(|seen| is(seen)).count() as u64);
    let (silent, trouble) = (
        count(|seen| seen.silent),
        count(|seen| !seen.trouble.is_empty()),
    );
    let of = text::of(devices.len() as u64, "device");
    format!("{of}, {trouble} in trouble, {silent} of them silent\n") + &columns(&rows)
}

/// All that a device has said, and what became of releases there.
pub(super) fn one(seen: &Seen, verdicts: &BTreeMap<String, Verdict>) -> String {
    let heartbeat = &seen.heartbeat;
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let facts = [
        ("device", seen.device.clone()),
        (
            "last seen",
            format!(
                "{} ago, {}",
                text::seconds(seen.age_s),
                text::time(seen.last_seen_ns)
            ),
        ),
        ("heartbeat", format!("every {} s", heartbeat.every_s)),
        ("version", heartbeat.version.clone()),
        ("instance", heartbeat.instance.clone().unwrap_or_default()),
        ("running for", text::seconds(heartbeat.uptime_s as f64)),
        ("committed", text::count(heartbeat.committed)),
        ("quarantined", text::count(heartbeat.quarantined)),
        ("lost", text::count(heartbeat.dropped)),
        ("not uploaded", text::count(heartbeat.lag_rows)),
        ("the oldest", text::seconds(heartbeat.lag_s)),
        ("streams held", text::count(heartbeat.streams_held)),
        ("buffer", text::bytes(heartbeat.buffer_bytes as f64)),
        ("broker connected", word(heartbeat.broker_connected)),
        ("upstream connected", word(heartbeat.upstream_connected)),
        ("clock synchronised", word(heartbeat.clock_synchronised)),
        ("serving", heartbeat.serving.clone()),
    ];
    let mut rows: Vec<[String; 2]> = facts
        .into_iter()
        .map(|(name, fact)| [name.to_owned(), line(&fact)])
        .collect();
    rows.extend(
        seen.trouble
            .iter()
            .map(|trouble| ["trouble".to_owned(), line(trouble)]),
    );
    rows.extend(verdicts.iter().map(|(of, verdict)| {
        let (serial, outcome) = (verdict.serial, verdict.outcome.as_str());
        let what = format!("{of} {serial}: {outcome}: {}", verdict.reason);
        ["release".to_owned(), line(&what)]
    }));
    columns(&rows)
}

/// Foreign text on one line.
fn line(foreign: &str) -> String {
    text::printable(&foreign.replace(['\n', '\t'], " "))
}

/// The same, no wider than a column may be: every line would be as wide.
fn shortened(foreign: &str) -> String {
    let mut text = line(foreign);
    if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(end);
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests;
