//! Decoding and routing, one publish at a time, as ingest does.
//!
//! `cargo bench -p dunlin-agent --bench decode`. The target: a flat JSON object of about 113 bytes in
//! half a microsecond.

use std::{collections::BTreeMap, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin_agent::{
    config::settings::{
        NanPolicy, PayloadFormat, RetainedPolicy, SplitRule, StreamRule, TimeRange, TimeUnit,
    },
    record::{decode::decode, route::Router},
    topic::TopicFilter,
};
use dunlin_sync::sample::Schema;

fn rule(format: PayloadFormat) -> StreamRule {
    StreamRule {
        name: "machine".into(),
        filter: TopicFilter::parse("plant/+line/+machine/vibration").expect("a good filter"),
        format,
        fields: vec![],
        infer: true,
        time: Some("/ts".into()),
        time_unit: TimeUnit::Millis,
        time_range: TimeRange::DEFAULT,
        tags: BTreeMap::new(),
        nan: NanPolicy::Refuse,
        retained: RetainedPolicy::Once,
        fields_max: 64,
        instances_max: None,
        split: SplitRule::Hash { train: 0.8 },
    }
}

/// What the schema holds after the first publish.
fn schema(rule: &StreamRule, payload: &[u8]) -> Schema {
    let first = decode(rule, None, Publish::of(payload)).expect("a good payload");
    Schema {
        id: 0,
        name: rule.name.clone(),
        tag_names: vec![],
        fields: first.new_fields,
    }
}

fn benches(criterion: &mut Criterion) {
    let flat = r#"{"ts":1732000000123,"temperature":21.53,"vibration_x":0.0182,"vibration_y":-0.0079,"rpm":1481.5,"running":true}"#;
    let mut group = criterion.benchmark_group("decode");
    for (name, format, payload) in [
        ("json_flat", PayloadFormat::Json, flat.to_owned()),
        (
            "json_batch_of_100",
            PayloadFormat::Json,
            format!("[{}]", vec![flat; 100].join(",")),
        ),
        (
            "json_nested",
            PayloadFormat::Json,
            format!(r#"{{"head":{{"id":7}},"body":{flat},"v":[1.5,2.5]}}"#),
        ),
        ("number", PayloadFormat::Number, "21.53".to_owned()),
        (
            "csv_line",
            PayloadFormat::Csv {
                delimiter: b',',
                header: true,
            },
            "ts,temperature,vibration_x,rpm\n1732000000123,21.53,0.0182,1481.5\n".to_owned(),
        ),
        (
            "senml",
            PayloadFormat::SenMl,
            r#"[{"bn":"dev1:","bt":1732000000.123,"n":"t","v":21.53},{"n":"rpm","v":1481.5}]"#
                .to_owned(),
        ),
    ] {
        let rule = rule(format);
        let schema = schema(&rule, payload.as_bytes());
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                decode(
                    &rule,
                    Some(&schema),
                    black_box(Publish::of(payload.as_bytes())),
                )
            });
        });
    }
    group.finish();

    let router = Router::new(&[rule(PayloadFormat::Json)]);
    let topics: Vec<String> = (0..2_000)
        .map(|machine| format!("plant/line{}/machine{machine}/vibration", machine % 7))
        .collect();
    let mut next = topics.iter().cycle();
    criterion.bench_function("route_2000_topics", |bencher| {
        bencher.iter(|| router.route(black_box(next.next().map_or(&[], |topic| topic.as_bytes()))));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
