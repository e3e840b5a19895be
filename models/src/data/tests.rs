use super::*;

fn rows(values: &[f32], lead: usize) -> Rows {
    Rows {
        ts: (0..values.len() as i64).collect(),
        values: values.to_vec(),
        is_train: (0..values.len()).map(|row| row % 2 == 0).collect(),
        lead,
        ..Rows::default()
    }
}

const SHAPE: WindowShape = WindowShape {
    lookback: 2,
    horizon: 1,
};

fn ends(rows: &Rows, subset: Subset) -> Vec<usize> {
    let windows = rows.windows(SHAPE, 1, false, subset);
    windows.map(|window| window.end - 1).collect()
}

#[test]
fn every_window_belongs_to_the_subset_of_its_last_row() {
    let rows = rows(&[0.0; 6], 0);
    assert_eq!(ends(&rows, Subset::All), [2, 3, 4, 5]);
    assert_eq!(ends(&rows, Subset::Train), [2, 4]);
    assert_eq!(ends(&rows, Subset::Validation), [3, 5]);
}

#[test]
fn no_window_ends_where_none_may() {
    let mut rows = rows(&[0.0; 6], 0);
    rows.ends = vec![true, true, false, true, false, true];
    assert_eq!(ends(&rows, Subset::All), [3, 5]);
}

#[test]
fn no_window_ends_in_the_lead_or_holds_a_missing_value() {
    let mut rows = rows(&[0.0; 8], 4);
    assert_eq!(ends(&rows, Subset::All), [4, 5, 6, 7]);
    rows.values[4] = f32::NAN;
    assert_eq!(ends(&rows, Subset::All), [7]);
    rows.values[4] = f32::INFINITY;
    assert_eq!(ends(&rows, Subset::All), [7]);
}

#[test]
fn fewer_rows_than_a_window_give_none() {
    assert!(ends(&rows(&[0.0; 2], 0), Subset::All).is_empty());
    assert!(ends(&rows(&[], 0), Subset::All).is_empty());
}
