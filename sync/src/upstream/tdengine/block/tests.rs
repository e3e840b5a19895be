#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use taos::{ColumnView, taos_query::common::BorrowedValue};

use super::*;

proptest! {
    #[test]
    fn the_connector_reads_what_was_put_in(
        rows in prop::collection::vec(
            (any::<i64>(), any::<Option<f64>>(), any::<Option<bool>>(), any::<Option<String>>()),
            1..40,
        ),
    ) {
        let mut builder = BlockBuilder::new(rows.len(), 0);
        builder.fixed("ts", Ty::Timestamp, rows.iter().map(|row| Some(row.0.to_le_bytes())));
        builder.fixed("d", Ty::Double, rows.iter().map(|row| row.1.map(f64::to_le_bytes)));
        builder.fixed("b", Ty::Bool, rows.iter().map(|row| row.2.map(|b| [u8::from(b)])));
        builder.texts("t", rows.iter().map(|row| row.3.as_deref()));
        let block = builder.finish("m");
        prop_assert_eq!(block.nrows(), rows.len());
        for (number, row) in rows.iter().enumerate() {
            let cell = |column| block.get_ref(number, column).unwrap();
            let BorrowedValue::Timestamp(ts) = cell(0) else { panic!("no timestamp") };
            prop_assert_eq!(ts.as_raw_i64(), row.0);
            match (cell(1), row.1) {
                (BorrowedValue::Double(a), Some(b)) => prop_assert_eq!(a.to_bits(), b.to_bits()),
                (BorrowedValue::Null(_), None) => {}
                other => panic!("{other:?}"),
            }
            match (cell(2), row.2) {
                (BorrowedValue::Bool(a), Some(b)) => prop_assert_eq!(a, b),
                (BorrowedValue::Null(_), None) => {}
                other => panic!("{other:?}"),
            }
            match (cell(3), &row.3) {
                (BorrowedValue::VarChar(a), Some(b)) => prop_assert_eq!(a, b),
                (BorrowedValue::Null(_), None) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn bytes_are_those_of_the_connectors_own_builder() {
    let numbers = [Some(1_i64), None, Some(-3)];
    let texts = [Some("a"), None, Some("\u{fc}b")];
    let mut builder = BlockBuilder::new(3, 0);
    builder.fixed(
        "i",
        Ty::BigInt,
        numbers.iter().map(|n| n.map(i64::to_le_bytes)),
    );
    builder.texts("t", texts.into_iter());
    let views = [
        ColumnView::from_big_ints(numbers.to_vec()),
        ColumnView::from_varchar::<&str, _, _, _>(texts),
    ];
    let theirs = RawBlock::from_views(&views, Precision::Nanosecond);
    assert_eq!(builder.finish("m").as_raw_bytes(), theirs.as_raw_bytes());
}
