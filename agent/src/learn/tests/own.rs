//! Whole agents with a recipe of their own: its answers reach a controller over MQTT, and a model that
//! panics ends nothing.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use dunlin_models::{
    data::WindowShape,
    recipe::{Output, Problem},
    recipes::custom::Custom,
    registry::ModelKey,
};

use crate::{
    app::Agent,
    config::{self, Overrides, settings::Settings},
    ingest::{Incoming, Ingest},
    own::Own,
    record::writer::{Request, RequestContent},
    simulate::broker::EmbeddedBroker,
};

const PATIENCE: Duration = Duration::from_mins(1);
const HARMFUL: f32 = 1_000.0;

/// Expects just what there is, and panics at a harmful value.
fn oracle() -> Custom {
    let shape = WindowShape {
        lookback: 1,
        horizon: 0,
    };
    let infer = |_: &[f32], input: &[f32], output: &mut Output| {
        assert!(input[0] < HARMFUL, "harmful");
        output.values.extend_from_slice(input);
        output.score = 0.25;
    };
    Custom::new(
        "oracle",
        Problem::Anomaly,
        shape,
        |_, _, _, _| Ok(vec![1.0]),
        infer,
    )
}

fn settings(dir: &std::path::Path, url: &str) -> Settings {
    let path = dir.join("dunlin.toml");
    let text = format!(
        r#"
device = "d"
data_dir = "data"
[mqtt]
url = "{url}"
client_id = "own-{}"
[upstream]
url = "sqlite:up.db"
[http]
listen = ""
[clock]
hold_s = 0
[buffer]
commit_gap_ms_min = 100
[learn]
scan_ms = 100
[[stream]]
name = "v"
topic = "own/+machine"
split = {{ method = "random", train = 0.5, seed = 1 }}
[[recipe]]
name = "seer"
streams = "v/*"
algorithm = "custom:oracle"
min_start_count = 100
windows_min = 10
publish = "told/{{machine}}/{{recipe}}"
"#,
        std::process::id()
    );
    std::fs::write(&path, text).unwrap();
    let own = Own::default().with_recipe("oracle", oracle());
    config::load_with(Some(&path), &Overrides::default(), &own).unwrap()
}

/// Makes these values records, and waits until they are durable.
fn feed(agent: &Agent, values: impl Iterator<Item = f32>) {
    let (reply, answers) = mpsc::channel();
    for value in values {
        let content = RequestContent::Publish {
            wanted: None,
            at_ns: None,
            topic: b"own/press".to_vec(),
            payload: format!("{{\"x\":{value:.1}}}").into_bytes(),
        };
        let reply = reply.clone();
        assert!(agent.requests().send(Request { content, reply }).is_ok());
    }
    drop(reply);
    assert!(answers.iter().all(|stored| stored == Ok(1)));
}

fn until(agent: &Agent, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{:?}", agent.view().learn);
        thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_reach_a_controller_and_a_model_that_panics_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(None).unwrap();
    let settings = settings(dir.path(), &broker.url());
    let mut mqtt = settings.mqtt.clone();
    (mqtt.client_id, mqtt.status_topic) = ("controller".into(), None);
    let (controller, mut inbox, _acker, stopper) =
        Ingest::new(&mqtt, vec!["told/#".into()], "controller", 1).unwrap();
    let heard = controller.stats();
    let controller = thread::spawn(move || controller.run().unwrap());

    let agent = Agent::start(settings).await.unwrap();
    let view = agent.view();
    let learnt = &view.learn;
    tokio::task::block_in_place(|| {
        until(&agent, || heard.subscriptions.load(Relaxed) > 0);
        until(&agent, || view.ingest.connected.load(Relaxed));
        feed(&agent, (0..200).map(|n| (n % 10) as f32));
        until(&agent, || learnt.promoted.load(Relaxed) == 1);
        while learnt.predictions.load(Relaxed) == 0 {
            feed(&agent, (0..10).map(|n| n as f32));
        }
        let mut told: Vec<Incoming> = Vec::new();
        inbox.recv(&mut told, Some(Instant::now() + PATIENCE));
        let first = told.first().unwrap();
        assert_eq!(first.topic, "told/press/seer");
        let payload: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
        assert_eq!(payload["version"], 1);
        assert_eq!(payload["stream"], "v/press");
        assert_eq!(payload["score"], 0.25);
        assert_eq!(payload["flag"], false);
        assert!(
            payload["ts"].is_i64() && payload["outputs"].is_array(),
            "{payload}"
        );

        feed(&agent, [2.0 * HARMFUL, 1.0, 2.0].into_iter());
        until(&agent, || learnt.broken.load(Relaxed) == 1);
        let key = ModelKey::new("seer", "v/press");
        let version = view.models.version(&key, 1).unwrap();
        assert_eq!(version.status, view.settings().learn.status.failed);
        feed(&agent, [1.0, 2.0].into_iter());
    });
    assert_eq!(view.ended.get(), None, "every worker goes on");
    agent.stop().await.unwrap();
    stopper.stop(Duration::ZERO);
    controller.join().unwrap();
}
