//! Queries that fit nothing.

use super::*;

#[test]
fn wrong_queries_are_refused_with_what_to_do() {
    let mut device = Device::with_presses();
    let other = device.buffer.declare_schema(
        "oven",
        &["device".into()],
        &fields(&[("heat", FieldType::F32)]),
    );
    device
        .buffer
        .declare_stream(other.unwrap().id, "oven", &["pi".into()]);
    device.commit();
    let of = |streams: &str| CohortQuery::of(streams);
    let press = || of("press/*");
    let feature = |name: &str| CohortQuery {
        features: vec![name.into()],
        ..press()
    };
    for (query, words) in [
        (of("*"), "the stream press/a has no field `heat`"),
        (
            of("pres"),
            "no stream is called \"pres\"; streams: press/b, press/a, oven",
        ),
        (feature("speeed"), "fields: temperature, speed, state"),
        (feature("state"), "a feature is a number or a flag"),
        (
            CohortQuery {
                fraction: 0.0,
                ..press()
            },
            "0.1 takes a tenth",
        ),
        (
            CohortQuery {
                fraction: f64::NAN,
                ..press()
            },
            "0.1 takes a tenth",
        ),
        (
            CohortQuery {
                balance: true,
                ..press()
            },
            "need a label",
        ),
        (
            CohortQuery {
                from: Some(2),
                to: Some(1),
                ..press()
            },
            "swap them",
        ),
        (
            CohortQuery {
                gap_ns_max: Some(0),
                ..press()
            },
            "above 0",
        ),
        (
            CohortQuery {
                rows_per_chunk_max: 0,
                ..press()
            },
            "0 rows",
        ),
        (
            CohortQuery {
                features: vec!["speed".into(); 2],
                ..press()
            },
            "named twice",
        ),
        (
            CohortQuery {
                condition: Some(condition("heat > 1")),
                ..press()
            },
            "character 1: press has no field or tag `heat`",
        ),
        (
            CohortQuery {
                condition: Some(condition("temperature > 'hot'")),
                ..press()
            },
            "character 15: a number cannot be compared with a text",
        ),
    ] {
        let error = device.refused(&query);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_empty_buffer_and_a_stream_without_records_are_no_error() {
    let device = Device::new();
    assert!(matches!(
        resolve(&device.buffer, &CohortQuery::default(), ROWS),
        Err(CohortError::NoStream(_))
    ));
    let schema = device
        .buffer
        .declare_schema("s", &[], &fields(&[("x", FieldType::F64)]))
        .unwrap();
    device.buffer.declare_stream(schema.id, "s", &[]);
    let cohort = device.resolve(&CohortQuery::default(), WINDOWS);
    assert_eq!((cohort.chunks(), cohort.lineage().rows), (0, 0));
    let query = CohortQuery {
        label: Some("x".into()),
        balance: true,
        ..CohortQuery::default()
    };
    assert_eq!(
        device.resolve(&query, WINDOWS).columns().classes,
        Vec::<String>::new()
    );
}
