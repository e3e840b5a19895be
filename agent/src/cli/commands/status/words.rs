//! What `dunlin status` says, in words: what waits for somebody comes first.

use std::{collections::BTreeMap, fmt::Write as _};

use dunlin_sync::verify::VerifyReport;

use super::{LeftBehind, Shown};
use crate::{
    admin::operations::Quarantined,
    base::{
        text,
        text::{bytes, count, of, seconds},
    },
    observe::{
        status::{ConfigurationStatus, Status},
        words,
    },
};

/// Troubles with the broker shown one by one.
const TROUBLES_SHOWN_MAX: usize = 8;

/// Lines of a name and what there is to say about it.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, what: &str) {
        // Writing to a String cannot fail.
        let _ok = writeln!(self.0, "{name:<11}{what}");
    }
}

pub(super) fn text(shown: &Shown) -> String {
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
        let command = text::printable(command);
        lines.add("", &format!("to send again what is missing: {command}"));
    }
    lines.0
}

/// What was taken and will not come upstream unless somebody does something.
struct Trouble<'a> {
    quarantine: &'a BTreeMap<String, Quarantined>,
    streams_held: u64,
    rows_held: u64,
    held_stream: Option<&'a str>,
    times_replaced: u64,
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
            times_replaced: up.map_or(0, |up| up.times_replaced),
            dropped: status.map_or(0, |s| s.records.dropped),
        }
    }

    fn is_none(&self) -> bool {
        self.quarantine.is_empty()
            && self.streams_held == 0
            && self.times_replaced == 0
            && self.dropped == 0
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
                lines.add("", &text::printable(example));
            }
            lines.add("", "repair them there; the agent tries again by itself");
        }
        if self.times_replaced > 0 {
            let times = of(self.times_replaced, "time");
            let text = format!("the database was removed or replaced, {times} since the start");
            lines.add("replaced", &text);
            lines.add(
                "",
                "what it lacks: dunlin status --verify; send it again: dunlin upload --again",
            );
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
            &format!("called {before} before; {elsewhere} of earlier names, as NAME#DEVICE"),
        );
    }
    let because = |error: &Option<String>| {
        let error = error.as_ref().map(|e| text::printable(e));
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
        lines.add("", &text::printable(trouble));
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
    if s.mqtt.rebirths_asked > 0 {
        let asked = of(s.mqtt.rebirths_asked, "rebirth");
        let _ok = write!(records, ", {asked} asked for");
    }
    lines.add("records", &records);
    if s.records.times_implausible > 0 {
        let left_out = of(s.records.times_implausible, "record");
        let text = format!(
            "{left_out} without the source's time, which is outside time_min and time_max_ahead"
        );
        lines.add("", &text);
    }
    if s.records.records_excluded > 0 {
        let excluded = of(s.records.records_excluded, "record");
        let text = format!(
            "{excluded} not stored: include_fields and exclude_fields leave nothing of them"
        );
        lines.add("", &text);
    }
    for (reason, fields) in &s.records.values_missing {
        const FIELDS_TOLD_MAX: usize = 4;
        let told = fields.iter().take(FIELDS_TOLD_MAX);
        let told =
            told.map(|(field, values)| format!("{} {}", text::printable(field), count(*values)));
        let mut told = told.collect::<Vec<_>>().join(", ");
        if fields.len() > FIELDS_TOLD_MAX {
            told.push_str(", ...");
        }
        lines.add("", &format!("values missing, {reason}: {told}"));
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
    fields(&s.fields_held, lines);
    if !s.rules_silent.is_empty() {
        lines.add("silent", &words::silent(&s.rules_silent));
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
        if learn.late > 0 {
            let late = of(learn.late, "record");
            let _ok = write!(text, "; {late} too late for their grid (`late_ms_max`)");
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
            .filter_map(words::progress)
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
        let text = format!("the last file read is REFUSED: {}", text::printable(why));
        lines.add("", &text);
    }
}

/// Recipes shown that wait for records.
const PROGRESS_MAX: usize = 10;

fn stopped(left: &LeftBehind, trouble: &Trouble<'_>, lines: &mut Lines) {
    lines.add("agent", &format!("not running on {}", left.data_dir));
    lines.add("lag", &lag(left.lag_rows, left.lag_s, trouble));
    let newest = left.buffer.newest_ts.map(text::time);
    let newest = newest.map_or_else(String::new, |time| format!(", the newest of {time}"));
    let buffer = format!(
        "{}, {}{newest}",
        bytes(left.buffer.bytes as f64),
        of(left.buffer.rows, "row")
    );
    lines.add("buffer", &buffer);
    fields(&left.fields_held, lines);
}

fn fields(held: &[String], lines: &mut Lines) {
    for (index, field) in held.iter().enumerate() {
        lines.add(if index == 0 { "fields" } else { "" }, field);
    }
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
            text::time(gap.from.0),
            gap.to,
            text::time(gap.to.0)
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
mod tests;
