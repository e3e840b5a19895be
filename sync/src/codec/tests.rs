#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    builder::BlockBuilder,
    sample::{Field, Sample, Schema, Split, Timestamp, Value},
};

fn kinds() -> [FieldType; 5] {
    [
        FieldType::F64,
        FieldType::F32,
        FieldType::I64,
        FieldType::Bool,
        FieldType::Text,
    ]
}

fn schema(id: SchemaId) -> Schema {
    let fields = kinds()
        .iter()
        .map(|kind| Field {
            name: kind.name().into(),
            kind: *kind,
        })
        .collect();
    Schema {
        id,
        name: format!("s{id}"),
        tag_names: vec!["device".into()],
        fields,
    }
}

fn any_value(kind: FieldType) -> BoxedStrategy<Option<Value>> {
    let some = match kind {
        FieldType::F64 => any::<f64>().prop_map(Value::F64).boxed(),
        FieldType::F32 => any::<f32>().prop_map(Value::F32).boxed(),
        FieldType::I64 => any::<i64>().prop_map(Value::I64).boxed(),
        FieldType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        FieldType::Text => ".{0,40}"
            .prop_map(|s: String| Value::Text(s.into()))
            .boxed(),
    };
    prop_oneof![3 => some.prop_map(Some), 1 => Just(None)].boxed()
}

fn any_sample() -> impl Strategy<Value = (u32, u32, bool, u8, Option<i64>, Vec<Option<Value>>)> {
    let values = kinds().map(any_value).to_vec();
    (
        0_u32..3,
        0_u32..4,
        any::<bool>(),
        0_u8..5,
        any::<Option<i64>>(),
        (values, 0_usize..=5),
    )
        .prop_map(
            |(schema, stream, train, fold, source, (mut values, keep))| {
                values.truncate(keep);
                (schema, schema * 10 + stream, train, fold, source, values)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_sample_comes_back(samples in prop::collection::vec(any_sample(), 1..400), shift in -1000_i64..1000) {
        let schemas = [schema(0), schema(1), schema(2)];
        for compression in [Compression::None, Compression::Lz4, Compression::Pco] {
            let mut builder = BlockBuilder::new(compression);
            let mut expected = Vec::new();
            for (index, (schema, stream, is_train, fold, source_ts, values)) in samples.iter().enumerate() {
                let sample = Sample {
                    stream: *stream, ts: Timestamp(5_000 + index as i64 * 3),
                    split: Split { is_train: *is_train, fold: *fold },
                    source_ts: *source_ts, values: values.clone(),
                };
                builder.push(&schemas[*schema as usize], sample.clone()).unwrap();
                expected.push((sample.ts.0 + shift, *stream, sample));
            }
            let mut found = Vec::new();
            for (seq, body) in builder.finish().into_iter().enumerate() {
                let block = decode(seq as u64, &body.stored(7).unwrap(), shift).unwrap();
                prop_assert_eq!(block.first_row, 7);
                let outlined = outline(&body.stored(7).unwrap(), shift, |schema| schema != 1).unwrap();
                let runs = block.sections.iter().filter(|s| s.schema != 1).flat_map(|s| s.runs.clone());
                let runs = runs.collect();
                prop_assert_eq!(outlined, Outline { first_ts: block.first_ts, last_ts: block.last_ts, runs });
                for section in &block.sections {
                    let mut row = 0;
                    for run in &section.runs {
                        for _ in 0..run.rows {
                            let values: Vec<_> = section.rows.columns.iter().map(|c| c.get(row)).collect();
                            let split = Split { is_train: section.rows.is_train[row], fold: section.rows.fold[row] };
                            found.push((section.rows.ts[row], run.stream, split, section.rows.source_ts[row], values));
                            row += 1;
                        }
                    }
                }
            }
            found.sort_by_key(|f| f.0);
            prop_assert_eq!(found.len(), expected.len());
            for (f, (ts, stream, sample)) in found.iter().zip(&expected) {
                prop_assert_eq!((f.0, f.1, f.2, f.3), (*ts, *stream, sample.split, sample.source_ts));
                for (index, value) in f.4.iter().enumerate() {
                    let wanted = sample.values.get(index).cloned().flatten();
                    prop_assert_eq!(format!("{value:?}"), format!("{wanted:?}"));
                }
            }
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(garbage: Vec<u8>) {
        prop_assert!(decode(0, &garbage, 0).is_err());
        // Even when the checksum is right.
        let _ = decode(0, &frame::seal(&garbage), 0);
        let _ = outline(&frame::seal(&garbage), 0, |_| true);
        let _ = project(&frame::seal(&garbage), 0, 0, &[0], 0, &mut [Vec::new()]);
    }
}
