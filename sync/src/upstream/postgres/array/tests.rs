#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_copy_is_head_rows_and_end_whatever_its_length() {
    for rows in [0, 1, 10_000] {
        let texts = vec!["text of twenty bytes"; rows];
        let columns = [
            Array::Text(texts.into_iter().map(Some).collect()),
            Array::F64(
                (0..rows)
                    .map(|row| (row % 2 == 0).then_some(row as f64))
                    .collect(),
            ),
            Array::Bool((0..rows).map(|row| Some(row % 3 == 0)).collect()),
        ];
        let pieces: Vec<Bytes> = copy_of(&columns, rows).collect();
        let longest = pieces.iter().map(Bytes::len).max().unwrap();
        assert!(longest < PIECE_BYTES + 100, "{longest}");
        let whole = pieces.concat();
        assert!(whole.starts_with(HEAD));
        assert!(whole.ends_with(&[0xff, 0xff]));
        let with = 2 + 4 + 20 + 4 + 8 + 4 + 1;
        let nulls = rows / 2;
        assert_eq!(whole.len(), HEAD.len() + rows * with - nulls * 8 + 2);
    }
}

#[test]
fn a_float_of_32_bits_in_a_column_of_64_is_the_same_number() {
    let mut column = Column::empty(crate::sample::FieldType::F32);
    column.push(Some(crate::sample::Value::F32(0.1))).unwrap();
    column.push(None).unwrap();
    let mut batch = Batch::default();
    batch.tables.push(crate::rows::TableRows {
        stream: std::sync::Arc::new(crate::sample::Stream {
            id: 0,
            schema: 0,
            name: "s".into(),
            tags: vec!["d".into()],
            first_tags: None,
        }),
        schema: std::sync::Arc::default(),
        rows: crate::rows::Rows {
            ts: vec![1, 2],
            is_train: vec![true; 2],
            fold: vec![0; 2],
            source_ts: vec![None; 2],
            columns: vec![column].into(),
        },
    });
    let items = [Item { table: 0, row: 0 }, Item { table: 0, row: 1 }];
    let array = Array::of_field(&batch, &items, 0, "f64");
    assert_eq!(array, Array::F64(vec![Some(f64::from(0.1_f32)), None]));
    let missing = Array::of_field(&batch, &items, 7, "text");
    assert_eq!(missing, Array::Text(vec![None, None]));
}
