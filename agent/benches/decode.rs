//! Decoding and routing, one publish at a time, as ingest does.
//!
//! `cargo bench -p dunlin-agent --bench decode`. The target: a flat JSON object of about 113 bytes in
//! half a microsecond.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin_agent::{
    config::settings::{
        PayloadFormat, Pointer, RecordStep, RecordsAt, SplitRule, StreamRule, TimeRule, TimeUnit,
    },
    record::{
        decode::{Publish, decode},
        route::Router,
    },
    topic::TopicFilter,
};
use dunlin_sync::sample::Schema;

fn rule(format: PayloadFormat) -> StreamRule {
    let filter = TopicFilter::parse("plant/+line/+machine/vibration").expect("a good filter");
    let time = (!format.has_own_time()).then(|| "/ts".to_owned());
    StreamRule {
        format,
        time,
        time_rule: TimeRule::of(TimeUnit::Millis),
        fields_max: 64,
        split: SplitRule::Hash { train: 0.8 },
        ..StreamRule::new("machine".into(), filter)
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
        origins: Vec::new(),
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
        (
            "influx",
            PayloadFormat::Influx,
            "m,line=l1 temperature=21.53,vibration_x=0.0182,rpm=1481.5 1732000000123000000"
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
    let tags = StreamRule {
        records: Some(RecordsAt {
            steps: vec![RecordStep::Key("values".into())],
            name: Some(Pointer::parse("/id")),
            value: Some(Pointer::parse("/v")),
            ..RecordsAt::default()
        }),
        ..rule(PayloadFormat::Json)
    };
    let objects =
        (0..20).map(|tag| format!(r#"{{"id":"ch.dev.tag{tag}","v":{tag}.5,"ts":1732000000123}}"#));
    let payload = format!(
        r#"{{"values":[{}]}}"#,
        objects.collect::<Vec<_>>().join(",")
    );
    let held = schema(&tags, payload.as_bytes());
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("json_20_tag_objects", |bencher| {
        bencher.iter(|| {
            decode(
                &tags,
                Some(&held),
                black_box(Publish::of(payload.as_bytes())),
            )
        });
    });
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
