//! The demo's machines, seen through the demo's recipe by the very learner of the agent, as fast as it
//! goes: whether faults are found and healthy machines left alone, whatever the seed.

#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, sync::Arc};

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    sample::{Field, FieldType, Sample, Schema, StreamId, Timestamp, Value},
};
use serde_json::Value as Json;

use super::{
    run::simulation,
    setup::{STREAM, config},
    tally::{Flags, state_at},
    tests::args,
    *,
};
use crate::{
    config::load,
    learn::dry_run::{Learnt, dry_run},
    mqtt::url::BrokerUrl,
    record::split::Splitter,
    simulate::{Fleet, Report},
};

const FIELDS: [&str; 5] = [
    "vibration_mm_s",
    "peak_mm_s",
    "temperature_c",
    "current_a",
    "rpm",
];
/// Scans a second.
const SCANS: f64 = 2.0;

/// What a demo of a minute with this seed finds.
fn rehearse_demo(seed: u64) -> (Flags, Learnt) {
    let url = "mqtt://127.0.0.1:1883";
    let args = DemoArgs {
        rate: 200.0,
        machines: 6,
        seed,
        bad_every: 500,
        ..args(60)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, config(&args, url)).unwrap();
    let settings = load(Some(&path), &Overrides::default()).unwrap();
    let split = &settings.streams[0].split;

    let mut fleet = Fleet::new(&simulation(&args, BrokerUrl::parse(url).unwrap()));
    let mut streams: HashMap<String, (StreamId, Splitter)> = HashMap::new();
    // Name of the stream and number of the reading, by timestamp.
    let mut readings: HashMap<i64, (String, u64)> = HashMap::new();
    let mut schema: Option<Arc<Schema>> = None;
    let gap_ns = (1e9 / args.rate) as i64;
    let mut ts = 1_700_000_000_000_000_000;
    let mut scans = args.seconds * SCANS as u64;
    let learnt = dry_run(settings.learn.clone(), |buffer| {
        let schema = schema.get_or_insert_with(|| {
            let fields = FIELDS.map(|name| Field {
                name: name.into(),
                kind: FieldType::F64,
            });
            buffer.declare_schema(STREAM, &[], &fields).unwrap()
        });
        let mut builder = BlockBuilder::new(Compression::Pco);
        for _ in 0..(args.rate / SCANS) as u64 {
            ts += gap_ns;
            let words = fleet.reading(ts / 1_000_000);
            // Broken on purpose.
            let Ok(Json::Object(json)) = serde_json::from_slice(words.payload) else {
                continue;
            };
            let levels: Vec<&str> = words.topic.split('/').collect();
            let name = format!("{STREAM}/{}/{}", levels[1], levels[2]);
            let (stream, splitter) = streams.entry(name.clone()).or_insert_with(|| {
                let stream = buffer.declare_stream(schema.id, &name, &[]);
                (stream.id, Splitter::new(split, &name))
            });
            let sample = Sample {
                stream: *stream,
                ts: Timestamp(ts),
                split: splitter.assign(Timestamp(ts)),
                source_ts: None,
                values: FIELDS
                    .map(|f| json[f].as_f64().map(Value::F64))
                    .into_iter()
                    .collect(),
            };
            builder.push(schema, sample).unwrap();
            readings.insert(ts, (name, json["n"].as_u64().unwrap()));
        }
        buffer.commit(&builder.finish(), &[]).unwrap();
        scans -= 1;
        scans > 0
    });
    let mut report = Report::default();
    fleet.report(&mut report);
    let mut flags = Flags::default();
    for answer in &learnt.answers {
        let (stream, n) = &readings[&answer.ts];
        flags.add(state_at(&report.states, stream, *n), answer.flag);
    }
    (flags, learnt)
}

#[test]
fn faults_are_found_and_healthy_machines_left_alone_whatever_the_seed() {
    let seeds = std::env::var("DUNLIN_DEMO_SEEDS").ok();
    let seeds = seeds.map_or(2, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        let (flags, learnt) = rehearse_demo(seed);
        let share = |[no, yes]: [u64; 2]| yes as f64 / (no + yes).max(1) as f64;
        let recall = share([flags.unflagged[1], flags.flagged[1]]);
        let false_alarms = share([flags.unflagged[0], flags.flagged[0]]);
        eprintln!(
            "seed {seed}: recall {recall:.3}, false alarms {false_alarms:.4}, promoted {}, refused {}, failed {}, drift {}, taken back {}",
            learnt.promoted, learnt.rejected, learnt.failed, learnt.drifts, learnt.rollbacks
        );
        assert!(recall >= 0.9, "seed {seed}: {flags:?}");
        assert!(false_alarms <= 0.05, "seed {seed}: {flags:?}");
        assert!(learnt.promoted >= 6, "seed {seed}: {learnt:?}");
    }
}
