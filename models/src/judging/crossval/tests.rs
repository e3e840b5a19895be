use super::*;

#[test]
fn the_spread_is_that_of_a_sample() {
    let spread = Spread::of([1.0, 2.0, 3.0, f64::NAN, f64::INFINITY]);
    assert_eq!((spread.folds, spread.mean, spread.std), (3, 2.0, 1.0));
    assert_eq!((spread.min, spread.max), (1.0, 3.0));
    assert_eq!(Spread::of([7.0]).std, 0.0);
    assert_eq!(Spread::of([]), Spread::default());
}

#[test]
fn a_fold_without_windows_does_not_spoil_the_others() {
    let fold = |windows, error_sum| Evaluation {
        windows,
        error_sum,
        ..Evaluation::default()
    };
    let folds = Folds::of(&[fold(10, 10.0), fold(0, 0.0), fold(10, 30.0)]);
    assert_eq!((folds.folds, folds.windows), (3, 20));
    assert_eq!((folds.error.folds, folds.error.mean), (2, 2.0));
    assert_eq!(folds.mae.folds, 0, "nothing was measured");
}
