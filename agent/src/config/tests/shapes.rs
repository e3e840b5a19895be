//! `[[stream]]`: what lies inside a payload, and how values and times are written.

use super::*;
use crate::config::settings::{
    Conversion, Feature, MissingWords, OnMisfit, PayloadTag, Pointer, RecordStep, SampleRate,
    SampleType, StreamRule, TimeRule,
};

fn stream(lines: &str) -> Result<StreamRule, String> {
    let text = with_stream(lines);
    match check_text(&text, &Overrides::default()).settings {
        Ok(settings) => Ok(settings.streams[0].clone()),
        Err(_) => Err(format!("{:?}", mistakes(&text)).replace("\\\"", "\"")),
    }
}

#[test]
fn records_are_a_place_or_a_table() {
    let rule = stream("records = \"/data/+machine\"").unwrap();
    let records = rule.records.unwrap();
    assert_eq!(
        records.steps,
        [RecordStep::Key("data".into()), RecordStep::Each(Some(0))]
    );
    assert_eq!(records.value, None);
    let machine = PayloadTag {
        name: "machine".into(),
        at: None,
    };
    assert_eq!(rule.payload_tags, [machine]);
    let rule = stream(
        "records = { at = \"/values\", name = \"/id\", value = \"/v/x\", quality = \"/q\", good = [\"0\"] }\n\
         tags = { line = \"3\", cpu = { at = \"/tags/cpu\" } }",
    )
    .unwrap();
    let records = rule.records.unwrap();
    assert_eq!(records.name, Some(Pointer::parse("/id")));
    assert_eq!(records.value, Some(Pointer(vec!["v".into(), "x".into()])));
    assert_eq!(records.good, ["0"]);
    assert_eq!(rule.tags.len(), 1);
    assert_eq!(rule.payload_tags[0].at, Some(Pointer::parse("/tags/cpu")));
}

#[test]
fn what_fields_are_made_of_and_what_words_mean() {
    let rule = stream(
        "fields = { t = { type = \"f64\", scale = 0.1, offset = -4, unit = \"°C\", decimal = \",\" },\n\
         on = { type = \"bool\", values = { RUN = true, STOP = false } } }\n\
         missing = \"---\"\non_misfit = \"refuse\"\nexclude = [\"a/x\", \"a/y\"]\n\
         include_fields = [\"t\"]\nexclude_fields = \"u.*\"",
    )
    .unwrap();
    let t = rule.fields[0].conversion.as_ref().unwrap();
    let wanted = Conversion {
        scale: Some(0.1),
        offset: Some(-4.0),
        unit: Some("°C".into()),
        has_decimal_comma: true,
        words: vec![],
    };
    assert_eq!(*t, wanted);
    let on = rule.fields[1].conversion.as_ref().unwrap();
    assert_eq!(
        on.word("RUN"),
        Some(&dunlin_sync::sample::Value::Bool(true))
    );
    assert_eq!(rule.missing, MissingWords::from(vec!["---".into()]));
    assert_eq!(rule.on_misfit, OnMisfit::Refuse);
    assert_eq!(rule.exclude.len(), 2);
    assert_eq!(
        (rule.include_fields, rule.exclude_fields),
        (vec!["t".into()], vec!["u.*".into()])
    );
    let words = StreamRule::MISSING.map(str::to_owned).to_vec();
    assert_eq!(stream("").unwrap().missing, words.into());
}

#[test]
fn times_have_a_zone_and_a_format() {
    let rule = stream("time = \"/t\"\ntime_zone = \"+02:00\"\ntime_format = \"%d.%m.%Y %H:%M:%S\"")
        .unwrap();
    let TimeRule { zone, format, .. } = &rule.time_rule;
    assert!(zone.is_some() && format.is_some());
    let ns = rule.time_rule.written_ns("04.05.2026 11:46:40");
    assert_eq!(ns, Ok(1_777_888_000_000_000_000));
}

#[test]
fn bursts_have_channels_a_rate_and_features() {
    let rule = stream(
        "samples = [\"/a/x\", \"/\"]\nrate_at = \"/fs\"\nreduce = [\"rms\", \"bands\"]\nsample_type = \"i16\"",
    );
    let samples = rule.unwrap().samples.unwrap();
    let names: Vec<&str> = samples.channels.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["x", "sample"]);
    assert_eq!(samples.rate, Some(SampleRate::At(Pointer::parse("/fs"))));
    assert_eq!(samples.sample_type, SampleType::I16);
    assert_eq!(samples.reduce, [Feature::Rms, Feature::Bands]);
    let raw = stream("format = \"raw\"\nrate_hz = 25600").unwrap();
    assert_eq!(raw.samples.unwrap().rate, Some(SampleRate::Hz(25_600.0)));
}

#[test]
fn samples_beside_their_features_are_told_apart_by_a_tag() {
    let both = "samples = [\"/x\"]\nreduce = [\"rms\"]\nkeep_samples = true";
    let rule = stream(&format!("{both}\ntags = {{ sensor = {{ at = \"/id\" }} }}")).unwrap();
    let tags: Vec<&str> = rule.payload_tags.iter().map(|tag| &*tag.name).collect();
    assert_eq!(tags, ["sensor", "part"]);
    assert!(rule.samples.unwrap().keeps_samples);
    for lines in [
        "keep_samples = true",
        "samples = [\"/x\"]\nkeep_samples = true",
        &format!("{both}\ntags = {{ part = \"left\" }}"),
        &format!("{both}\nfields = {{ x = {{ type = \"f64\", required = true }} }}"),
    ] {
        assert!(stream(lines).is_err(), "{lines}");
    }
}

#[test]
fn requests_for_births_are_for_sparkplug_alone() {
    let rule = stream("format = \"sparkplug_b\"\nrebirth_requests = true").unwrap();
    assert!(rule.rebirth_requests);
    assert!(!stream("format = \"sparkplug_b\"").unwrap().rebirth_requests);
    assert!(stream("rebirth_requests = true").is_err());
}

#[test]
fn formats_that_tell_things_apart_have_tags_of_their_own() {
    let names = |lines: &str| {
        let tags = stream(lines).unwrap().payload_tags;
        tags.into_iter().map(|tag| tag.name).collect::<Vec<_>>()
    };
    assert_eq!(names("format = \"senml\""), ["base_name"]);
    assert_eq!(names("format = \"influx\""), ["series"]);
    assert_eq!(
        names("format = \"influx\"\ntags = { cpu = { at = \"/tags/cpu\" } }"),
        ["cpu"]
    );
    let sparkplug = ["sparkplug_group", "edge_node", "edge_device"];
    assert_eq!(names("format = \"sparkplug_b\""), sparkplug);
    let swapped =
        stream("format = \"sparkplug_b\"\nrecords = { good = [\"0\", \"192\"] }").unwrap();
    assert_eq!(swapped.records.unwrap().good, ["0", "192"]);
}

#[test]
fn mistakes_are_named_with_what_to_write() {
    for (lines, words) in [
        (
            "tags = { cpu = \"/tags/cpu\" }",
            &["place in the payload", "{ at = \"/tags/cpu\" }"][..],
        ),
        ("tags = { cpu = { att = \"/x\" } }", &["cpu.att", "`at`"]),
        ("tags = { device = { at = \"/x\" } }", &["exists already"]),
        ("records = \"values\"", &["no JSON pointer"]),
        (
            "records = { at = \"/v\", name = \"/id\" }",
            &["means nothing without value"],
        ),
        (
            "records = { value = \"/v\", good = [\"0\"] }",
            &["without quality"],
        ),
        ("records = \"/+7up\"", &["names no tag"]),
        (
            "format = \"csv\"\nheader = true\nrecords = \"/a\"",
            &["format is json"],
        ),
        ("time_zone = \"UTC\"", &["means nothing without time"]),
        (
            "time = \"/t\"\ntime_zone = \"Mars/Base\"",
            &["Mars/Base", "Europe/Berlin"],
        ),
        (
            "time = \"/t\"\ntime_format = \"%d.%m.%Y %H:%M\"",
            &["time_zone"],
        ),
        ("time = \"/t\"\ntime_format = \"%H:%M\"", &["%H:%M"]),
        (
            "fields = { n = { type = \"i64\", scale = 2.0 } }",
            &["scale", "i64"],
        ),
        (
            "fields = { n = { type = \"f64\", decimal = \";\" } }",
            &["decimal mark"],
        ),
        (
            "fields = { n = { type = \"f64\", values = { a = \"b\" } } }",
            &["values.a"],
        ),
        ("exclude = [\"a/+\", \"b/#/c\"]", &["must come last"]),
        (
            "format = \"text\"\nfields = { a = { type = \"text\", at = \"/x\" } }",
            &["no parts"],
        ),
    ] {
        let told = stream(lines).unwrap_err();
        for word in words {
            assert!(told.contains(word), "{lines}: {told}");
        }
    }
}
