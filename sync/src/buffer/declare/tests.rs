#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{BufferOptions, Fields, Query, Recovery},
    files::frame,
    rows::Values,
    sample::{FieldType, Origin, Sample, Split, Timestamp, Value},
};

fn field(name: &str, kind: FieldType) -> Field {
    Field {
        name: name.to_owned(),
        kind,
    }
}

fn open(dir: &std::path::Path) -> (Buffer, Recovery) {
    Buffer::open(BufferOptions::new(dir, 8 << 20)).unwrap()
}

fn beside(first: &str, second: &str) -> Vec<(String, String)> {
    vec![(first.to_owned(), second.to_owned())]
}

/// Commits one record a value, each with that value alone, of the field at that position.
fn commit(buffer: &Buffer, schema: &Schema, values: &[(usize, Value)]) {
    let stream = buffer.declare_stream(schema.id, "s/x", &["d".into()]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    for (ts, (field, value)) in (1..).zip(values) {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: vec![(*field as u32, value.clone())].into(),
        };
        builder.push(schema, sample).unwrap();
    }
    buffer.commit(&builder.finish(), &[]).unwrap();
}

#[test]
fn which_column_is_beside_which_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = open(dir.path());
    let fields = [field("t", FieldType::I64), field("t_text", FieldType::Text)];
    buffer.declare_schema("s", &[], &fields).unwrap();
    let declaration = Declaration {
        fields: &[field("t_f64", FieldType::F64)],
        seconds: &beside("t", "t_f64"),
        now_ns: Some(7),
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    assert_eq!(schema.seconds_of(0).collect::<Vec<_>>(), [2]);
    assert_eq!(
        (schema.kind_of(0), schema.kind_of(1)),
        (FieldType::F64, FieldType::Text)
    );
    assert_eq!(schema.origin(2).since_ns, Some(7));
    commit(&buffer, &schema, &[(0, Value::I64(1))]);
    drop(buffer);

    let (buffer, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::default());
    assert_eq!(buffer.catalog().schemas()[0], schema);
    // Neither the other way round nor in a row.
    for (first, second) in [("t_f64", "t"), ("t_f64", "t_text"), ("t", "nowhere")] {
        let declaration = Declaration {
            seconds: &beside(first, second),
            ..Declaration::default()
        };
        assert_eq!(buffer.declare("s", &declaration).unwrap(), schema);
    }
}

/// Format 2 ended with the fields.
#[test]
fn a_schema_of_format_2_is_read_and_joins_nothing() {
    let fields = [field("t", FieldType::I64), field("t_f64", FieldType::F64)];
    let old = frame::to_bytes(&(
        0_u32,
        "s",
        ["device"].map(str::to_owned).to_vec(),
        fields.to_vec(),
    ));
    let mut old = old.unwrap();
    // Sealed as that version did.
    let end = old.len() - 4;
    old[0] = 2;
    let crc = crc32c::crc32c(&old[..end]);
    old[end..].copy_from_slice(&crc.to_le_bytes());
    let schema: Schema = frame::from_bytes(&old).unwrap();
    assert_eq!((&schema.fields[..], schema.origins.len()), (&fields[..], 0));
    assert_eq!(*schema.origin(1), Origin::default());
    assert!(!schema.has_seconds());
    let again = frame::to_bytes(&schema).unwrap();
    assert_eq!(frame::from_bytes::<Schema>(&again).unwrap(), schema);
}

#[test]
fn a_type_changes_in_place_only_while_nothing_was_stored_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = open(dir.path());
    let declare = |fields: &[Field], retyped: &[Field], stages: &[(usize, Stage)]| {
        let declaration = Declaration {
            fields,
            retyped,
            stages,
            ..Declaration::default()
        };
        buffer.declare("s", &declaration).unwrap()
    };
    let (whole, float) = (field("t", FieldType::I64), field("t", FieldType::F64));
    let schema = declare(std::slice::from_ref(&whole), &[], &[]);
    assert_eq!(schema.origin(0).stage, Stage::Empty);
    let schema = declare(&[], std::slice::from_ref(&float), &[]);
    assert_eq!(schema.fields, [float]);
    let schema = declare(&[], &[], &[(0, Stage::Begun)]);
    commit(&buffer, &schema, &[(0, Value::F64(1.5))]);
    let schema = declare(&[], std::slice::from_ref(&whole), &[(0, Stage::Empty)]);
    assert_eq!(
        (schema.fields[0].kind, schema.origin(0).stage),
        (FieldType::F64, Stage::Begun)
    );
    // Who declares for records that have a value, has stored something.
    let text = field("x", FieldType::Text);
    let schema = buffer
        .declare_schema("s", &[], std::slice::from_ref(&text))
        .unwrap();
    assert_eq!(schema.origin(1).stage, Stage::Begun);
}

#[test]
fn whoever_reads_a_field_reads_its_columns_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = open(dir.path());
    let names = ["t", "other", "t_f64", "t_text", "t_bool"];
    let kinds = [
        FieldType::I64,
        FieldType::F64,
        FieldType::F64,
        FieldType::Text,
        FieldType::Bool,
    ];
    let fields: Vec<Field> = names
        .iter()
        .zip(kinds)
        .map(|(name, kind)| field(name, kind))
        .collect();
    let seconds = ["t_f64", "t_text", "t_bool"].map(|second| ("t".to_owned(), second.to_owned()));
    let declaration = Declaration {
        fields: &fields,
        seconds: &seconds,
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    let large = i64::MAX - 1;
    let values = [
        (0, Value::I64(large)),
        (2, Value::F64(0.5)),
        (1, Value::F64(9.0)),
        (3, Value::Text("ok".into())),
        (4, Value::Bool(true)),
    ];
    commit(&buffer, &schema, &values);
    let wanted = vec![
        (0, FieldType::F64),
        (0, FieldType::Text),
        (2, FieldType::F64),
        (1, FieldType::F64),
    ];
    let fields = Fields::from([(schema.id, wanted)]);
    let block = buffer.read_fields(&fields).block(0).unwrap().unwrap();
    let columns = &block.sections[0].rows.columns;
    let numbers: Vec<_> = (0..5).map(|row| columns[0].get(row)).collect();
    let number = |number: f64| Some(Value::F64(number));
    assert_eq!(
        numbers,
        [number(large as f64), number(0.5), None, None, number(1.0)]
    );
    let texts: Vec<_> = (0..5).map(|row| columns[1].get(row)).collect();
    let text = |text: &str| Some(Value::Text(text.into()));
    assert_eq!(
        texts,
        [
            text("9223372036854775806"),
            text("0.5"),
            None,
            text("ok"),
            text("true")
        ]
    );
    // Named itself, a second column is itself alone.
    let alone: Vec<_> = (0..5).map(|row| columns[2].get(row)).collect();
    assert_eq!(alone, [None, number(0.5), None, None, None]);
    assert_eq!(columns[3].get(2), number(9.0));
    assert!(matches!(&columns[0].values, Values::F64(_)));

    let stream = buffer.catalog().stream_named("s/x").unwrap().id;
    let matrix = buffer.matrix(&Query::all(stream, vec![0, 2])).unwrap();
    let bits = |column: &[f32]| {
        column
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    let nan = f32::NAN;
    assert_eq!(
        bits(&matrix.columns[0]),
        bits(&[large as f64 as f32, 0.5, nan, nan, 1.0])
    );
    assert_eq!(bits(&matrix.columns[1]), bits(&[nan, 0.5, nan, nan, nan]));
}

#[test]
fn that_a_field_is_settled_costs_no_write_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = open(dir.path());
    let schema = buffer
        .declare_schema("s", &[], &[field("t", FieldType::I64)])
        .unwrap();
    commit(&buffer, &schema, &[(0, Value::I64(1))]);
    let declaration = Declaration {
        stages: &[(0, Stage::Settled)],
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    assert_eq!(schema.origin(0).stage, Stage::Settled);
    assert!(buffer.lock().pending.is_empty());
    // What changes anyway takes it along.
    buffer
        .declare_schema("s", &[], &[field("u", FieldType::I64)])
        .unwrap();
    commit(
        &buffer,
        &buffer.catalog().schemas()[0].clone(),
        &[(0, Value::I64(2))],
    );
    drop(buffer);
    let (buffer, _) = open(dir.path());
    assert_eq!(
        buffer.catalog().schemas()[0].origin(0).stage,
        Stage::Settled
    );
}

#[test]
fn units_and_long_names_are_kept_with_the_columns_as_far_as_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = open(dir.path());
    let fields = [
        field("t", FieldType::I64),
        field("t_f64", FieldType::F64),
        field("u", FieldType::F64),
    ];
    let long = |name: &str, bytes| (name.to_owned(), "n".repeat(bytes));
    let declaration = Declaration {
        fields: &fields,
        seconds: &beside("t", "t_f64"),
        units: &beside("t", "°C"),
        long_names: &[long("u", LONG_NAMES_BYTES_MAX), long("t", 100)],
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    let units = [0, 1, 2].map(|column| schema.origin(column).unit.as_deref());
    assert_eq!(units, [Some("°C"), Some("°C"), None]);
    assert!(schema.origin(2).long_name.is_some() && schema.origin(0).long_name.is_none());
}
