#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dunlin_models::data::{Source, WindowShape};
use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions, Declaration},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};

use super::*;
use crate::cohort::{CohortQuery, resolve};

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
    let stream = buffer.declare_stream(schema.id, "s", &[]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    let values = [
        (0, Value::Bool(true)),
        (1, Value::F64(0.25)),
        (2, Value::Text("worn".into())),
        (1, Value::F64(0.75)),
        (0, Value::Bool(false)),
    ];
    for (second, (column, value)) in (1..).zip(values) {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(second * SECOND_NS),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: vec![(column, value)].into(),
        };
        builder.push(&schema, sample).unwrap();
    }
    buffer.commit(&builder.finish(), &[]).unwrap();

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
        let mut live = LiveGrid::behind(0, &spec, &schema, vec![0]);
        let rows = live.take(&block.sections[0], 0..5, Some(&schema));
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
