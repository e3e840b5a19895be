//! Shows a demo: a live view on a terminal, a line now and then elsewhere, or nothing.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};

use super::{
    observer::{MACHINES_MAX, MachineNow, Observer, Phase, Snapshot},
    setup::{STREAM, Setup},
    tally::Tally,
};
use crate::{observe::status::LearnStatus, simulate::FaultKind};

const LIVE_GAP: Duration = Duration::from_millis(200);
const LINE_GAP: Duration = Duration::from_secs(2);

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Lines that move, on standard output, which is a terminal.
    Live,
    /// A line every two seconds on standard output.
    Lines,
    Silent,
}

/// What is shown and does not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) machines: u32,
    pub(super) broker: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
}

/// A thread that looks and shows until closed.
pub(super) struct Screen(Option<(mpsc::Sender<Phase>, JoinHandle<()>)>);

impl Screen {
    pub(super) fn open(style: Style, observer: Observer, places: Places) -> Self {
        if style == Style::Silent {
            return Self(None);
        }
        let (sender, phases) = mpsc::channel();
        let thread = std::thread::Builder::new().name("screen".into());
        let thread = thread.spawn(move || {
            if style == Style::Live {
                let mut live = Live::new(places);
                watch(observer, &phases, LIVE_GAP, |snapshot| live.show(snapshot));
            } else {
                say(&headline(places));
                watch(observer, &phases, LINE_GAP, |snapshot| {
                    feed(snapshot).for_each(|text| say(&text));
                    say(&line(snapshot));
                });
            }
        });
        // Nothing to see is no reason to stop.
        Self(thread.ok().map(|thread| (sender, thread)))
    }

    pub(super) fn phase(&self, phase: Phase) {
        if let Some((sender, _)) = &self.0 {
            let _gone = sender.send(phase);
        }
    }

    /// Shows the end.
    pub(super) fn close(self) {
        if let Some((sender, thread)) = self.0 {
            drop(sender);
            let _panicked = thread.join();
        }
    }
}

/// Nobody reading any more is no reason to stop, either.
fn say(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}

fn watch(
    mut observer: Observer,
    phases: &mpsc::Receiver<Phase>,
    gap: Duration,
    mut show: impl FnMut(&Snapshot),
) {
    let mut phase = Phase::Starting;
    loop {
        match phases.recv_timeout(gap) {
            Ok(next) => {
                phase = next;
                // So that the time counts from here.
                show(&observer.look(phase));
            }
            Err(RecvTimeoutError::Timeout) => show(&observer.look(phase)),
            Err(RecvTimeoutError::Disconnected) => return show(&observer.look(Phase::Done)),
        }
    }
}

/// The lines that move.
struct Live {
    time: ProgressBar,
    lines: Vec<ProgressBar>,
    /// The latest, oldest first.
    feed: VecDeque<String>,
    /// Said once; a line goes when it is dropped.
    still: Vec<ProgressBar>,
}

impl Live {
    fn new(places: Places) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let plain = ProgressStyle::with_template("{wide_msg}");
        let plain = plain.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let line = || {
            let line = ProgressBar::new_spinner().with_style(plain.clone());
            all.add(line)
        };
        let head = line();
        head.set_message(headline(places));
        let time = all.add(ProgressBar::new(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:40.green} {msg}") {
            time.set_style(style);
        }
        let machines = MACHINES_MAX.min(places.machines as usize);
        let lines = 0..STATION_LINES + machines + NEWS_LINES;
        let lines = lines.map(|_| line()).collect();
        let mut still = vec![head];
        if let Some(metrics) = places.metrics {
            let line = line();
            line.set_message(format!("metrics at http://{metrics}/metrics"));
            still.push(line);
        }
        Self {
            time,
            lines,
            feed: VecDeque::new(),
            still,
        }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        self.time.set_length(snapshot.length.as_millis() as u64);
        self.time.set_position(snapshot.elapsed.as_millis() as u64);
        self.time.set_message(time(snapshot));
        self.feed.extend(feed(snapshot));
        self.feed
            .drain(..self.feed.len().saturating_sub(NEWS_LINES));
        let upper = stations(snapshot)
            .into_iter()
            .chain(snapshot.machines.iter().map(machine));
        let (above, below) = self.lines.split_at(self.lines.len() - NEWS_LINES);
        let texts = upper.zip(above).chain(self.feed.iter().cloned().zip(below));
        texts.for_each(|(text, line)| line.set_message(text));
        if snapshot.phase == Phase::Done {
            let still = self.still.iter().chain(&self.lines);
            still.chain([&self.time]).for_each(ProgressBar::abandon);
            // The last line is left without an end.
            say("");
        }
    }
}

fn headline(places: Places) -> String {
    format!(
        "{} machines -> MQTT {} -> agent -> SQLite; Ctrl-C ends it early",
        places.machines, places.broker
    )
}

fn time(snapshot: &Snapshot) -> String {
    let state = match snapshot.phase {
        Phase::Starting => "connecting",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Done => "done",
    };
    let (elapsed, length) = (snapshot.elapsed.as_secs(), snapshot.length.as_secs());
    format!("{elapsed} of {length} s, {state}")
}

const STATION_LINES: usize = 7;
/// The newest events shown.
const NEWS_LINES: usize = 6;

/// Where the records are, a line each.
fn stations(snapshot: &Snapshot) -> [String; STATION_LINES] {
    let (counts, rates, status) = (&snapshot.counts, &snapshot.rates, &snapshot.status);
    let station = |name: &str, count: u64, rate: f64, more: String| {
        let (count, rate) = (
            HumanCount(count).to_string(),
            HumanCount(rate.round() as u64),
        );
        format!("{name:<11} {count:>10} {:>9}/s  {more}", rate.to_string())
    };
    let shape = &status.buffer.shape;
    let buffer = format!(
        "on disk: {}, {} commits",
        HumanBytes(shape.bytes),
        HumanCount(status.buffer.commits)
    );
    let behind = match counts.committed.saturating_sub(counts.uploaded) {
        0 => "nothing waits".to_owned(),
        rows => format!(
            "{} rows wait, {:.1} s",
            HumanCount(rows),
            status.upstream.lag_s
        ),
    };
    let mut by_reason = String::new();
    for (reason, count) in &status.records.quarantined_by_reason {
        let _infallible = write!(by_reason, "{reason} {count}  ");
    }
    let quarantined = HumanCount(status.records.quarantined).to_string();
    let connected = match snapshot.phase {
        Phase::Running if !status.mqtt.connected => "not connected",
        _ => "over MQTT",
    };
    [
        station(
            "published",
            counts.published,
            rates.published,
            "by the machines".into(),
        ),
        station(
            "received",
            counts.received,
            rates.received,
            connected.into(),
        ),
        station("committed", counts.committed, rates.committed, buffer),
        station(
            "uploaded",
            counts.uploaded,
            rates.uploaded,
            format!("to SQLite; {behind}"),
        ),
        format!(
            "{:<11} {quarantined:>10}              {by_reason}",
            "quarantined"
        ),
        format!(
            "{:<11} {:>10}              validation {}, {}",
            "train",
            HumanCount(snapshot.train).to_string(),
            HumanCount(snapshot.validation),
            share(snapshot)
        ),
        learning(&status.learn),
    ]
}

/// What is learnt, in a line.
fn learning(learn: &LearnStatus) -> String {
    format!(
        "{:<11} {:>10}  flagged {}; models promoted {}, refused {}; drift {}",
        "answered",
        HumanCount(learn.predictions).to_string(),
        HumanCount(learn.flagged),
        learn.models_promoted,
        learn.models_rejected,
        learn.drifts
    )
}

fn share(snapshot: &Snapshot) -> String {
    let all = snapshot.train + snapshot.validation;
    if all == 0 {
        return "nothing split yet".into();
    }
    format!("{:.1} % train", 100.0 * snapshot.train as f64 / all as f64)
}

/// What a machine's sensors say, what is wrong with it, and what its model says.
fn machine(machine: &MachineNow) -> String {
    let [vibration, peak, temperature, current] = machine.reading;
    let fault = match machine.fault {
        None => "healthy",
        Some(FaultKind::Bearing) => "bearing",
        Some(FaultKind::Overheating) => "overheating",
        Some(FaultKind::Imbalance) => "imbalance",
    };
    let flag = match machine.flag {
        None => "no model yet",
        Some(true) => "FLAGGED",
        Some(false) => "not flagged",
    };
    format!(
        "{:<14} {vibration:5.2} mm/s, peak {peak:5.2} {temperature:5.1} C {current:4.1} A  \
         {fault}, {flag}",
        machine.name
    )
}

/// What has happened, a line each.
fn feed(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let elapsed = snapshot.elapsed.as_secs();
    snapshot
        .feed
        .iter()
        .map(move |line| format!("{elapsed:>4} s  {line}"))
}

/// All of it in one line, for logs.
fn line(snapshot: &Snapshot) -> String {
    let (counts, rates) = (&snapshot.counts, &snapshot.rates);
    format!(
        "{}: published {} ({:.0}/s), received {}, committed {}, uploaded {}, quarantined {}, {}, \
         models promoted {}, answered {}, flagged {}",
        time(snapshot),
        counts.published,
        rates.published,
        counts.received,
        counts.committed,
        counts.uploaded,
        snapshot.status.records.quarantined,
        share(snapshot),
        snapshot.status.learn.models_promoted,
        snapshot.status.learn.predictions,
        snapshot.status.learn.flagged
    )
}

/// What was learnt, and how good it was.
fn learnt(tally: &Tally) -> String {
    if tally.predictions == 0 {
        return "No model was there in time to answer a record; 60 seconds are enough for one.\n"
            .into();
    }
    let faulty = tally.anomalies_true_positive + tally.anomalies_missed;
    let healthy = tally.anomalies_false_positive + tally.anomalies_true_negative;
    let percent = |part: u64, all: u64| format!("{:.1} %", 100.0 * part as f64 / all as f64);
    let found = match faulty {
        0 => "No machine had a fault by then.".to_owned(),
        _ => format!(
            "Of the records of a faulty machine they flagged {}.",
            percent(tally.anomalies_true_positive, faulty)
        ),
    };
    let false_alarms = match healthy {
        0 => String::new(),
        _ => format!(
            " Of those of a healthy one {} (false alarms).",
            percent(tally.anomalies_false_positive, healthy)
        ),
    };
    format!(
        "Models promoted, trained here on what was usual: {}; records they answered: {}.\n\
         {found}{false_alarms}\nDrift was noticed {} times.\n",
        HumanCount(tally.models_promoted),
        HumanCount(tally.predictions),
        HumanCount(tally.drifts)
    )
}

/// What happened, where it lies, what to type next.
pub(super) fn summary(tally: &Tally, setup: &Setup) -> String {
    let count = HumanCount;
    let mut text = format!(
        "\n{} records published in {:.1} s: {} committed and uploaded, {} quarantined, {} lost.\n",
        count(tally.published),
        tally.seconds,
        count(tally.upstream_rows),
        count(tally.quarantined),
        count(
            tally
                .published
                .saturating_sub(tally.upstream_rows + tally.quarantined)
        ),
    );
    if let Some(fraction) = tally.train_fraction {
        let _infallible = writeln!(
            text,
            "Each has a timestamp of its own and its split, {:.1} % train.",
            100.0 * fraction
        );
    }
    text.push_str(&learnt(tally));
    let (kept, dir) = match setup.kept() {
        Some(dir) => (true, dir.display().to_string()),
        None => (false, "demo-data".to_owned()),
    };
    let _infallible = if kept {
        writeln!(text, "\nEverything lies in {dir}. Look at it:")
    } else {
        writeln!(
            text,
            "\nNothing was kept. To look at the rows afterwards:\n  dunlin demo --dir {dir}"
        )
    };
    let _infallible = write!(
        text,
        "  sqlite3 -header {dir}/central.db \"SELECT machine, count(*) AS n, sum(is_train) AS train,\n    \
         round(avg(vibration_mm_s), 2) AS mm_s FROM {STREAM}_tagged GROUP BY line, machine\"\n\
         With your own broker and database:\n  dunlin init\n  dunlin run -c dunlin.toml"
    );
    text
}
