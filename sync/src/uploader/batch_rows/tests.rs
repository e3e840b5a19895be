use super::*;

/// Failures among `writes` over a link that takes `fitting` rows in time.
fn failures(batch: &mut BatchRows, fitting: usize, writes: usize) -> usize {
    let mut failures = 0;
    for _ in 0..writes {
        if batch.rows() <= fitting {
            batch.answered(batch.rows());
        } else {
            batch.broke(batch.rows());
            failures += 1;
        }
    }
    failures
}

#[test]
fn finds_what_fits_and_tries_more_ever_less_often() {
    let mut batch = BatchRows::new(5_000);
    assert_eq!((batch.rows(), batch.rows_at_once()), (5_000, usize::MAX));
    failures(&mut batch, 100, 200);
    let wasted = failures(&mut batch, 100, 1_000);
    assert!(wasted <= 1_000 / 30, "{wasted} of 1,000");
    assert!((50..=200).contains(&batch.rows()), "{}", batch.rows());
    assert_eq!(batch.rows_at_once(), batch.rows());
    // The link is good again.
    failures(&mut batch, usize::MAX, 70);
    assert_eq!(batch.rows(), 5_000);
}

#[test]
fn an_outage_makes_nothing_slow_afterwards() {
    let mut batch = BatchRows::new(5_000);
    failures(&mut batch, 0, 100);
    assert_eq!(batch.rows(), 1);
    assert_eq!(failures(&mut batch, usize::MAX, 13), 0);
    assert_eq!(batch.rows(), 5_000);
}
