#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    block::{
        builder::{BLOCK_BYTES_MAX, BlockBuilder, FIELDS_MAX, PushError},
        pack::Compression,
    },
    sample::{Field, RecordValues, Sample, Schema, Split, Timestamp, Value},
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

fn alone(position: usize, kind: FieldType) -> FieldColumns {
    FieldColumns {
        position,
        seconds: Vec::new(),
        kind,
    }
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
        origins: Vec::new(),
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
                    source_ts: *source_ts, values: values.clone().into(),
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
                            let values: RecordValues = (0..5).map(|field| section.rows.columns.get(field)?.get(row)).collect();
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
                prop_assert_eq!(format!("{:?}", f.4), format!("{:?}", sample.values));
            }
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(garbage: Vec<u8>) {
        prop_assert!(decode(0, &garbage, 0).is_err());
        // Even when the checksum is right.
        let _ = decode(0, &frame::seal(&garbage), 0);
        let _ = outline(&frame::seal(&garbage), 0, |_| true);
        let _ = project(&frame::seal(&garbage), 0, 0, &[alone(0, FieldType::F32)], 0, &mut [Vec::new()]);
    }
}

/// One value of `kind`, made of `noise`; long texts now and then.
fn value(kind: FieldType, noise: u64) -> Value {
    match kind {
        FieldType::F64 => Value::F64(f64::from_bits(noise >> 2)),
        FieldType::F32 => Value::F32(f32::from_bits(noise as u32 >> 2)),
        FieldType::I64 => Value::I64(noise as i64),
        FieldType::Bool => Value::Bool(noise.is_multiple_of(2)),
        FieldType::Text => {
            let bytes = if noise.is_multiple_of(97) {
                3_000
            } else {
                noise % 12
            };
            let letter = |n| char::from(b'a' + (mixed(noise ^ n) % 26) as u8);
            Value::Text((0..bytes).map(letter).collect::<String>().into())
        }
    }
}

fn mixed(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// A schema of `fields` fields of all types, of which a share has none.
fn wide_schema(id: SchemaId, fields: usize, seed: u64) -> Schema {
    let kind = |n: usize| kinds()[(mixed(seed ^ (n as u64 / 3)) % 5) as usize];
    let fields = (0..fields).map(|n| Field {
        name: format!("f{n}"),
        kind: kind(n),
    });
    Schema {
        fields: fields.collect(),
        ..schema(id)
    }
}

/// Which fields a row has: some here and there, a stretch, or all.
fn wide_values(schema: &Schema, seed: u64) -> RecordValues {
    let width = schema.fields.len() as u64;
    let (from, share) = (mixed(seed ^ 1) % width, 1 + mixed(seed ^ 2) % 300);
    let to = match seed % 4 {
        0 => width,
        1 => from + 1,
        _ => from + mixed(seed ^ 3) % 300,
    };
    let from = if seed.is_multiple_of(4) { 0 } else { from };
    let there = |n: &u64| {
        !seed.is_multiple_of(8) && seed % 4 != 3 || mixed(seed ^ n << 8).is_multiple_of(share)
    };
    let fields = (from..to.min(width)).filter(there);
    let values = fields.map(|n| {
        let kind = schema.fields[n as usize].kind;
        (n as u32, value(kind, mixed(seed ^ n << 20)))
    });
    values.collect::<Vec<_>>().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn wide_and_sparse_samples_come_back_or_are_refused(
        widths in prop::collection::vec(1_usize..=FIELDS_MAX, 1..4),
        rows in prop::collection::vec((any::<u8>(), 0_u32..4, any::<u64>()), 1..60),
        seed: u64,
    ) {
        let schemas: Vec<Schema> = (0..).zip(&widths).map(|(id, width)| wide_schema(id, *width, seed ^ u64::from(id))).collect();
        let mut builder = BlockBuilder::new(Compression::Pco);
        let mut kept = Vec::new();
        for (ts, (pick, stream, salt)) in (1..).zip(rows) {
            let schema = &schemas[usize::from(pick) % schemas.len()];
            let sample = Sample {
                stream: schema.id * 10 + stream,
                ts: Timestamp(ts),
                split: Split { is_train: salt % 5 != 0, fold: (salt % 3) as u8 },
                source_ts: (salt % 2 == 0).then_some(salt as i64 >> 8),
                values: wide_values(schema, salt),
            };
            match builder.push(schema, sample.clone()) {
                Ok(()) => kept.push((schema.id, sample)),
                Err(error) => prop_assert!(matches!(error, PushError::TooLarge { .. }), "{}", error),
            }
        }
        let mut found = Vec::new();
        for body in builder.finish() {
            prop_assert!(body.encoded_bytes() <= BLOCK_BYTES_MAX || body.rows == 1);
            let stored = body.stored(0).unwrap();
            let block = decode(0, &stored, 0).unwrap();
            let mut block_cells = 0;
            for section in &block.sections {
                block_cells += section.rows.columns.len() * section.rows.len();
                let streams = section.runs.iter().flat_map(|run| (0..run.rows).map(|_| run.stream));
                for (row, stream) in streams.enumerate() {
                    let rows = &section.rows;
                    let there = rows.columns.iter().filter_map(|(field, c)| Some((field as u32, c.get(row)?)));
                    found.push((section.schema, Sample {
                        stream,
                        ts: Timestamp(rows.ts[row]),
                        split: Split { is_train: rows.is_train[row], fold: rows.fold[row] },
                        source_ts: rows.source_ts[row],
                        values: there.collect::<Vec<_>>().into(),
                    }));
                }
                // The same, field by field and stream by stream.
                let schema = &schemas[section.schema as usize];
                let some: Vec<(usize, FieldType)> = (0..schema.fields.len()).step_by(7).map(|f| (f, schema.fields[f].kind)).collect();
                let wanted: Vec<FieldColumns> = some.iter().map(|(field, kind)| alone(*field, *kind)).collect();
                let part = decode_fields(0, &stored, 0, false, |id| (id == section.schema).then_some(&wanted[..])).unwrap();
                for (place, (field, kind)) in some.iter().enumerate() {
                    let missing = Column::missing(*kind, section.rows.len());
                    let whole = section.rows.columns.get(*field).unwrap_or(&missing);
                    for row in 0..section.rows.len() {
                        let in_part = part.sections[0].rows.columns[place].get(row);
                        prop_assert_eq!(format!("{:?}", in_part), format!("{:?}", whole.get(row)));
                    }
                }
                let fields: Vec<usize> = some.iter().map(|(field, _)| *field).collect();
                let mut out = vec![Vec::new(); fields.len()];
                let stream = section.runs[0].stream;
                project(&stored, section.schema, stream, &wanted, 0, &mut out).unwrap().unwrap();
                for (field, column) in fields.iter().zip(&out) {
                    prop_assert_eq!(column.len(), section.runs[0].rows as usize);
                    for (row, number) in column.iter().enumerate() {
                        let whole = section.rows.columns.get(*field).and_then(|c| c.get(row));
                        let wanted = match whole {
                            Some(Value::F64(x)) => x as f32,
                            Some(Value::F32(x)) => x,
                            Some(Value::I64(x)) => x as f32,
                            Some(Value::Bool(x)) => f32::from(u8::from(x)),
                            Some(Value::Text(_)) | None => f32::NAN,
                        };
                        prop_assert!(number.to_bits() == wanted.to_bits() || number.is_nan() && wanted.is_nan());
                    }
                }
            }
            prop_assert!(block_cells <= CELLS_MAX);
        }
        found.sort_by_key(|(_, sample)| sample.ts);
        prop_assert_eq!(format!("{:?}", found), format!("{:?}", kept));
    }
}

/// The columns of a section as format 1 had them.
fn columns_1(columns: &[Column]) -> Vec<(u8, Option<Vec<u8>>, pack::Packed)> {
    let columns = columns.iter().map(|column| {
        let kind = stored::kind_code(column.values.kind());
        if column
            .present
            .as_ref()
            .is_some_and(|present| !present.contains(&true))
        {
            let nothing = pack::pack_numbers::<f64>(&[], Compression::None);
            return (kind, Some(Vec::new()), nothing);
        }
        let values = match &column.values {
            Values::F64(v) => pack::pack_numbers(v, Compression::Pco),
            Values::F32(v) => pack::pack_numbers(v, Compression::Pco),
            Values::I64(v) => pack::pack_numbers(v, Compression::Pco),
            Values::Bool(v) => pack::pack_flags(v),
            Values::Text(v) => pack::pack_texts(v),
        };
        (kind, column.present.as_deref().map(pack::pack_bits), values)
    });
    columns.collect()
}

fn sealed_as(format: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![format];
    bytes.extend_from_slice(body);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_block_of_format_1_is_read_to_the_last_value() {
    let rows = 40_usize;
    let present: Vec<bool> = (0..rows).map(|row| row % 3 != 0).collect();
    let text = |row: usize| {
        if row.is_multiple_of(3) {
            String::new()
        } else {
            format!("t{row}")
        }
    };
    let columns = [
        Column {
            values: Values::F64((0..rows).map(|r| r as f64 / 3.0).collect()),
            present: None,
        },
        Column::missing(FieldType::I64, rows),
        Column {
            values: Values::Text((0..rows).map(|r| text(r).into()).collect()),
            present: Some(present.clone()),
        },
        Column {
            values: Values::Bool((0..rows).map(|r| r % 2 == 0).collect()),
            present: None,
        },
    ];
    let ts: Vec<i64> = (0..rows as i64).map(|n| 1_000 + n * 7).collect();
    let none: Option<Vec<u8>> = None;
    let source: Option<(Vec<u8>, pack::Packed)> = Some((
        pack::pack_bits(&present),
        pack::pack_times(&ts, Compression::Pco),
    ));
    let keys = (
        3_u32,
        vec![(30_u32, 25_u32), (31, 15)],
        pack::pack_times(&ts, Compression::Pco),
        pack::pack_bits(&present),
        none,
        source,
    );
    let header = Header {
        first_row: 9,
        rows: rows as u32,
        first_ts: ts[0],
        last_ts: ts[rows - 1],
    };
    let body = (header, vec![(keys, columns_1(&columns))]);
    let bytes = sealed_as(
        1,
        &bincode::encode_to_vec(body, config::standard()).unwrap(),
    );

    let block = decode(5, &bytes, 2).unwrap();
    assert_eq!((block.seq, block.first_row, block.rows()), (5, 9, 40));
    let section = &block.sections[0];
    assert_eq!(
        (section.schema, section.runs[1]),
        (
            3,
            Run {
                stream: 31,
                rows: 15
            }
        )
    );
    let shifted: Vec<i64> = ts.iter().map(|ts| ts + 2).collect();
    assert_eq!(
        (&section.rows.ts, &section.rows.is_train),
        (&shifted, &present)
    );
    assert_eq!(section.rows.source_ts[1], Some(1_007));
    assert_eq!(section.rows.columns.len(), 3, "one has no value at all");
    for field in [0, 2, 3] {
        assert_eq!(section.rows.columns[field], columns[field]);
    }
    let wanted = [
        alone(2, FieldType::Text),
        alone(1, FieldType::I64),
        alone(0, FieldType::F64),
    ];
    let part = decode_fields(5, &bytes, 0, true, |_| Some(&wanted[..])).unwrap();
    assert_eq!(part.sections[0].rows.columns[2], columns[0]);
    assert_eq!(part.sections[0].rows.columns[1], columns[1]);
    let mut out = vec![Vec::new(), Vec::new()];
    let numbers = [3, 1].map(|field| alone(field, FieldType::F32));
    project(&bytes, 3, 31, &numbers, 0, &mut out)
        .unwrap()
        .unwrap();
    assert_eq!((out[0].len(), out[0][0], out[1].len()), (15, 0.0, 15));
    assert!(out[1].iter().all(|number| number.is_nan()));
    assert_eq!(outline(&bytes, 0, |_| true).unwrap().runs.len(), 2);
}

type Keys = (
    u32,
    Vec<(u32, u32)>,
    pack::Packed,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<(Vec<u8>, pack::Packed)>,
);

fn keys(rows: usize) -> Keys {
    (
        0,
        vec![(0, rows as u32)],
        pack::pack_times(&vec![0; rows], Compression::Pco),
        pack::pack_bits(&vec![true; rows]),
        None,
        None,
    )
}

#[test]
fn what_claims_more_than_a_block_may_hold_is_refused_before_anything_is_unpacked() {
    let zeros = |count: usize| pack::pack_numbers(&vec![0.0_f64; count], Compression::Pco);
    let read = |format: u8, rows: usize, sections: Vec<u8>| {
        let header = Header {
            first_row: 0,
            rows: rows as u32,
            first_ts: 0,
            last_ts: 0,
        };
        let mut body = bincode::encode_to_vec(header, config::standard()).unwrap();
        body.extend(sections);
        let bytes = sealed_as(format, &body);
        let whole = decode(0, &bytes, 0).map(|_| ());
        assert_eq!(outline(&bytes, 0, |_| true).is_ok(), whole.is_ok());
        whole.map_err(|error| error.0)
    };
    let one_band = |rows: usize, skip: u32, count: u32| {
        let band = (
            skip,
            0_u8,
            count,
            None::<pack::Packed>,
            zeros(rows * count as usize),
        );
        bincode::encode_to_vec(vec![(keys(rows), vec![band])], config::standard()).unwrap()
    };
    assert_eq!(read(2, 64, one_band(64, 0, 4_096)), Ok(()));
    let said = read(2, 65, one_band(65, 0, 4_096)).unwrap_err();
    assert!(said.contains("266240 cells"), "{said}");
    let said = read(2, 9, one_band(10, 0, 1)).unwrap_err();
    assert!(said.contains("row count"), "{said}");
    let many = (1 << 17) + 1;
    let said = read(2, many, one_band(many, 0, 1)).unwrap_err();
    assert!(said.contains("131073 rows"), "{said}");
    // Nor is a field believed at a place that no schema has.
    for (skip, count) in [(65_536, 1), (u32::MAX, 1), (0, 0)] {
        let said = read(2, 4, one_band(4, skip, count)).unwrap_err();
        assert!(said.contains("columns"), "{said}");
    }
    let column = || (0_u8, None::<Vec<u8>>, zeros(2_000));
    let columns: Vec<_> = (0..2_098).map(|_| column()).collect();
    let sections = bincode::encode_to_vec(vec![(keys(2_000), columns)], config::standard());
    let said = read(1, 2_000, sections.unwrap()).unwrap_err();
    assert!(said.contains("cells"), "{said}");
}
