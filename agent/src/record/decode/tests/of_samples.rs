//! Bursts of samples.

use super::*;
use crate::config::settings::{Feature, SampleRate, SampleType, SamplesRule};

fn burst(samples: &[&str], rate: Option<SampleRate>, reduce: &[Feature]) -> StreamRule {
    let channels = samples.iter().map(|at| {
        let pointer = Pointer::parse(at);
        let name = pointer.0.last().map_or("sample", |last| last).to_owned();
        (name, pointer)
    });
    StreamRule {
        samples: Some(SamplesRule {
            channels: channels.collect(),
            rate,
            sample_type: SampleType::F32,
            reduce: reduce.to_vec(),
            keeps_samples: false,
        }),
        time: Some("/t".into()),
        time_rule: TimeRule::of(TimeUnit::BySize),
        fields_max: 64,
        ..rule()
    }
}

#[test]
fn each_sample_is_a_record_and_follows_at_the_rate() {
    let rule = burst(
        &["/x", "/y"],
        Some(SampleRate::At(Pointer::parse("/fs"))),
        &[],
    );
    let decoded = ok(
        &rule,
        r#"{"t":1777888000123,"fs":25600,"x":[1,2,3],"y":[4,null,6]}"#,
    );
    let records = decoded.records();
    let first = 1_777_888_000_123_000_000;
    let times: Vec<i64> = records
        .iter()
        .map(|r| r.source_ts.unwrap() - first)
        .collect();
    // 1 / 25,600 Hz are 39,062.5 ns: rounded, never summed up.
    assert_eq!(times, [0, 39_063, 78_125]);
    assert_eq!(row(records[0]), [f(1.0), f(4.0)]);
    assert_eq!(records[1].values.get(1), None);
    assert_eq!(row(records[2]), [f(3.0), f(6.0)]);
}

#[test]
fn samples_may_be_a_whole_payload_binary_or_have_times_of_their_own() {
    let whole = burst(&["/"], None, &[]);
    assert_eq!(ok(&whole, "[0.5,1.5]").records().len(), 2);
    let each = burst(&["/x"], None, &[]);
    let decoded = ok(&each, r#"{"t":[1777888000123,1777888000125],"x":[1,2]}"#);
    let times: Vec<_> = decoded
        .records()
        .iter()
        .map(|r| r.source_ts.unwrap() % 1_000_000_000)
        .collect();
    assert_eq!(times, [123_000_000, 125_000_000]);
    // 0.25 and -2.0 as f32, little-endian.
    let base64 = ok(&each, r#"{"x":"AACAPgAAAMA="}"#);
    assert_eq!(row(base64.records()[0]), [f(0.25)]);
    assert_eq!(row(base64.records()[1]), [f(-2.0)]);
    let raw = StreamRule {
        format: PayloadFormat::Raw,
        time: None,
        fields: vec![declared("g", FieldType::F32)],
        ..burst(&["/"], Some(SampleRate::Hz(100.0)), &[])
    };
    let decoded = decode(&raw, None, &[0, 0, 0x80, 0x3e, 0, 0, 0, 0xc0]).unwrap();
    assert_eq!(decoded.new_fields[0].name, "g");
    assert_eq!(row(decoded.records()[1]), [Some(Value::F32(-2.0))]);
    assert_eq!(
        decode(&raw, None, &[0; 7]).unwrap_err().reason,
        Reason::WrongType
    );
}

#[test]
fn features_are_one_record_with_what_else_is_said() {
    let reduce = [Feature::Rms, Feature::Peak, Feature::Crest];
    let rule = burst(&["/x"], None, &reduce);
    let decoded = ok(
        &rule,
        r#"{"t":1777888000123,"fs":25600,"x":[3,-4,0,0],"state":"run"}"#,
    );
    assert_eq!(
        only(&decoded),
        [
            ("x.rms", f(2.5)),
            ("x.peak", f(4.0)),
            ("x.crest", f(1.6)),
            ("fs", f(25_600.0)),
            ("state", t("run")),
        ]
    );
    assert_eq!(
        decoded.records()[0].source_ts,
        Some(1_777_888_000_123_000_000)
    );
}

#[test]
fn bursts_are_bounded_and_of_one_length() {
    let rule = burst(&["/x"], None, &[]);
    let many = |count: usize| format!(r#"{{"x":[{}]}}"#, vec!["1"; count].join(","));
    assert_eq!(ok(&rule, &many(SAMPLES_MAX)).records().len(), SAMPLES_MAX);
    for (payload, reason) in [
        (&*many(SAMPLES_MAX + 1), Reason::TooManyRecords),
        (r#"{"x":[]}"#, Reason::Empty),
        (r#"{"y":[1]}"#, Reason::MissingField),
        (r#"{"x":[1,"a"]}"#, Reason::WrongType),
        (r#"{"x":true}"#, Reason::WrongType),
        (r#"{"x":"AAA"}"#, Reason::WrongType),
        (r#"{"t":[1],"x":[1,2]}"#, Reason::WrongType),
    ] {
        assert_eq!(refused(&rule, payload).0, reason, "{}", quoted(payload));
    }
    let two = burst(&["/x", "/y"], None, &[]);
    assert_eq!(refused(&two, r#"{"x":[1,2],"y":[1]}"#).0, Reason::WrongType);
}

#[test]
fn samples_and_features_are_streams_of_their_own_with_the_same_time() {
    let mut rule = burst(
        &["/x"],
        Some(SampleRate::Hz(1_000.0)),
        &[Feature::Rms, Feature::Peak],
    );
    if let Some(samples) = &mut rule.samples {
        samples.keeps_samples = true;
    }
    rule.payload_tags = vec![
        PayloadTag {
            name: "sensor".into(),
            at: Some(Pointer::parse("/id")),
        },
        PayloadTag {
            name: crate::base::own_names::PART_TAG.into(),
            at: None,
        },
    ];
    let payload = r#"{"t":1777888000123,"id":"A","x":[3,-4,0,0],"state":"run"}"#;
    let decoded = ok(&rule, payload);
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| &*f.name).collect();
    assert_eq!(names, ["x", "x.rms", "x.peak", "id", "state"]);
    let [samples, features] = &decoded.groups[..] else {
        panic!("{decoded:?}")
    };
    assert_eq!(samples.tags, ["A", "samples"]);
    assert_eq!(features.tags, ["A", "features"]);
    let rows: Vec<_> = samples.records.iter().map(row).collect();
    assert_eq!(rows, [3.0, -4.0, 0.0, 0.0].map(|x| vec![f(x)]));
    let [features] = &features.records[..] else {
        panic!("{features:?}")
    };
    assert_eq!(row(features)[1..3], [f(2.5), f(4.0)]);
    let first = Some(1_777_888_000_123_000_000);
    assert_eq!(
        (samples.records[0].source_ts, features.source_ts),
        (first, first)
    );
    // The most that there may be, and the features.
    let many = format!(r#"{{"x":[{}]}}"#, vec!["1"; SAMPLES_MAX].join(","));
    assert_eq!(ok(&rule, &many).records().len(), SAMPLES_MAX + 1);
}
