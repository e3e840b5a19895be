//! Fields that are held as several types.

use dunlin_sync::buffer::Declaration;

use super::*;

/// A pump whose state was a number, then a word, and whose load was a flag, then a number.
fn pump() -> Device {
    let mut device = Device::new();
    let all = fields(&[
        ("state", FieldType::F64),
        ("load", FieldType::Bool),
        ("note_text", FieldType::Text),
        ("note", FieldType::F64),
        ("state_text", FieldType::Text),
        ("load_f64", FieldType::F64),
    ]);
    let seconds = [("state", "state_text"), ("load", "load_f64")];
    let seconds = seconds.map(|(first, second)| (first.to_owned(), second.to_owned()));
    let declaration = Declaration {
        fields: &all,
        seconds: &seconds,
        ..Declaration::default()
    };
    let schema = device.buffer.declare("pump", &declaration).unwrap();
    let stream = device.buffer.declare_stream(schema.id, "pump", &[]);
    let rows = [
        vec![(0, Value::F64(1.0)), (1, Value::Bool(true))],
        vec![(4, Value::Text("ok".into())), (5, Value::F64(0.5))],
        vec![
            (0, Value::F64(2.0)),
            (1, Value::Bool(false)),
            (3, Value::F64(7.0)),
        ],
        vec![(4, Value::Text("worn".into())), (5, Value::F64(0.75))],
    ];
    for (ts, values) in (1..).zip(rows) {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: values.into(),
        };
        device.builder.push(&schema, sample).unwrap();
    }
    device.commit();
    device
}

fn rows_of(device: &Device, query: &CohortQuery) -> Arc<Rows> {
    let cohort = device.resolve(query, ROWS);
    cohort.read(0).unwrap()
}

#[test]
fn a_field_of_several_columns_is_one_feature() {
    let device = pump();
    let query = CohortQuery::of("pump");
    let cohort = device.resolve(&query, ROWS);
    assert_eq!(cohort.columns().features, ["state", "load", "note"]);
    let rows = cohort.read(0).unwrap();
    let of = |feature: usize| -> Vec<Option<f32>> {
        let values = rows.values.iter().skip(feature).step_by(3);
        values
            .map(|value| value.is_finite().then_some(*value))
            .collect()
    };
    assert_eq!(
        of(0),
        [Some(1.0), None, Some(2.0), None],
        "words are no numbers"
    );
    assert_eq!(of(1), [Some(1.0), Some(0.5), Some(0.0), Some(0.75)]);
    // A column is itself where it is named.
    let query = CohortQuery {
        features: vec!["load_f64".into()],
        ..query
    };
    let rows = rows_of(&device, &query);
    assert!(rows.values[0].is_nan() && rows.values[2].is_nan());
    assert_eq!((rows.values[1], rows.values[3]), (0.5, 0.75));
}

#[test]
fn missing_values_are_filled_with_the_last_one_of_either_column() {
    let query = CohortQuery {
        features: vec!["load".into(), "state".into()],
        missing: Missing::LastValue,
        ..CohortQuery::of("pump")
    };
    let rows = rows_of(&pump(), &query);
    assert_eq!(rows.values, [1.0, 1.0, 0.5, 1.0, 0.0, 2.0, 0.75, 2.0]);
}

#[test]
fn labels_and_conditions_see_one_field() {
    let device = pump();
    let query = CohortQuery {
        features: vec!["note".into()],
        label: Some("state".into()),
        ..CohortQuery::of("pump")
    };
    // A number where one of them is.
    let label = rows_of(&device, &query).label.clone();
    assert_eq!((label[0], label[2]), (1.0, 2.0));
    assert!(label[1].is_nan() && label[3].is_nan());
    let classes = CohortQuery {
        classify: true,
        ..query.clone()
    };
    let cohort = device.resolve(&classes, ROWS);
    assert_eq!(cohort.columns().classes, ["1", "2", "ok", "worn"]);
    assert_eq!(cohort.read(0).unwrap().label, [0.0, 2.0, 1.0, 3.0]);
    for (text, expected) in [
        ("load > 0.6", vec![1, 4]),
        ("state = 'ok'", vec![2]),
        ("state = 2", vec![3]),
        ("state in ('worn', '1')", vec![1, 4]),
        ("load = true", vec![1]),
        ("state_text is null", vec![1, 3]),
    ] {
        let query = CohortQuery {
            condition: Some(condition(text)),
            ..CohortQuery::of("pump")
        };
        assert_eq!(device.times(&query), expected, "{text}");
    }
}
