#![allow(clippy::unwrap_used)]
use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::config::{self, Overrides};

const RECIPE: &str = r#"
[[stream]]
name = "plant"
topic = "plant/+press"

[[recipe]]
name = "health"
streams = "plant/*"
algorithm = "pca"
lookback = 2
"#;

/// Commits some generations of records that do not compress.
fn fill(buffer: &Buffer) {
    const FIELDS: usize = 4_000;
    let fields = (0..FIELDS).map(|field| Field {
        name: format!("f{field}"),
        kind: FieldType::F64,
    });
    let fields: Vec<Field> = fields.collect();
    let schema = buffer.declare_schema("plant", &[], &fields).unwrap();
    let stream = buffer.declare_stream(schema.id, "plant/press", &[]);
    let mut rng = StdRng::seed_from_u64(1);
    for ts in 0..100 {
        let mut builder = BlockBuilder::new(Compression::Pco);
        let values = (0..FIELDS).map(|_| Some(Value::F64(rng.random())));
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: values.collect(),
        };
        builder.push(&schema, sample).unwrap();
        buffer.commit(&builder.finish(), &[]).unwrap();
    }
}

#[test]
fn nothing_is_let_go_at_the_start_before_answering_says_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    let overrides = Overrides::default()
        .set("data_dir", dir.path().join("data").to_str().unwrap())
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("upstream.url", "tdengine://127.0.0.1:1/d")
        .set("buffer.bytes_max", "16 MiB")
        .set("buffer.replay_bytes_max", "0");
    let open = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Store::open(&config::load(Some(&file), &overrides).unwrap()).unwrap()
    };
    let store = open(RECIPE);
    fill(&store.buffer);
    let generations = store.buffer.shape().generations;
    assert!(generations > 2, "{generations}");
    drop(store);
    let store = open(RECIPE);
    store.buffer.uploaded_to(store.buffer.next_seq());
    assert_eq!(store.buffer.shape().generations, generations);
    drop(store);
    // Where nobody answers, what is uploaded may go.
    let (rules, _) = RECIPE.split_once("[[recipe]]").unwrap();
    let store = open(rules);
    store.buffer.uploaded_to(store.buffer.next_seq());
    assert_eq!(store.buffer.shape().generations, 1);
}
