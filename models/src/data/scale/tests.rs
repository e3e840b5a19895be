use std::sync::Arc;

use super::*;
use crate::data::{Columns, InMemory, Rows};

#[test]
#[allow(clippy::unwrap_used)]
fn fits_training_rows_alone_and_leaves_a_constant_at_zero() {
    let rows = Rows {
        ts: vec![0, 1, 2, 3],
        values: vec![1.0, 5.0, 3.0, 5.0, 99.0, 99.0, f32::NAN, 5.0],
        is_train: vec![true, true, false, true],
        ..Rows::default()
    };
    let source = InMemory {
        columns: Columns {
            features: vec!["a".into(), "b".into()],
            ..Columns::default()
        },
        chunks: vec![Arc::new(rows)],
        ..InMemory::default()
    };
    let scale = Scale::fit(&source).unwrap();
    assert_eq!(
        (&*scale.mean, &*scale.std),
        (&[2.0, 5.0][..], &[1.0, 1.0][..])
    );
    let mut values = [3.0, 5.0];
    scale.apply(&mut values);
    assert_eq!(values, [1.0, 0.0]);
    scale.invert(&mut values);
    assert_eq!(values, [3.0, 5.0]);
}
