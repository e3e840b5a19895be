#![allow(clippy::unwrap_used)]

use dunlin_sync::sample::Field;
use parquet::{
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::RowAccessor,
};

use super::*;

/// `2026-05-28T20:26:40Z`.
const TS: i64 = 1_780_000_000_000_000_000;

/// Opens a Parquet file held in memory, by way of a temporary file.
fn reader(bytes: &[u8]) -> SerializedFileReader<std::fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SerializedFileReader::new(file).unwrap()
}

fn schema(fields: &[(&str, FieldType)]) -> Arc<Schema> {
    let fields = fields.iter().map(|(name, kind)| Field {
        name: (*name).to_owned(),
        kind: *kind,
    });
    Arc::new(Schema {
        id: 0,
        name: "plant".to_owned(),
        tag_names: vec!["device".to_owned(), "machine".to_owned()],
        fields: fields.collect(),
        origins: Vec::new(),
    })
}

fn stream(machine: &str) -> Stream {
    Stream {
        id: 0,
        schema: 0,
        name: format!("plant/{machine}"),
        tags: vec!["pi".to_owned(), machine.to_owned()],
        first_tags: None,
    }
}

fn all_types() -> Arc<Schema> {
    schema(&[
        ("f", FieldType::F64),
        ("g", FieldType::F32),
        ("i", FieldType::I64),
        ("b", FieldType::Bool),
        ("t", FieldType::Text),
        ("late", FieldType::F64),
    ])
}

/// Row 0 is complete, row 1 has nothing but its timestamp; the rows are older than field `late`.
fn two_rows() -> Rows {
    let mut columns: Vec<Column> = all_types().fields[..5]
        .iter()
        .map(|field| Column::empty(field.kind))
        .collect();
    let values = [
        Value::F64(-1.5),
        Value::F32(0.1),
        Value::I64(i64::MIN),
        Value::Bool(true),
        Value::Text("=1+1, \"x\"\n".into()),
    ];
    for (column, value) in columns.iter_mut().zip(values) {
        column.push(Some(value)).unwrap();
        column.push(None).unwrap();
    }
    Rows {
        ts: vec![TS + 1, TS + 2],
        is_train: vec![true, false],
        fold: vec![3, 0],
        source_ts: vec![Some(TS), None],
        columns: columns.into(),
    }
}

fn csv_of(schema: &Arc<Schema>, stream: &Stream, rows: &Rows) -> String {
    let mut export = CsvExport::new(Vec::new(), schema).unwrap();
    export.write(stream, rows).unwrap();
    String::from_utf8(export.finish().unwrap()).unwrap()
}

fn parquet_of(schema: &Arc<Schema>, stream: &Stream, chunks: &[Rows]) -> Vec<u8> {
    let mut export = ParquetExport::new(Vec::new(), schema).unwrap();
    for rows in chunks {
        export.write(stream, rows).unwrap();
    }
    export.finish().unwrap()
}

#[test]
fn csv_holds_every_type_and_leaves_what_is_missing_empty() {
    assert_eq!(
        csv_of(&all_types(), &stream("m1"), &two_rows()),
        "ts,time,is_train,fold,source_ts,stream,tag.device,tag.machine,f,g,i,b,t,late\n\
         1780000000000000001,2026-05-28T20:26:40.000000001Z,true,3,1780000000000000000,plant/m1,pi,m1,\
         -1.5,0.1,-9223372036854775808,true,\"'=1+1, \"\"x\"\"\n\",\n\
         1780000000000000002,2026-05-28T20:26:40.000000002Z,false,0,,plant/m1,pi,m1,,,,,,\n"
    );
}

#[test]
fn csv_disarms_formulas_in_texts_only() {
    for text in ["=1", "+1", "-1", "@x", "\tx", "\rx", "'=1", "''@"] {
        assert_eq!(defused(text), format!("'{text}"));
    }
    for text in ["", "1-1", "a=b", "'1"] {
        assert_eq!(defused(text), text);
    }
    let schema = schema(&[("=cmd()", FieldType::F64)]);
    let rows = Rows {
        ts: vec![-1],
        is_train: vec![true],
        fold: vec![0],
        source_ts: vec![None],
        columns: vec![Column {
            values: Values::F64(vec![-2.0]),
            present: None,
        }]
        .into(),
    };
    let text = csv_of(&schema, &stream("@sum"), &rows);
    assert!(text.contains(",'=cmd()\n"), "{text}");
    assert!(
        text.contains("\n-1,1969-12-31T23:59:59.999999999Z,"),
        "{text}"
    );
    assert!(text.ends_with(",'@sum,-2.0\n"), "{text}");
}

#[test]
fn parquet_reads_back() {
    let bytes = parquet_of(&all_types(), &stream("m1"), &[two_rows()]);
    let reader = reader(&bytes);
    let columns = reader
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .to_vec();
    let time = Some(LogicalType::timestamp(true, TimeUnit::NANOS));
    assert_eq!(columns[0].logical_type_ref(), time.as_ref());
    assert_eq!(columns[3].logical_type_ref(), time.as_ref());
    assert_eq!(
        reader.metadata().row_group(0).column(0).compression(),
        Compression::SNAPPY
    );
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 2);
    let names: Vec<_> = rows[0]
        .get_column_iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names.join(","),
        "ts,is_train,fold,source_ts,stream,tag.device,tag.machine,f,g,i,b,t,late"
    );
    let row = &rows[0];
    assert_eq!(row.get_long(0).unwrap(), TS + 1);
    assert!(row.get_bool(1).unwrap());
    assert_eq!(row.get_ubyte(2).unwrap(), 3);
    assert_eq!(row.get_long(3).unwrap(), TS);
    assert_eq!(row.get_string(6).unwrap(), "m1");
    assert!((row.get_double(7).unwrap() + 1.5).abs() < f64::EPSILON);
    assert!((row.get_float(8).unwrap() - 0.1).abs() < f32::EPSILON);
    assert_eq!(row.get_long(9).unwrap(), i64::MIN);
    assert!(row.get_bool(10).unwrap());
    assert_eq!(row.get_string(11).unwrap(), "=1+1, \"x\"\n");
    assert!(row.is_null(12).unwrap());
    let row = &rows[1];
    assert_eq!(row.get_long(0).unwrap(), TS + 2);
    assert!(!row.get_bool(1).unwrap());
    assert!((3..4).chain(7..13).all(|index| row.is_null(index).unwrap()));
}

fn many_rows(count: usize, text: &str) -> Rows {
    Rows {
        ts: (0..count as i64).collect(),
        is_train: vec![true; count],
        fold: vec![0; count],
        source_ts: vec![None; count],
        columns: vec![Column {
            values: Values::Text(vec![text.into(); count]),
            present: None,
        }]
        .into(),
    }
}

#[test]
fn parquet_row_groups_are_bounded() {
    let schema = schema(&[("t", FieldType::Text)]);
    let count = |chunks: &[Rows]| -> Vec<i64> {
        let file = reader(&parquet_of(&schema, &stream("m"), chunks));
        file.metadata()
            .row_groups()
            .iter()
            .map(parquet::file::metadata::RowGroupMetaData::num_rows)
            .collect()
    };
    let most = GROUP_ROWS_MAX as i64;
    assert_eq!(
        count(&[many_rows(100_000, ""), many_rows(40_000, "")]),
        [most, most, 140_000 - 2 * most]
    );
    let long = "x".repeat(1 << 20);
    assert_eq!(
        count(&[
            many_rows(10, &long),
            many_rows(10, &long),
            many_rows(1, &long)
        ]),
        [20, 1]
    );
    assert!(count(&[]).is_empty());
    assert!(count(&[Rows::default()]).is_empty());
}

#[test]
fn names_never_collide() {
    let schema = schema(&[
        ("ts", FieldType::F64),
        ("tag.device", FieldType::F64),
        ("field.ts", FieldType::F64),
    ]);
    let (tags, fields) = names(&schema);
    assert_eq!(tags, ["tag.device", "tag.machine"]);
    assert_eq!(fields, ["field.ts", "field.tag.device", "field.field.ts"]);
}

#[test]
fn a_column_of_another_type_is_an_error() {
    let schema = schema(&[("f", FieldType::F64)]);
    let rows = many_rows(1, "x");
    let mut export = CsvExport::new(Vec::new(), &schema).unwrap();
    assert!(matches!(
        export.write(&stream("m"), &rows),
        Err(ExportError::Type { .. })
    ));
    let mut export = ParquetExport::new(Vec::new(), &schema).unwrap();
    assert!(matches!(
        export.write(&stream("m"), &rows),
        Err(ExportError::Type { .. })
    ));
}

#[test]
fn an_output_that_fails_is_reported() {
    #[derive(Debug)]
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut export = CsvExport::new(Full, &all_types()).unwrap();
    assert!(export.write(&stream("m"), &two_rows()).is_err() || export.finish().is_err());
    let failed = ParquetExport::new(Full, &all_types()).and_then(|mut export| {
        export.write(&stream("m"), &two_rows())?;
        export.finish()
    });
    assert!(failed.is_err());
}
