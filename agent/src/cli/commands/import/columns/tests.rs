#![allow(clippy::unwrap_used)]

use std::{io::Write as _, sync::Arc};

use dunlin_sync::{
    rows::{Column, Rows},
    sample::{Field, Stream, Value},
};

use super::*;
use crate::admin::operations::export::files::ParquetExport;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
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
