use super::*;

#[test]
fn no_window_reaches_over_the_edge_of_a_fold() {
    let shape = WindowShape {
        lookback: 2,
        horizon: 1,
    };
    let mut rows = Rows {
        ts: (0..12).collect(),
        values: vec![0.0; 12],
        is_train: vec![true; 12],
        ..Rows::default()
    };
    divide(&mut rows, (4, 7), 3);
    let ends = |subset| {
        let windows = rows.windows(shape, 1, false, subset);
        windows.map(|window| window.end - 1).collect::<Vec<_>>()
    };
    assert_eq!(ends(Subset::Train), [2, 3, 10, 11]);
    assert_eq!(ends(Subset::Validation), [6, 7]);
}

#[test]
fn single_rows_all_count() {
    let mut rows = Rows {
        ts: (0..4).collect(),
        values: vec![0.0; 4],
        is_train: vec![true; 4],
        ..Rows::default()
    };
    divide(&mut rows, (0, 1), 1);
    assert_eq!(rows.is_train, [false, false, true, true]);
    assert_eq!(rows.ends, [true; 4]);
}
