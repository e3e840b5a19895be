#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dunlin_models::data::{Source, WindowShape};
use dunlin_sync::{
    buffer::{Buffer, BufferOptions, Declaration},
    sample::{Field, FieldType, Value},
};

use super::*;
use crate::{
    cohort::{CohortQuery, resolve},
    learn::tests::commit_values,
};

const SECOND_NS: i64 = 1_000_000_000;

#[test]
fn a_field_of_several_columns_is_one_in_a_grid_and_the_same_in_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = Buffer::open(BufferOptions::new(dir.path(), 8 << 20)).unwrap();
    let buffer = Arc::new(buffer);
    let kinds = [
        ("t", FieldType::Bool),
        ("t_f64", FieldType::F64),
        ("t_text", FieldType::Text),
    ];
    let fields = kinds.map(|(name, kind)| Field {
        name: name.to_owned(),
        kind,
    });
    let seconds = ["t_f64", "t_text"].map(|second| ("t".to_owned(), second.to_owned()));
    let declaration = Declaration {
        fields: &fields,
        seconds: &seconds,
        ..Declaration::default()
    };
    let schema = buffer.declare("s", &declaration).unwrap();
    let values = [
        (0, Value::Bool(true)),
        (1, Value::F64(0.25)),
        (2, Value::Text("worn".into())),
        (1, Value::F64(0.75)),
        (0, Value::Bool(false)),
    ];
    let values = (1..).zip(values);
    let values = values.map(|(second, (column, value))| (second * SECOND_NS, column, value));
    commit_values(&buffer, &schema, values);

    for how in ["last", "mean"] {
        let mut spec = GridSpec::every(2 * SECOND_NS);
        spec.set_how(&[how.to_owned()]).unwrap();
        let query = CohortQuery {
            grid: Some(spec.clone()),
            ..CohortQuery::of("s")
        };
        let shape = WindowShape {
            lookback: 1,
            horizon: 0,
        };
        let cohort = resolve(&buffer, &query, shape).unwrap();
        assert_eq!(cohort.columns().features, ["t"]);
        let trained = cohort.read(0).unwrap();
        let expected = match how {
            "last" => [0.25, 0.75],
            _ => [0.625, 0.75],
        };
        assert_eq!(trained.values, expected, "{how}");

        let block = buffer.read_block(0).unwrap().unwrap();
        let mut live = LiveGrid::behind((0, 0), &spec, &schema, &[0], (None, false));
        let taken = live.take(&block.sections[0], 0..5, Some(&schema), usize::MAX);
        assert!(taken.is_all);
        let rows = taken.rows;
        assert_eq!(rows.ts, trained.ts);
        let answered: Vec<f64> = (0..rows.ts.len())
            .map(|row| match rows.columns[0].get(row) {
                Some(Value::F64(value)) => value,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(answered, expected.map(f64::from), "{how}");
    }
}

#[test]
fn a_column_that_is_opened_while_the_grid_is_answered_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (buffer, _) = Buffer::open(BufferOptions::new(dir.path(), 8 << 20)).unwrap();
    let field = |name: &str, kind| Field {
        name: name.to_owned(),
        kind,
    };
    let declare = |fields: &[Field], seconds: &[(String, String)]| {
        let declaration = Declaration {
            fields,
            seconds,
            ..Declaration::default()
        };
        buffer.declare("s", &declaration).unwrap()
    };
    let schema = declare(&[field("t", FieldType::I64)], &[]);
    let values = (1..5).map(|second| (second * SECOND_NS, 0, Value::I64(second)));
    commit_values(&buffer, &schema, values);
    let spec = GridSpec::every(SECOND_NS);
    let mut live = LiveGrid::behind((0, 0), &spec, &schema, &[0], (None, false));
    let mut answered = Vec::new();
    let mut take = |seq, rows, schema: &Schema| {
        let block = buffer.read_block(seq).unwrap().unwrap();
        // A row at a time: nothing is lost between.
        while {
            let taken = live.take(&block.sections[0], 0..rows, Some(schema), 1);
            let rows = &taken.rows;
            answered.extend((0..rows.len()).map(|row| rows.columns[0].get(row)));
            !taken.is_all
        } {}
    };
    take(0, 4, &schema);
    let seconds = [("t".to_owned(), "t_f64".to_owned())];
    let wider = declare(&[field("t_f64", FieldType::F64)], &seconds);
    let half = |second: i64| Value::F64(second as f64 + 0.5);
    let values = (5..9).map(|second| (second * SECOND_NS, 1, half(second)));
    commit_values(&buffer, &wider, values);
    take(1, 4, &wider);
    let expected = [1.0, 2.0, 3.0, 4.0, 5.5, 6.5, 7.5].map(|value| Some(Value::F64(value)));
    assert_eq!(answered, expected);
}
