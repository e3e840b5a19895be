//! Ingestion measured: the whole agent, durable before every PUBACK, against a bare rumqttc
//! subscriber that acknowledges without storing. Same broker, same load, runs interleaved.
//!
//! `DUNLIN_MQTT_URL=mqtt://127.0.0.1:1883 cargo run --release -p dunlin-tests --bin bench_ingest
//! [-- --count N --runs R --dir DIR]` prints one JSON line. Without the variable the embedded broker
//! is used. Each run publishes N records at full speed from a process of its own while the subscriber
//! works (`live`); then N wait in the persistent session before the subscriber starts (`backlog`).

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use dunlin_agent::{
    app::Agent,
    config::{self, Overrides},
    mqtt::url::BrokerUrl,
    simulate::{self, SimulateOptions, broker::EmbeddedBroker},
};
use dunlin_tests::measure::{median, rss_bytes};
use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tokio::{sync::watch, time::sleep};

const STREAMS: u32 = 10;
const WINDOW: u16 = 2_000;
const RUN_MAX: Duration = Duration::from_mins(2);

type Anything = Box<dyn std::error::Error>;

struct Bench {
    url: String,
    count: u64,
    runs: usize,
    dir: PathBuf,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Anything> {
    let mut bench = Bench {
        url: String::new(),
        count: 300_000,
        runs: 5,
        dir: std::env::temp_dir(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("every option takes a value")?;
        match arg.as_str() {
            "--count" => bench.count = value.parse()?,
            "--runs" => bench.runs = value.parse()?,
            "--dir" => bench.dir = PathBuf::from(value),
            "--publish" => return publish(&value, bench.count).await,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    bench.url = match std::env::var("DUNLIN_MQTT_URL") {
        Ok(url) => url,
        Err(_) => EmbeddedBroker::start(None)?.url(),
    };
    let mut report = serde_json::Map::new();
    for backlog in [false, true] {
        let (mut bare, mut agent) = (Vec::new(), Vec::new());
        for run in 0..bench.runs {
            bare.push(bench.bare(run, backlog).await?);
            agent.push(bench.agent(run, backlog).await?);
            eprintln!(
                "{} run {run}: bare {:.0}/s, agent {:.0}/s",
                if backlog { "backlog" } else { "live" },
                bare[run],
                agent[run]
            );
        }
        report.insert(
            if backlog { "backlog" } else { "live" }.into(),
            serde_json::json!({
                "bare_per_s": median(&bare).round(), "agent_per_s": median(&agent).round(),
                "ratio": median(&agent) / median(&bare),
            }),
        );
    }
    report.insert("rss_mb".into(), (rss_bytes() as f64 / 1e6).into());
    println!("{}", serde_json::Value::Object(report));
    Ok(())
}

async fn publish(url: &str, count: u64) -> Result<(), Anything> {
    let mut options = SimulateOptions::new(BrokerUrl::parse(url)?);
    options.rate = 0.0;
    options.streams = STREAMS;
    options.count = count;
    options.fault_gap_s = 0.0;
    let (_stop, stopped) = watch::channel(false);
    tokio::task::spawn_blocking(move || simulate::run(&options, stopped)).await??;
    Ok(())
}

impl Bench {
    /// A broker with a backlog was seen to ignore the window: there must be room for every PUBACK.
    fn requests_max(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX) + usize::from(WINDOW)
    }

    fn publisher(&self) -> Result<Child, Anything> {
        let me = std::env::current_exe()?;
        let count = self.count.to_string();
        Ok(Command::new(me)
            .args(["--count", &count, "--publish", &self.url])
            .spawn()?)
    }

    fn wait(mut publisher: Child) -> Result<(), Anything> {
        if publisher.wait()?.success() {
            Ok(())
        } else {
            Err("the publisher failed".into())
        }
    }

    fn bare_options(&self, id: &str) -> Result<MqttOptions, Anything> {
        let broker = BrokerUrl::parse(&self.url)?;
        let mut options = MqttOptions::new(id, broker.host, broker.port);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(300))
            .set_receive_maximum(Some(WINDOW))
            .set_max_packet_size(Some(1 << 20))
            .set_request_channel_capacity(self.requests_max())
            .set_manual_acks(true);
        Ok(options)
    }

    /// Publishes a second that rumqttc alone receives and acknowledges.
    async fn bare(&self, run: usize, backlog: bool) -> Result<f64, Anything> {
        let id = format!("bench-bare-{}-{run}-{backlog}", std::process::id());
        let options = self.bare_options(&id)?;
        let (client, mut events) = AsyncClient::new(options.clone(), self.requests_max());
        client
            .subscribe("plant/+/+/vibration", QoS::AtLeastOnce)
            .await?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        let publisher = self.publisher()?;
        let (client, mut events) = if backlog {
            client.disconnect().await?;
            while events.poll().await.is_ok() {}
            Self::wait(publisher)?;
            let (client, events) = AsyncClient::new(options, self.requests_max());
            (client, events)
        } else {
            // The first publishes are on their way while we poll.
            tokio::task::spawn_blocking({
                let mut publisher = publisher;
                move || publisher.wait()
            });
            (client, events)
        };
        let mut received = 0;
        let mut started = None;
        let mut group = Vec::new();
        while received < self.count {
            let event = tokio::time::timeout(RUN_MAX, events.poll()).await??;
            if let Event::Incoming(Packet::Publish(publish)) = event {
                started.get_or_insert_with(Instant::now);
                received += 1;
                group.push(publish);
                if group.len() == usize::from(WINDOW) / 4 || received == self.count {
                    for publish in group.drain(..) {
                        client.try_ack(&publish)?;
                    }
                }
            }
        }
        let seconds = started.map_or(f64::INFINITY, |s| s.elapsed().as_secs_f64());
        // Let the last PUBACKs out before the session is taken down.
        client.disconnect().await?;
        while events.poll().await.is_ok() {}
        Ok(self.count as f64 / seconds)
    }

    /// Records a second that the agent takes, commits and acknowledges; the upstream is away.
    async fn agent(&self, run: usize, backlog: bool) -> Result<f64, Anything> {
        let dir = tempfile::tempdir_in(&self.dir)?;
        let id = format!("bench-agent-{}-{run}-{backlog}", std::process::id());
        let agent = Agent::start(self.settings(dir.path(), &id)?).await?;
        let view = agent.view().clone();
        while view.ingest.subscriptions.load(Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(view);
        let agent = if backlog {
            agent.stop().await?;
            Self::wait(self.publisher()?)?;
            Agent::start(self.settings(dir.path(), &id)?).await?
        } else {
            let mut publisher = self.publisher()?;
            tokio::task::spawn_blocking(move || publisher.wait());
            agent
        };
        let view = agent.view().clone();
        let deadline = Instant::now() + RUN_MAX;
        while view.ingest.publishes.load(Relaxed) == 0 {
            sleep(Duration::from_micros(200)).await;
        }
        let started = Instant::now();
        while view.buffer.stats().rows_committed.load(Relaxed) < self.count
            || view.ingest.acks.load(Relaxed) < self.count
        {
            if Instant::now() > deadline {
                return Err(format!("timed out: {:#?}", view.status()).into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        agent.stop().await?;
        Ok(self.count as f64 / seconds)
    }

    fn settings(
        &self,
        dir: &Path,
        id: &str,
    ) -> Result<dunlin_agent::config::settings::Settings, Anything> {
        let overrides = Overrides::default()
            .set("device", "bench")
            .set("data_dir", dir.display().to_string())
            .set("mqtt.url", &self.url)
            .set("mqtt.client_id", id)
            .set("mqtt.receive_maximum", WINDOW.to_string())
            .set("upstream.url", "tdengine://root:taosdata@127.0.0.1:1/bench")
            .set("shutdown_ms_max", "1000")
            .set("http.listen", "")
            .set("log.level", "error")
            .topic("vibration=plant/+line/+machine/vibration");
        config::load(None, &overrides).map_err(|mistakes| {
            mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
                .into()
        })
    }
}
