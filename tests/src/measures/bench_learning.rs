//! What learning costs ingestion, and how soon a record is answered: the whole agent at 1,000 records/s
//! over 10 streams, without learning, answering every record, and answering while a network is trained
//! all the time. Runs interleaved, each with an agent of its own.
//!
//! `DUNLIN_MQTT_URL=mqtt://127.0.0.1:1883 cargo run --release -p dunlin-tests --bin bench_learning
//! [-- --runs R --seconds S --dir DIR]` prints one JSON line. Without the variable the embedded broker
//! is used. Times are taken in a relay beside the agent's socket: from a publish passing to its PUBACK,
//! and to the answer, which is published only once it is durable. A commit for every few records
//! (`gap_0`), and with the usual gap between commits (`gap_usual`).

use std::{
    collections::{BTreeMap, HashMap},
    f64::consts::TAU,
    fs,
    net::ToSocketAddrs as _,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use dunlin_agent::{mqtt::url::BrokerUrl, simulate::broker::EmbeddedBroker};
use dunlin_tests::{
    device::{Device, as_agent, until},
    doubles::relay::{Relay, Times},
    measure::{median, memory_bytes, quantile},
    options::{option, refuse_others},
    publisher::Publisher,
    records::Publish,
};
use serde_json::{Value, json};

const STREAMS: u64 = 10;
const RATE_PER_S: f64 = 1_000.0;
/// Records of each stream before anything is measured.
const LESSON: u64 = 1_500;
const PATIENCE: Duration = Duration::from_mins(2);
/// What was published long ago has been answered by then.
const SILENCE: Duration = Duration::from_secs(1);
/// A training is given up after so long, which shows what memory it leaves.
const TRAINING_S: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Without,
    Answering,
    Training,
}

const MODES: [(Mode, &str); 3] = [
    (Mode::Without, "without"),
    (Mode::Answering, "answering"),
    (Mode::Training, "training"),
];
const GAPS_MS: [(Option<u64>, &str); 2] = [(None, "gap_usual"), (Some(0), "gap_0")];

/// The figures of some runs alike.
#[derive(Default)]
struct Figures {
    ack_ms: [Vec<f64>; 2],
    answer_ms: [Vec<f64>; 2],
    peak_mb: Vec<f64>,
    after_mb: Vec<f64>,
}

struct Bench {
    url: String,
    seconds: u64,
    dir: PathBuf,
    runs_done: usize,
}

fn main() -> ExitCode {
    if let Some(code) = as_agent() {
        return code;
    }
    refuse_others(&["runs", "seconds", "dir"]);
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Value, String> {
    let embedded;
    let url = if let Ok(url) = std::env::var("DUNLIN_MQTT_URL") {
        url
    } else {
        embedded = EmbeddedBroker::start(None).map_err(|e| e.to_string())?;
        embedded.url_311()
    };
    let mut bench = Bench {
        url,
        seconds: option("seconds").unwrap_or(10),
        dir: option("dir").unwrap_or_else(std::env::temp_dir),
        runs_done: 0,
    };
    let mut figures: BTreeMap<(&str, Mode), Figures> = BTreeMap::new();
    for _ in 0..option("runs").unwrap_or(3) {
        for (gap_ms, gap) in GAPS_MS {
            for (mode, name) in MODES {
                let told = bench.measure(mode, gap_ms, figures.entry((gap, mode)).or_default())?;
                eprintln!("{gap} {name}: {told}");
            }
        }
    }
    let mut report = serde_json::Map::new();
    for (_, gap) in GAPS_MS {
        let of = |mode| &figures[&(gap, mode)];
        let plain = of(Mode::Without).ack_ms.each_ref().map(|all| median(all));
        let modes = MODES.map(|(mode, name)| {
            let figures = of(mode);
            let ack = figures.ack_ms.each_ref().map(|all| median(all));
            let answer = figures.answer_ms.each_ref().map(|all| median(all));
            let line = json!({
                "puback_ms": {"p50": ack[0], "p99": ack[1]},
                "puback_ratio": {"p50": ack[0] / plain[0], "p99": ack[1] / plain[1]},
                "answer_ms": {"p50": answer[0], "p99": answer[1]},
                "rss_peak_mb": median(&figures.peak_mb), "rss_after_mb": median(&figures.after_mb),
            });
            (name.to_owned(), line)
        });
        report.insert(gap.into(), Value::Object(modes.into_iter().collect()));
    }
    Ok(Value::Object(report))
}

impl Bench {
    /// One run; adds its figures, and tells them.
    fn measure(
        &mut self,
        mode: Mode,
        gap_ms: Option<u64>,
        figures: &mut Figures,
    ) -> Result<String, String> {
        let dir = tempfile::tempdir_in(&self.dir).map_err(|e| e.to_string())?;
        let broker = BrokerUrl::parse(&self.url).map_err(|e| e.to_string())?;
        let address = (broker.host.as_str(), broker.port).to_socket_addrs();
        let address = address.ok().and_then(|mut found| found.next());
        let address = address.ok_or_else(|| format!("{} has no address", self.url))?;
        let relay = Relay::mqtt(address).map_err(|e| e.to_string())?;
        self.runs_done += 1;
        let name = format!("learning-{}-{}", std::process::id(), self.runs_done);
        let mut device = device(dir.path(), &name, &relay, mode, gap_ms)?;
        device.start().map_err(|e| e.to_string())?;
        until(PATIENCE, "the subscription", || {
            (relay.seen().subscribed > 0).then_some(())
        })?;
        let publisher = Publisher::connect(&self.url, &format!("{name}-publisher"));
        let mut source = Source {
            publisher: publisher.map_err(|e| e.to_string())?,
            name,
            next: 0,
        };

        source.publish(LESSON * STREAMS, 10.0 * RATE_PER_S)?;
        if mode >= Mode::Answering {
            device.wait_status(PATIENCE, "models", |s| s.learn.models_promoted == STREAMS)?;
        }
        let checkpoint = device.data_dir().join("state/checkpoint-");
        if mode == Mode::Training {
            until(PATIENCE, "a training", || {
                has_any(&checkpoint).then_some(())
            })?;
        }
        // What comes late of the lesson is not to be taken for what comes now.
        source.publish(STREAMS * 50, RATE_PER_S)?;
        thread::sleep(SILENCE);
        relay.start_times();
        let first = source.next;
        source.publish(self.seconds * RATE_PER_S as u64, RATE_PER_S)?;
        let count = (source.next - first) as usize;
        let answers = if mode == Mode::Without { 0 } else { count };
        let is_under_way = mode != Mode::Training || has_any(&checkpoint);
        let times = until(PATIENCE, "every PUBACK and answer", || {
            let times = relay.times();
            (times.acknowledged.len() == count && times.published.len() >= answers).then_some(times)
        })?;
        if times.published.len() != answers || !is_under_way {
            let found = times.published.len();
            return Err(format!(
                "{found} of {answers} answers; training: {is_under_way}"
            ));
        }
        let pid = device.pid().unwrap_or_default();
        let peak_mb = memory_bytes(pid, "VmHWM:") as f64 / 1e6;
        device.wait_status(PATIENCE, "the end of training", |s| s.learn.tasks_open == 0)?;
        let after_mb = memory_bytes(pid, "VmRSS:") as f64 / 1e6;

        let ack_ms = ack_ms(&times);
        let answer_ms = answer_ms(&times, first)?;
        let quantiles = |all: &[f64]| [quantile(all, 0.5), quantile(all, 0.99)];
        let (ack, answer) = (quantiles(&ack_ms), quantiles(&answer_ms));
        for at in 0..2 {
            figures.ack_ms[at].push(ack[at]);
            figures.answer_ms[at].push(answer[at]);
        }
        figures.peak_mb.push(peak_mb);
        figures.after_mb.push(after_mb);
        Ok(format!(
            "PUBACK {:.2} / {:.2} ms, answer {:.2} / {:.2} ms, {peak_mb:.1} MB, {after_mb:.1} MB after",
            ack[0], ack[1], answer[0], answer[1]
        ))
    }
}

/// Milliseconds from each publish to its PUBACK.
fn ack_ms(times: &Times) -> Vec<f64> {
    let pairs = times.acknowledged.iter();
    let pairs = pairs.filter_map(|(n, at)| Some(at.duration_since(*times.sent.get(n)?)));
    pairs.map(|took| took.as_secs_f64() * 1e3).collect()
}

/// Milliseconds from each publish, from number `first` on, to its answer: the answers of a stream come
/// in the order of its records.
fn answer_ms(times: &Times, first: u64) -> Result<Vec<f64>, String> {
    let mut next: HashMap<u64, u64> = (first..first + STREAMS).map(|n| (n % STREAMS, n)).collect();
    let answers = times.published.iter().map(|(at, payload)| {
        let answer: Value = serde_json::from_slice(payload).ok()?;
        let stream = answer["stream"].as_str()?.rsplit_once("line")?.1;
        let n = next.get_mut(&stream.parse().ok()?)?;
        let took = at.duration_since(*times.sent.get(n)?);
        *n += STREAMS;
        Some(took.as_secs_f64() * 1e3)
    });
    let answers: Option<Vec<f64>> = answers.collect();
    answers.ok_or_else(|| "an answer to nothing that was asked".into())
}

fn has_any(beginning: &Path) -> bool {
    let dir = beginning.parent().map(fs::read_dir);
    let mut entries = dir.into_iter().flatten().flatten().flatten();
    let beginning = beginning.to_string_lossy();
    entries.any(|entry| entry.path().to_string_lossy().starts_with(&*beginning))
}

/// Machines that turn, one a stream.
struct Source {
    publisher: Publisher,
    name: String,
    next: u64,
}

impl Source {
    /// Publishes `count` records, so many a second.
    fn publish(&mut self, count: u64, rate_per_s: f64) -> Result<(), String> {
        let (began, first) = (Instant::now(), self.next);
        let publishes = (first..first + count).map(|n| {
            let due = Duration::from_secs_f64((n - first) as f64 / rate_per_s);
            // The pace.
            thread::sleep(due.saturating_sub(began.elapsed()));
            let angle = (n / STREAMS) as f64 * TAU / 40.0;
            let fields = ["a", "b", "c", "d"].into_iter().enumerate();
            let members = fields.map(|(at, field)| {
                // As good as noise, and the same in every run.
                let noise = ((n * 7 + at as u64) as f64 * 12.9898).sin() * 43_758.547;
                let value = (angle + at as f64).sin() + 0.1 * noise.fract();
                format!(",\"{field}\":{value:.5}")
            });
            let members: String = members.collect();
            Publish {
                topic: format!("{}/line{}", self.name, n % STREAMS),
                payload: format!("{{\"n\":{n}{members}}}").into_bytes(),
            }
        });
        let published = self.publisher.publish(publishes);
        published.map_err(|e| e.to_string())?;
        self.next += count;
        Ok(())
    }
}

fn device(
    dir: &Path,
    name: &str,
    relay: &Relay,
    mode: Mode,
    gap_ms: Option<u64>,
) -> Result<Device, String> {
    let features = "features = [\"a\", \"b\", \"c\", \"d\"]\nmin_update_count = 1000000000\n";
    let mut config = vec![format!("[learn]\nscan_ms = 200\nlimit_s = {TRAINING_S}\n")];
    if mode >= Mode::Answering {
        config.push(format!(
            "[[recipe]]\nname = \"health\"\nstreams = \"records/*\"\nalgorithm = \"pca\"\n\
             lookback = 32\nmin_start_count = 1000\npublish = \"answers/{name}/{{line}}\"\n{features}"
        ));
    }
    if mode == Mode::Training {
        // Never better for long enough, never done.
        config.push(format!(
            "[[recipe]]\nname = \"endless\"\nstreams = \"records/line0\"\n\
             algorithm = \"autoencoder\"\nlookback = 32\nmin_start_count = {LESSON}\n\
             epochs_max = 100000\npatience_epochs = 100000\n{features}"
        ));
    }
    let file = dir.join("dunlin.toml");
    fs::write(&file, config.concat()).map_err(|e| e.to_string())?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut device = Device::new(&program, &dir.join("data"), &dir.join("log"))
        .with("--config", file.display())
        .with("--mqtt", relay.mqtt_url())
        .with("--topic", format!("records={name}/+line"))
        .with(
            "--upstream",
            format!("sqlite:{}", dir.join("central.db").display()),
        )
        .with("--device", name)
        .with("--clock-hold-s", 0)
        .with("--http-listen", "")
        .with("--log-level", "warn");
    if let Some(gap_ms) = gap_ms {
        device.set("--buffer-commit-gap-ms-min", gap_ms);
    }
    Ok(device)
}
