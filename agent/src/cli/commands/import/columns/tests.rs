#![allow(clippy::unwrap_used)]

use std::{io::Write as _, sync::Arc};

use dunlin_sync::{
    rows::{Column, Rows},
    sample::{Field, FieldType, Stream, Value},
};
use parquet::{
    basic::{ConvertedType as Old, Repetition, Type as Physical},
    column::writer::ColumnWriter,
    file::reader::ChunkReader,
    file::writer::SerializedFileWriter,
    schema::types::Type,
};

use super::{super::source::Source, *};
use crate::admin::operations::export::files::ParquetExport;

fn file(bytes: &[u8]) -> Hashed {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Source::open(file.path()).unwrap().hashed()
}

/// A small file of two columns.
fn exported() -> Vec<u8> {
    let kinds = [("x", FieldType::F64), ("t", FieldType::Text)];
    let fields = kinds.map(|(name, kind)| Field {
        name: name.into(),
        kind,
    });
    let schema = Arc::new(Schema {
        id: 0,
        name: "plant".into(),
        tag_names: vec!["device".into()],
        fields: fields.to_vec(),
        origins: Vec::new(),
    });
    let stream = Stream {
        id: 0,
        schema: 0,
        name: "plant/m1".into(),
        tags: vec!["pi".into()],
        first_tags: None,
    };
    let mut columns = kinds.map(|(_, kind)| Column::empty(kind));
    for row in 0..20 {
        columns[0].push(Some(Value::F64(row.into()))).unwrap();
        columns[1].push(Some(Value::Text("text".into()))).unwrap();
    }
    let rows = Rows {
        ts: (1..=20).collect(),
        is_train: vec![true; 20],
        fold: vec![0; 20],
        source_ts: vec![None; 20],
        columns: columns.into_iter().collect::<Vec<_>>().into(),
    };
    let mut export = ParquetExport::new(Vec::new(), &schema).unwrap();
    export.write(&stream, &rows).unwrap();
    export.finish().unwrap()
}

/// Rows that can be read, or what is wrong.
fn read(bytes: &[u8]) -> Result<u64, String> {
    let mut columns = Columns::open(file(bytes), None, &Hints::default())?;
    while columns.next()?.is_some() {}
    Ok(columns.row())
}

#[test]
fn damage_anywhere_ends_the_file_and_nothing_else() {
    let bytes = exported();
    assert_eq!(read(&bytes), Ok(20));
    assert!(read(b"PAR1 nothing of a file PAR1").is_err());
    // Whatever the reader makes of it, it comes back.
    for at in (0..bytes.len()).step_by(3) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        let _rows_or_not = read(&bytes);
    }
    for end in (0..bytes.len()).step_by(17) {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// A file of one row whose columns have the types that writers gave before there were logical types.
fn old(types: &[(&str, Physical, Old, Vec<u8>)]) -> Vec<u8> {
    let fields = types.iter().map(|(name, physical, old, _)| {
        let mut field = Type::primitive_type_builder(name, *physical)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(*old);
        if *old == Old::DECIMAL {
            field = field.with_precision(9).with_scale(2);
        }
        if *physical == Physical::FIXED_LEN_BYTE_ARRAY {
            field = field.with_length(4);
        }
        Arc::new(field.build().unwrap())
    });
    let schema = Type::group_type_builder("m").with_fields(fields.collect());
    let schema = Arc::new(schema.build().unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (.., value) in types {
        let mut column = group.next_column().unwrap().unwrap();
        let fixed = || i64::from_le_bytes(value[..8].try_into().unwrap());
        match column.untyped() {
            ColumnWriter::Int32ColumnWriter(writer) => {
                writer.write_batch(&[fixed() as i32], None, None)
            }
            ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&[fixed()], None, None),
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&[value.clone().into()], None, None)
            }
            ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
                let value = ByteArray::from(value.clone());
                writer.write_batch(&[value.into()], None, None)
            }
            _ => unreachable!(),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[test]
fn types_of_old_writers_mean_what_they_meant() {
    let whole = |value: i64| value.to_le_bytes().to_vec();
    let bytes = old(&[
        ("price", Physical::INT32, Old::DECIMAL, whole(1_234)),
        ("cost", Physical::INT64, Old::DECIMAL, whole(-5)),
        ("day", Physical::INT32, Old::DATE, whole(20_577)),
        ("u8", Physical::INT32, Old::UINT_8, whole(200)),
        ("u32", Physical::INT32, Old::UINT_32, whole(-1)),
        ("i16", Physical::INT32, Old::INT_16, whole(-1)),
        ("text", Physical::BYTE_ARRAY, Old::UTF8, b"x".to_vec()),
        ("long", Physical::BYTE_ARRAY, Old::DECIMAL, b"41".to_vec()),
        (
            "fixed",
            Physical::FIXED_LEN_BYTE_ARRAY,
            Old::DECIMAL,
            b"4123".to_vec(),
        ),
    ]);
    let mut columns = Columns::open(file(&bytes), None, &Hints::default()).unwrap();
    assert_eq!(
        columns.left_out,
        ["long (a long decimal)", "fixed (a long decimal)"]
    );
    let record = columns.next().unwrap().unwrap().record.unwrap();
    assert_eq!(record.source_ts, Some(1_777_852_800_000_000_000));
    let values: Vec<Value> = record
        .values
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    let [u8s, u32s, i16s] = [200, u32::MAX.into(), -1].map(Value::I64);
    let decimals = [12.34, -0.05].map(Value::F64);
    assert_eq!(values[..2], decimals);
    assert_eq!(values[2..], [u8s, u32s, i16s, Value::Text("x".into())]);
}

#[test]
fn what_comes_behind_a_file_meanwhile_is_not_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&exported()).unwrap();
    let source = Source::open(file.path()).unwrap();
    file.write_all(b"more").unwrap();
    let mut columns = Columns::open(source.hashed(), None, &Hints::default()).unwrap();
    assert!(columns.next().unwrap().is_some());
    assert!(source.hashed().get_bytes(0, usize::MAX >> 1).is_err());
}

#[test]
fn a_column_that_would_take_too_much_memory_is_refused_by_name() {
    let reader = SerializedFileReader::new(file(&exported())).unwrap();
    let columns = reader.metadata().row_group(0).columns();
    assert_eq!(check_sizes(columns.iter()), Ok(()));
    let large = columns[1].clone().into_builder();
    let large = large.set_total_uncompressed_size(CHUNK_BYTES_MAX + 1);
    let large = [columns[0].clone(), large.build().unwrap()];
    let refused = check_sizes(large.iter()).unwrap_err();
    let name = large[1].column_path().string();
    assert!(
        refused.contains(&name) && refused.contains("row_group_size"),
        "{refused}"
    );
}

#[test]
fn what_is_for_csv_only_is_refused_by_name() {
    let types = vec![("nix".to_owned(), FieldType::F64)];
    let missing = vec!["-".to_owned()];
    for (hints, what) in [
        (
            Hints {
                types,
                ..Hints::default()
            },
            "--type names `nix`",
        ),
        (
            Hints {
                missing,
                ..Hints::default()
            },
            "--missing is for CSV",
        ),
        (
            Hints {
                time: Some("x,t".into()),
                ..Hints::default()
            },
            "of CSV only",
        ),
    ] {
        let error = Columns::open(file(&exported()), None, &hints)
            .err()
            .unwrap();
        assert!(error.contains(what), "{error}");
    }
}
