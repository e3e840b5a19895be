//! `dunlin status`: what the agent is doing, or what it left behind.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use clap::Args;
use dunlin_sync::{buffer::BufferShape, uploader, verify::VerifyReport};
use serde::Serialize;

use super::{
    Exit, Outcome,
    site::{Site, SiteArgs},
    terminal::{self, Show, bytes, count, of, seconds},
};
use crate::{
    operations::{Ask, Held, Need, Parts, Selection},
    status::{ConfigurationStatus, RecipeProgress, Status},
    store::wall_ns,
};

/// Troubles with the broker shown one by one.
const TROUBLES_SHOWN_MAX: usize = 8;

/// Arguments of `dunlin status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Compare the rows committed with the rows upstream, and name any gap (exit code 3)
    #[arg(long)]
    pub verify: bool,
    /// Which agent
    #[command(flatten)]
    pub site: SiteArgs,
}

/// Everything shown.
#[derive(Debug, Serialize)]
struct Shown {
    /// Whether an agent runs.
    running: bool,
    /// What a running agent says.
    #[serde(flatten)]
    status: Option<Status>,
    /// What a stopped one left.
    #[serde(flatten)]
    left: Option<LeftBehind>,
    /// What is in quarantine now, by reason.
    quarantine: BTreeMap<String, Held>,
    /// The comparison, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<VerifyReport>,
    /// The command that sends again what the comparison misses.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<String>,
}

/// What the directory of a stopped agent tells.
#[derive(Debug, Serialize)]
struct LeftBehind {
    data_dir: String,
    buffer: BufferShape,
    /// Rows committed and not upstream.
    lag_rows: u64,
    /// Age of the oldest of these, seconds.
    lag_s: f64,
    /// Streams the upstream refused.
    streams_held: usize,
    /// Rows of these.
    rows_held: u64,
}

/// Prints it.
///
/// # Errors
/// [`Exit::Found`] if `--verify` found a gap.
pub async fn run(args: StatusArgs) -> Outcome {
    let shown = look(&args).await?;
    if args.json {
        let text = serde_json::to_string(&shown);
        println!("{}", text.map_err(|error| Exit::Failed(error.to_string()))?);
    } else {
        print!("{}", text(&shown));
    }
    match &shown.verify {
        Some(report) if !report.gaps.is_empty() => Err(Exit::Found(format!(
            "{} between buffer and upstream",
            of(report.gaps.len() as u64 + report.gaps_unlisted, "gap")
        ))),
        _ => Ok(()),
    }
}

async fn look(args: &StatusArgs) -> Result<Shown, Exit> {
    let mut site = Site::find(&args.site).await?;
    let status = site.status().cloned();
    let verify = if args.verify {
        let show = Show::new("comparing with the upstream");
        Some(site.ask::<VerifyReport, _>(Ask::Verify, show).await?.0)
    } else {
        None
    };
    let ask = Ask::Count(Selection::default());
    let (quarantine, _) = site.ask(ask, Show::nothing()).await?;
    let left = if status.is_some() {
        None
    } else {
        let local = site.open(Need::Directory).await?;
        let data_dir = site.data_dir().display().to_string();
        Some(left_behind(local.parts(), data_dir))
    };
    let (config, data_dir) = (args.site.config.as_deref(), site.data_dir().to_owned());
    site.close().await?;
    let repair = verify
        .as_ref()
        .and_then(|report| repair(report, config, &data_dir));
    Ok(Shown {
        running: status.is_some(),
        status,
        left,
        quarantine,
        verify,
        repair,
    })
}

/// The command that sends again what is missing upstream, if something is.
fn repair(report: &VerifyReport, config: Option<&Path>, data_dir: &Path) -> Option<String> {
    let missing = || {
        report
            .gaps
            .iter()
            .filter(|gap| gap.upstream < gap.committed)
    };
    let first = missing().next()?;
    let (mut from, mut to) = (first.from, first.to);
    for gap in missing() {
        (from, to) = (from.min(gap.from), to.max(gap.to));
    }
    let mut command = String::from("dunlin upload --again");
    let is_one_stream = missing().all(|gap| gap.stream == first.stream);
    // What is not listed may lie anywhere.
    if report.gaps_unlisted == 0 {
        if is_one_stream {
            let _ok = write!(command, " --stream {}", quoted(&first.stream));
        }
        let _ok = write!(command, " --from {from} --to {to}");
    }
    let (flag, path) = config.map_or(("--data-dir", data_dir), |file| ("-c", file));
    let _ok = write!(command, " {flag} {}", quoted(&path.display().to_string()));
    Some(command)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn left_behind(parts: &Parts, data_dir: String) -> LeftBehind {
    let (buffer, cursor) = (&parts.buffer, (parts.cursor)());
    let shape = buffer.shape();
    let (left, oldest_ts) = uploader::lag(&**buffer, &cursor);
    let age_ns = oldest_ts.map_or(0, |ts| wall_ns().saturating_sub(ts).max(0));
    LeftBehind {
        data_dir,
        buffer: shape,
        lag_rows: left.rows,
        lag_s: age_ns as f64 / 1e9,
        streams_held: left.streams_held,
        rows_held: left.rows_held,
    }
}

/// Lines of a name and what there is to say about it.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, what: &str) {
        // Writing to a String cannot fail.
        let _ok = writeln!(self.0, "{name:<11}{what}");
    }
}

fn text(shown: &Shown) -> String {
    let mut lines = Lines(String::new());
    let trouble = Trouble::of(shown);
    trouble.tell(&mut lines);
    if let Some(status) = &shown.status {
        running(status, &trouble, &mut lines);
    }
    if let Some(left) = &shown.left {
        stopped(left, &trouble, &mut lines);
    }
    if shown.quarantine.is_empty() {
        lines.add("quarantine", "empty");
    }
    if let Some(report) = &shown.verify {
        verified(report, &mut lines);
    }
    if let Some(command) = &shown.repair {
        let command = terminal::printable(command);
        lines.add("", &format!("to send again what is missing: {command}"));
    }
    lines.0
}

/// What was taken and will not come upstream unless somebody does something.
struct Trouble<'a> {
    quarantine: &'a BTreeMap<String, Held>,
    streams_held: u64,
    rows_held: u64,
    held_stream: Option<&'a str>,
    dropped: u64,
}

impl<'a> Trouble<'a> {
    fn of(shown: &'a Shown) -> Self {
        let (status, left) = (shown.status.as_ref(), shown.left.as_ref());
        let up = status.map(|s| &s.upstream);
        let streams_held = up.map(|up| up.streams_held);
        let rows_held = up.map(|up| up.rows_held);
        Self {
            quarantine: &shown.quarantine,
            streams_held: streams_held
                .or(left.map(|l| l.streams_held as u64))
                .unwrap_or(0),
            rows_held: rows_held.or(left.map(|l| l.rows_held)).unwrap_or(0),
            held_stream: up.and_then(|up| up.held_stream.as_deref()),
            dropped: status.map_or(0, |s| s.records.dropped),
        }
    }

    fn is_none(&self) -> bool {
        self.quarantine.is_empty() && self.streams_held == 0 && self.dropped == 0
    }

    fn tell(&self, lines: &mut Lines) {
        if self.dropped > 0 {
            let dropped = of(self.dropped, "record");
            lines.add(
                "DROPPED",
                &format!("{dropped} lost since the start; see the log"),
            );
        }
        if !self.quarantine.is_empty() {
            let held = self.quarantine.values();
            let (items, records) = held.fold((0, 0), |(items, records), held| {
                (items + held.items, records + held.records)
            });
            let reasons = self.quarantine.iter();
            let reasons: Vec<String> = reasons
                .map(|(reason, held)| format!("{} {reason}", count(held.items)))
                .collect();
            let (items, records) = (of(items, "item"), of(records, "record"));
            let reasons = reasons.join(", ");
            lines.add("quarantine", &format!("{items} with {records}: {reasons}"));
            lines.add(
                "",
                "look: dunlin quarantine list; send again: dunlin quarantine retry --all",
            );
        }
        if self.streams_held > 0 {
            let streams = of(self.streams_held, "stream");
            let rows = of(self.rows_held, "row");
            lines.add(
                "held",
                &format!("{streams} refused by the upstream; {rows} wait in the buffer"),
            );
            if let Some(example) = self.held_stream {
                lines.add("", &terminal::printable(example));
            }
            lines.add("", "repair them there; the agent tries again by itself");
        }
    }
}

fn running(s: &Status, trouble: &Trouble<'_>, lines: &mut Lines) {
    let uptime = seconds(s.uptime_s as f64);
    lines.add(
        "agent",
        &format!("{}, version {}, running for {uptime}", s.device, s.version),
    );
    if let Some(before) = &s.device_before {
        let elsewhere = of(s.buffer.streams_elsewhere as u64, "stream");
        lines.add(
            "",
            &format!("called {before} before; {elsewhere} of that name, as NAME#{before}"),
        );
    }
    let because = |error: &Option<String>| {
        let error = error.as_ref().map(|e| terminal::printable(e));
        error.map_or_else(String::new, |error| format!(": {error}"))
    };
    configuration(&s.configuration, lines);
    let broker = if s.mqtt.connected {
        format!("connected to {} as {}", s.mqtt.broker, s.mqtt.client_id)
    } else {
        format!(
            "NOT connected to {} as {}{}",
            s.mqtt.broker,
            s.mqtt.client_id,
            because(&s.mqtt.last_error)
        )
    };
    lines.add("broker", &broker);
    for trouble in s.mqtt.troubles.iter().take(TROUBLES_SHOWN_MAX) {
        lines.add("", &terminal::printable(trouble));
    }
    let more = s.mqtt.troubles.len().saturating_sub(TROUBLES_SHOWN_MAX);
    if more > 0 {
        lines.add("", &format!("and {} like these", count(more as u64)));
    }
    let mut records = format!(
        "{} received, {} committed, {} quarantined",
        count(s.records.received),
        count(s.records.committed),
        count(s.records.quarantined)
    );
    if s.records.dropped > 0 {
        let _ok = write!(records, ", {} DROPPED", count(s.records.dropped));
    }
    if s.mqtt.duplicates > 0 {
        let _ok = write!(records, ", {} sent twice", of(s.mqtt.duplicates, "publish"));
    }
    if s.mqtt.retained_known > 0 {
        let known = count(s.mqtt.retained_known);
        let _ok = write!(records, ", {known} retained and known already");
    }
    if s.mqtt.possible_duplicates > 0 {
        let possible = of(s.mqtt.possible_duplicates, "publish");
        let _ok = write!(records, ", {possible} perhaps stored twice");
    }
    lines.add("records", &records);
    if s.records.times_implausible > 0 {
        let left_out = of(s.records.times_implausible, "record");
        let text = format!(
            "{left_out} without the source's time, which is outside time_min and time_max_ahead"
        );
        lines.add("", &text);
    }
    let up = &s.upstream;
    let upstream = if up.connected || up.last_error.is_none() {
        format!("{}, {} uploaded", up.location, of(up.uploaded, "row"))
    } else {
        format!("{}, NOT reached{}", up.location, because(&up.last_error))
    };
    lines.add("upstream", &upstream);
    lines.add("lag", &lag(up.lag_rows, up.lag_s, trouble));
    if up.held_for_clock {
        lines.add(
            "",
            "uploads wait until the clock is synchronised (clock.hold_s)",
        );
    }
    let buffer = &s.buffer;
    let mut use_ = format!(
        "{} of {}, {} of {}",
        bytes(buffer.shape.bytes as f64),
        bytes(buffer.bytes_max as f64),
        of(buffer.shape.rows, "row"),
        of(buffer.streams as u64, "stream")
    );
    if buffer.streams_percent >= 80 {
        let _ok = write!(use_, " ({} % of the room for them)", buffer.streams_percent);
    }
    if buffer.full {
        use_.push_str(", FULL: nothing is acknowledged");
    }
    lines.add("buffer", &use_);
    if buffer.streams_retagged > 0 {
        let streams = of(buffer.streams_retagged as u64, "stream");
        lines.add(
            "",
            &format!("{streams} with other tags than in the beginning"),
        );
    }
    if let Some(lasts_s) = lasts_s(s) {
        let lasts = seconds(lasts_s);
        lines.add(
            "",
            &format!("lasts {lasts} at this rate if the upstream is away"),
        );
    }
    if buffer.blocks_corrupt + buffer.set_aside > 0 {
        let damaged = format!(
            "{} unreadable, {} set aside as damaged; see the log",
            of(buffer.blocks_corrupt, "block"),
            of(buffer.set_aside, "part")
        );
        lines.add("", &damaged);
    }
    let disk = &s.disk;
    if disk.bytes_max > 0 {
        let size = |size: u64| bytes(size as f64);
        let text = format!(
            "{} of at most {}: buffer {}, quarantine {}, models {}, set aside {}",
            size(disk.bytes),
            size(disk.bytes_max),
            size(disk.buffer_bytes),
            size(disk.quarantine_bytes),
            size(disk.models_bytes),
            size(disk.set_aside_bytes)
        );
        lines.add("disk", &text);
    }
    if s.http_problem.is_some() {
        lines.add(
            "metrics",
            &format!("NOT served{}", because(&s.http_problem)),
        );
    }
    let clock = &s.clock;
    let state = if clock.unsynchronised {
        "NOT synchronised"
    } else {
        "synchronised"
    };
    let ahead = if clock.skew_s >= 0.0 {
        "ahead of"
    } else {
        "behind"
    };
    let mut text = state.to_owned();
    if clock.skew_s.abs() >= 0.001 {
        let skew = seconds(clock.skew_s.abs());
        let _ok = write!(text, ", timestamps {skew} {ahead} it");
    }
    if clock.steps > 0 {
        let _ok = write!(text, ", {}", of(clock.steps, "step"));
    }
    lines.add("clock", &text);
    let flash = match (s.flash.bytes_per_day, s.flash.years_to_32_tb) {
        (Some(day), Some(years)) => format!(
            "{} written a day: {} to 32 TB (a 32 GB card 1,000 times over)",
            bytes(day),
            seconds(years * 365.25 * 86_400.0)
        ),
        _ => format!("{} written so far", bytes(s.flash.written_bytes as f64)),
    };
    lines.add("flash", &flash);
    if !s.rules_silent.is_empty() {
        lines.add("silent", &silent(&s.rules_silent));
    }
    let learn = &s.learn;
    if learn.recipes > 0 {
        let mut text = format!(
            "{} promoted, {} refused, {} open",
            of(learn.models_promoted, "model"),
            learn.models_rejected,
            of(learn.tasks_open, "task")
        );
        for (count, what) in [
            (learn.tasks_failed, "tasks failed"),
            (learn.rollbacks, "taken back"),
            (learn.drifts, "alarms of drift"),
        ] {
            if count > 0 {
                let _ok = write!(text, ", {count} {what}");
            }
        }
        lines.add("learning", &text);
        let answered = of(learn.predictions, "record");
        let mut text = format!("{answered} answered, {} flagged", learn.flagged);
        if learn.missed > 0 {
            let missed = of(learn.missed, "record");
            let _ok = write!(text, "; {missed} of all streams let go before that");
        }
        if learn.refused > 0 {
            let refused = of(learn.refused, "answer");
            let _ok = write!(
                text,
                "; {refused} dropped: the log says why they cannot be stored"
            );
        }
        lines.add("", &text);
        for text in learn
            .progress
            .iter()
            .filter_map(progress)
            .take(PROGRESS_MAX)
        {
            lines.add("", &text);
        }
    }
}

fn configuration(c: &ConfigurationStatus, lines: &mut Lines) {
    if let Some(hash) = &c.sha256 {
        let mut text = format!("file of SHA-256 {}", hash.get(..12).unwrap_or(hash));
        if c.reloads > 0 {
            let _ok = write!(text, ", read again {}", of(c.reloads, "time"));
        }
        lines.add("settings", &text);
    }
    if !c.waits_for_restart.is_empty() {
        let text = format!("a restart is needed for {}", c.waits_for_restart.join(", "));
        lines.add("", &text);
    }
    if let Some(why) = &c.refused {
        let text = format!(
            "the last file read is REFUSED: {}",
            terminal::printable(why)
        );
        lines.add("", &text);
    }
}

/// Recipes shown that wait for records.
const PROGRESS_MAX: usize = 10;

/// Stream rules that never had a record.
pub(crate) fn silent(rules: &[String]) -> String {
    const NAMED_MAX: usize = 8;
    let named = rules[..rules.len().min(NAMED_MAX)].join(", ");
    let more = match rules.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("never a record of stream {named}{more}")
}

/// How far a recipe is towards its first models; `None` if it has all of them.
pub(crate) fn progress(of: &RecipeProgress) -> Option<String> {
    let recipe = &of.recipe;
    if of.streams == 0 {
        let pattern = terminal::printable(&of.pattern);
        return Some(format!("{recipe}: no stream is called `{pattern}`"));
    }
    (of.streams_waiting > 0).then(|| {
        let first = terminal::printable(&of.first);
        let way = if of.rows < of.rows_needed {
            let (rows, needed) = (count(of.rows), count(of.rows_needed));
            format!("{rows} of {needed} records towards the first model of {first}")
        } else {
            format!("no model of {first} has passed yet (dunlin models list)")
        };
        format!(
            "{recipe}: {way}; {} of {} without one",
            of.streams_waiting,
            self::of(of.streams, "stream")
        )
    })
}

fn stopped(left: &LeftBehind, trouble: &Trouble<'_>, lines: &mut Lines) {
    lines.add("agent", &format!("not running on {}", left.data_dir));
    lines.add("lag", &lag(left.lag_rows, left.lag_s, trouble));
    let newest = left.buffer.newest_ts.map(terminal::time);
    let newest = newest.map_or_else(String::new, |time| format!(", the newest of {time}"));
    let buffer = format!(
        "{}, {}{newest}",
        bytes(left.buffer.bytes as f64),
        of(left.buffer.rows, "row")
    );
    lines.add("buffer", &buffer);
}

fn lag(rows: u64, age_s: f64, trouble: &Trouble<'_>) -> String {
    match rows {
        0 if trouble.is_none() => "none: everything committed is upstream".into(),
        0 => "none waits, but not everything that came is upstream: see above".into(),
        _ => format!("{}, the oldest {} old", of(rows, "row"), seconds(age_s)),
    }
}

/// How long the buffer takes what comes in at the mean rate so far, if nothing is uploaded.
fn lasts_s(s: &Status) -> Option<f64> {
    let shape = &s.buffer.shape;
    if s.uptime_s < 10 || s.records.committed == 0 || shape.rows == 0 {
        return None;
    }
    let row_bytes = shape.bytes as f64 / shape.rows as f64;
    let rows_per_s = s.records.committed as f64 / s.uptime_s as f64;
    // What is uploaded gives way.
    let free = s.buffer.bytes_max as f64 - s.upstream.lag_rows as f64 * row_bytes;
    Some(free.max(0.0) / (row_bytes * rows_per_s))
}

fn verified(report: &VerifyReport, lines: &mut Lines) {
    let found = format!(
        "{} committed and uploaded, {} upstream",
        of(report.rows_committed, "row"),
        of(report.rows_upstream, "row")
    );
    lines.add("verify", &found);
    for gap in &report.gaps {
        let (kind, rows) = if gap.upstream < gap.committed {
            ("missing", gap.committed - gap.upstream)
        } else {
            ("too many", gap.upstream - gap.committed)
        };
        let place = format!(
            "{}: {} {kind}, {} ({}) to {} ({})",
            gap.stream.escape_debug(),
            of(rows, "row"),
            gap.from,
            terminal::time(gap.from.0),
            gap.to,
            terminal::time(gap.to.0)
        );
        lines.add("", &place);
    }
    if report.gaps_unlisted > 0 {
        lines.add("", &format!("and {} more", of(report.gaps_unlisted, "gap")));
    }
    if report.gaps.is_empty() {
        lines.add("", "no gap");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dunlin_sync::{sample::Timestamp, verify::Gap};
    use serde_json::json;

    use super::*;

    fn status() -> Status {
        serde_json::from_value(json!({
            "version": "0.1.0", "device": "press-7", "uptime_s": 1_000,
            "mqtt": {"broker": "b:1883", "client_id": "dunlin-press-7",
                "troubles": ["the broker refuses the subscription to a/# (no\u{1b})"],
                "connected": true, "connections": 1, "publishes": 5_000,
                "acknowledged": 5_000, "duplicates": 2, "possible_duplicates": 0,
                "last_error": null},
            "records": {"received": 5_000, "committed": 4_000, "quarantined": 1_000,
                "quarantined_by_reason": {}, "dropped": 0},
            "buffer": {"generations": 1, "bytes": 100_000, "oldest_seq": 0, "next_seq": 40,
                "rows": 4_000, "rows_total": 4_000, "newest_ts": null, "bytes_max": 1_000_000,
                "full": false, "streams": 2, "commits": 40, "blocks_corrupt": 0, "set_aside": 0,
                "quarantine_bytes": 0},
            "disk": {"buffer_bytes": 100_000, "quarantine_bytes": 0, "models_bytes": 20_000,
                "set_aside_bytes": 0, "bytes": 120_000, "bytes_max": 2_000_000},
            "upstream": {"location": "sqlite:up.db", "connected": false, "uploaded": 0,
                "rejected": 0, "lag_rows": 4_000, "lag_s": 90.0, "retries": 1, "streams_held": 0,
                "held_for_clock": false, "last_error": "gone\u{1b}[2J"},
            "clock": {"skew_s": 0.0, "steps": 0, "withdrawn": 0, "unsynchronised": false},
            "flash": {"written_bytes": 1_000_000, "bytes_per_day": 86_400_000.0,
                "years_to_32_tb": 1_014.0},
            "learn": {"recipes": 1, "tasks_open": 1, "tasks_started": 4, "models_promoted": 1,
                "models_rejected": 2, "tasks_failed": 0, "rollbacks": 1, "drifts": 0,
                "predictions": 3_000, "flagged": 7, "missed": 1_200, "broken": 0, "published": 0,
                "publishes_dropped": 0}
        }))
        .unwrap()
    }

    #[test]
    fn what_waits_in_silence_is_told() {
        let recipe = RecipeProgress {
            recipe: "health".into(),
            pattern: "vibraton/*".into(),
            rows_needed: 1_000,
            ..RecipeProgress::default()
        };
        let text = progress(&recipe).unwrap();
        assert_eq!(text, "health: no stream is called `vibraton/*`");
        let recipe = RecipeProgress {
            streams: 3,
            streams_waiting: 1,
            first: "vibration/m1".into(),
            rows: 980,
            ..recipe
        };
        let text = progress(&recipe).unwrap();
        assert_eq!(
            text,
            "health: 980 of 1,000 records towards the first model of vibration/m1; 1 of 3 streams \
             without one"
        );
        let enough = RecipeProgress {
            rows: 1_000,
            ..recipe.clone()
        };
        let text = progress(&enough).unwrap();
        assert!(
            text.starts_with("health: no model of vibration/m1 has passed yet"),
            "{text}"
        );
        let recipe = RecipeProgress {
            streams_waiting: 0,
            ..recipe
        };
        assert_eq!(progress(&recipe), None);
        let rules: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
        assert_eq!(silent(&rules[..1]), "never a record of stream s0");
        assert!(silent(&rules).ends_with("s7 and 2 more"));
        let told = Status {
            rules_silent: rules,
            http_problem: Some("taken".into()),
            ..status()
        };
        let mut lines = Lines(String::new());
        let quarantine = BTreeMap::new();
        let trouble = Trouble {
            quarantine: &quarantine,
            streams_held: 0,
            rows_held: 0,
            held_stream: None,
            dropped: 0,
        };
        running(&told, &trouble, &mut lines);
        assert!(lines.0.contains("silent     never a record"), "{}", lines.0);
        assert!(
            lines.0.contains("metrics    NOT served: taken"),
            "{}",
            lines.0
        );
    }

    #[test]
    fn a_running_agent_is_described_in_plain_words() {
        let held = Held {
            items: 2,
            records: 1_000,
        };
        let shown = Shown {
            running: true,
            status: Some(status()),
            left: None,
            quarantine: [("not_json".to_owned(), held)].into(),
            verify: None,
            repair: None,
        };
        // 4 rows of 25 bytes a second; 900,000 bytes are left.
        assert_eq!(
            text(&shown),
            "quarantine 2 items with 1,000 records: 2 not_json\n\
             \x20          look: dunlin quarantine list; send again: dunlin quarantine retry --all\n\
             agent      press-7, version 0.1.0, running for 17 min\n\
             broker     connected to b:1883 as dunlin-press-7\n\
             \x20          the broker refuses the subscription to a/# (no\\u{1b})\n\
             records    5,000 received, 4,000 committed, 1,000 quarantined, 2 publishes sent twice\n\
             upstream   sqlite:up.db, NOT reached: gone\\u{1b}[2J\n\
             lag        4,000 rows, the oldest 1.5 min old\n\
             buffer     100 kB of 1.0 MB, 4,000 rows of 2 streams\n\
             \x20          lasts 2.5 h at this rate if the upstream is away\n\
             disk       120 kB of at most 2.0 MB: buffer 100 kB, quarantine 0 B, models 20.0 kB, set aside 0 B\n\
             clock      synchronised\n\
             flash      86.4 MB written a day: 1014 years to 32 TB (a 32 GB card 1,000 times over)\n\
             learning   1 model promoted, 2 refused, 1 task open, 1 taken back\n\
             \x20          3,000 records answered, 7 flagged; 1,200 records of all streams let go before that\n"
        );
    }

    #[test]
    fn what_is_quarantined_held_or_dropped_comes_first_and_nothing_is_called_complete() {
        let all = "everything committed is upstream";
        let shown = |change: &dyn Fn(&mut Status), quarantine: &[(&str, Held)]| {
            let mut status = status();
            (status.upstream.lag_rows, status.upstream.lag_s) = (0, 0.0);
            change(&mut status);
            let items = quarantine.iter().map(|(r, held)| ((*r).to_owned(), *held));
            text(&Shown {
                running: true,
                status: Some(status),
                left: None,
                quarantine: items.collect(),
                verify: None,
                repair: None,
            })
        };
        let well = shown(&|_| {}, &[]);
        assert!(well.contains(all) && well.starts_with("agent"), "{well}");
        let held = Held {
            items: 1,
            records: 3,
        };
        let quarantined = shown(&|_| {}, &[("wrong_type", held)]);
        assert!(quarantined.starts_with("quarantine 1 item with 3 records: 1 wrong_type\n"));
        let held = shown(
            &|s| {
                (s.upstream.streams_held, s.upstream.rows_held) = (40, 9_000);
                s.upstream.held_stream = Some("plant/m1: no such table".into());
            },
            &[],
        );
        assert!(
            held.starts_with(
                "held       40 streams refused by the upstream; 9,000 rows wait in the buffer\n\
                 \x20          plant/m1: no such table\n"
            ),
            "{held}"
        );
        let dropped = shown(&|s| s.records.dropped = 7, &[]);
        assert!(dropped.starts_with("DROPPED    7 records"), "{dropped}");
        for text in [quarantined, held, dropped] {
            assert!(!text.contains(all), "{text}");
            assert!(text.contains("not everything"), "{text}");
        }
    }

    #[test]
    fn a_stopped_agent_and_a_gap_are_named() {
        let shape = status().buffer.shape;
        let gap = Gap {
            stream: "plant/m1".into(),
            from: Timestamp(0),
            to: Timestamp(1_000_000_000),
            committed: 7,
            upstream: 4,
        };
        let shown = Shown {
            running: false,
            status: None,
            left: Some(LeftBehind {
                data_dir: "/d".into(),
                buffer: shape,
                lag_rows: 0,
                lag_s: 0.0,
                streams_held: 0,
                rows_held: 0,
            }),
            quarantine: BTreeMap::new(),
            verify: Some(VerifyReport {
                rows_committed: 7,
                rows_upstream: 4,
                gaps: vec![gap.clone()],
                gaps_unlisted: 0,
            }),
            repair: repair(
                &VerifyReport {
                    gaps: vec![gap],
                    ..VerifyReport::default()
                },
                Some(Path::new("it's.toml")),
                Path::new("/d"),
            ),
        };
        assert_eq!(
            text(&shown),
            "agent      not running on /d\n\
             lag        none: everything committed is upstream\n\
             buffer     100 kB, 4,000 rows\n\
             quarantine empty\n\
             verify     7 rows committed and uploaded, 4 rows upstream\n\
             \x20          plant/m1: 3 rows missing, 0 (1970-01-01T00:00:00Z) to 1000000000 \
             (1970-01-01T00:00:01Z)\n\
             \x20          to send again what is missing: dunlin upload --again --stream plant/m1 \
             --from 0 --to 1000000000 -c 'it'\\''s.toml'\n"
        );
    }
}
