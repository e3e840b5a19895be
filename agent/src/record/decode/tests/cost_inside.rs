//! What it costs to look into a payload, beside plain JSON.

use super::{
    cost::{compare, filled, usual_json},
    *,
};
use crate::config::settings::{RecordStep, RecordsAt};

fn shaped(records: RecordsAt) -> StreamRule {
    StreamRule {
        records: Some(records),
        time: Some("/t".into()),
        on_misfit: OnMisfit::Missing,
        fields_max: 4_000,
        ..rule()
    }
}

fn values(steps: Vec<RecordStep>) -> RecordsAt {
    RecordsAt {
        steps,
        name: Some(Pointer::parse("/n")),
        value: Some(Pointer::parse("/v")),
        ..RecordsAt::default()
    }
}

fn tag(name: &str, at: Option<&str>) -> PayloadTag {
    PayloadTag {
        name: name.into(),
        at: at.map(Pointer::parse),
    }
}

#[test]
fn payloads_that_are_looked_into_cost_what_their_bytes_cost() {
    let objects = shaped(values(vec![RecordStep::Key("values".into())]));
    let whole = shaped(RecordsAt {
        steps: vec![RecordStep::Each(None)],
        ..RecordsAt::default()
    });
    let keys = StreamRule {
        payload_tags: vec![tag("key", None)],
        records: Some(RecordsAt {
            steps: vec![RecordStep::Each(Some(0))],
            ..RecordsAt::default()
        }),
        ..whole.clone()
    };
    let tagged = StreamRule {
        payload_tags: vec![tag("one", Some("/one")), tag("two", Some("/two"))],
        ..rule()
    };
    let lenient = StreamRule {
        on_misfit: OnMisfit::Missing,
        fields: vec![declared("a", FieldType::F64)],
        ..rule()
    };
    let inferring = StreamRule {
        fields_max: 4_000,
        on_misfit: OnMisfit::Missing,
        ..rule()
    };
    let list = |object: fn(usize) -> String| filled("{\"values\":[", object, "]}");
    let others = [
        (
            "values of one time",
            &objects,
            None,
            list(|n| format!(r#"{{"n":"f{n}","v":1}}"#)),
        ),
        (
            "values of a time each",
            &objects,
            None,
            list(|n| format!(r#"{{"n":"f","v":1,"t":{n}}}"#)),
        ),
        (
            "values without a name",
            &objects,
            None,
            list(|_| r#"{"v":1}"#.to_owned()),
        ),
        (
            "one value twice",
            &objects,
            None,
            list(|_| r#"{"n":"f","v":1}"#.to_owned()),
        ),
        (
            "records in an object",
            &whole,
            None,
            filled("{", |n| format!(r#""k{n}":{{"a":1}}"#), "}"),
        ),
        (
            "keys as tags",
            &keys,
            None,
            filled("{", |n| format!(r#""k{n}":{{"a":1}}"#), "}"),
        ),
        (
            "tags of each record",
            &tagged,
            None,
            filled(
                "[",
                |n| format!(r#"{{"one":"{n}","two":"{}","a":1}}"#, n % 7),
                "]",
            ),
        ),
        (
            "a record with many keys and no tag",
            &tagged,
            None,
            filled("{", |n| format!(r#""f{}":1"#, n % 8), "}"),
        ),
        (
            "what does not fit",
            &lenient,
            None,
            filled("[", |_| r#"{"a":"x","b":1}"#.to_owned(), "]"),
        ),
        (
            "names that are changed",
            &inferring,
            None,
            filled("{", |n| format!(r#""it's {n}":1"#), "}"),
        ),
        (
            "long names",
            &inferring,
            None,
            filled("{", |n| format!(r#""{}{n}":1"#, "x".repeat(90)), "}"),
        ),
    ];
    compare((&rule(), &usual_json()), &others);
}
