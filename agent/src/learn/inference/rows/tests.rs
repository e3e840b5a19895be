#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dunlin_models::data::{Source, WindowShape};
use dunlin_sync::{
    buffer::{Buffer, BufferOptions, Declaration, Query},
    sample::{Field, FieldType, Value},
};

use super::*;
use crate::{
    cohort::{CohortQuery, resolve},
    learn::tests::commit_values,
};

#[test]
fn a_field_of_several_columns_is_the_same_in_training_and_in_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = Buffer::open(BufferOptions::new(dir.path(), 8 << 20)).unwrap();
    let buffer = Arc::new(buffer);
    let kinds = [
        ("t", FieldType::Bool),
        ("u", FieldType::F32),
        ("t_f64", FieldType::F64),
        ("t_text", FieldType::Text),
        ("t_i64", FieldType::I64),
    ];
    let fields = kinds.map(|(name, kind)| Field {
        name: name.to_owned(),
        kind,
    });
    let seconds = ["t_f64", "t_text", "t_i64"].map(|second| ("t".to_owned(), second.to_owned()));
    let declaration = Declaration {
        fields: &fields,
        seconds: &seconds,
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    // Where i64 rounded at once and by way of f64 differ.
    let between = (1 << 60) + (1 << 36) + 1;
    let values = [
        (0, Value::Bool(true)),
        (2, Value::F64(0.1)),
        (3, Value::Text("worn".into())),
        (4, Value::I64(between)),
        (1, Value::F32(3.0)),
    ];
    let values = (1..).zip(values);
    let values = values.map(|(ts, (column, value))| (ts, column, value));
    commit_values(&buffer, &schema, values);

    let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
    let shape = WindowShape {
        lookback: 1,
        horizon: 0,
    };
    let cohort = resolve(&buffer, &CohortQuery::of("s"), shape).unwrap();
    assert_eq!(cohort.columns().features, ["t", "u"]);
    let trained = bits(&cohort.read(0).unwrap().values);

    let block = buffer.read_block(0).unwrap().unwrap();
    let cells = FeatureCells::of(&[0, 1], Some(&schema));
    assert_eq!(cells.first(), [0, 2, 3, 4]);
    let mut answered = Vec::new();
    for row in 0..5 {
        let mut numbers = [0.0; 2];
        cells.numbers(&block.sections[0].rows.columns, row, &mut numbers);
        answered.extend(bits(&numbers));
    }
    assert_eq!(answered, trained);
    let firsts: Vec<u32> = answered.iter().step_by(2).copied().collect();
    let nan = f32::NAN;
    assert_eq!(firsts, bits(&[1.0, 0.1, nan, between as f64 as f32, nan]));
    // What fills a window after a restart.
    let stream = buffer.declare_stream(schema.id, "s", &[]);
    let matrix = buffer.matrix(&Query::all(stream.id, vec![0, 1])).unwrap();
    assert_eq!(bits(&matrix.columns[0]), firsts);
}
