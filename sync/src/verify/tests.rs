#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::uploader::doubles::{Fault, MemorySource, MemoryUpstream};

/// Ten blocks of three rows of `s/0` and two of `s/1`, all upstream.
fn delivered() -> (Arc<MemorySource>, Arc<MemoryUpstream>, Cursor) {
    let source = MemorySource::new(2);
    let upstream = Arc::new(MemoryUpstream::default());
    for _ in 0..10 {
        source.commit(&[(0, 3), (1, 2)]);
    }
    let rows = source.places().into_iter().map(|place| (place, 0));
    upstream.rows.lock().unwrap().extend(rows);
    let mut cursor = Cursor::default();
    cursor.advance(0..10, 50);
    (source, upstream, cursor)
}

async fn check(
    source: &Arc<MemorySource>,
    upstream: &Arc<MemoryUpstream>,
    cursor: &Cursor,
    rejected: &[i64],
) -> Result<VerifyReport, VerifyError> {
    let source = Arc::clone(source) as Arc<dyn BlockSource>;
    let upstream = Arc::clone(upstream) as Arc<dyn Upstream>;
    let rejected = |stream: &str, range: TimeRange| {
        let of_stream = |ts: &&i64| (**ts / 10 % 5 < 3) == (stream == "s/0");
        let inside = |ts: &&i64| range.contains(Timestamp(**ts));
        rejected.iter().filter(of_stream).filter(inside).count() as u64
    };
    verify(&source, &upstream, cursor, &rejected).await
}

fn lose(upstream: &MemoryUpstream, stream: &str, ts: i64) {
    let lost = upstream.rows.lock().unwrap().remove(&(stream.into(), ts));
    assert!(lost.is_some());
}

#[tokio::test]
async fn nothing_missing_nothing_named() {
    let (source, upstream, cursor) = delivered();
    let report = check(&source, &upstream, &cursor, &[]).await.unwrap();
    assert_eq!((report.rows_committed, report.rows_upstream), (50, 50));
    assert!(report.gaps.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_gap_and_a_surplus_are_named_closely() {
    let (source, upstream, cursor) = delivered();
    for ts in [100, 110, 120, 150] {
        lose(&upstream, "s/0", ts);
    }
    lose(&upstream, "s/0", 470);
    upstream.rows.lock().unwrap().insert(("s/1".into(), 235), 0);
    let report = check(&source, &upstream, &cursor, &[]).await.unwrap();
    let gap = |stream: &str, from, to, committed, upstream| Gap {
        stream: stream.into(),
        from: Timestamp(from),
        to: Timestamp(to),
        committed,
        upstream,
    };
    assert_eq!(
        report.gaps,
        [
            gap("s/0", 100, 150, 4, 0),
            gap("s/0", 470, 470, 1, 0),
            gap("s/1", 230, 239, 1, 2),
        ]
    );
    assert_eq!((report.rows_committed, report.rows_upstream), (50, 46));
}

#[tokio::test]
async fn what_need_not_be_there_is_not_missed() {
    let (source, upstream, _) = delivered();
    // Rejected; in a block not uploaded; of a held stream; in a block that is gone.
    lose(&upstream, "s/0", 100);
    lose(&upstream, "s/0", 250);
    lose(&upstream, "s/1", 430);
    lose(&upstream, "s/1", 480);
    source.damage(7);
    let mut cursor = Cursor::default();
    cursor.advance(0..5, 25);
    cursor.advance(6..10, 20);
    cursor.hold(1, 8, 4);
    let report = check(&source, &upstream, &cursor, &[100]).await.unwrap();
    assert!(report.gaps.is_empty(), "{report:?}");
    let compared = 8 * 5 - 1 - 2 * 2;
    assert_eq!(
        (report.rows_committed, report.rows_upstream),
        (compared, compared)
    );
}

#[tokio::test]
async fn an_upstream_that_is_away_is_no_gap() {
    let (source, upstream, cursor) = delivered();
    upstream
        .faults
        .lock()
        .unwrap()
        .push_back(Fault::Unavailable);
    let error = check(&source, &upstream, &cursor, &[]).await.unwrap_err();
    assert!(matches!(error, VerifyError::Upstream(_)), "{error}");
    source
        .fail_reads
        .store(1, std::sync::atomic::Ordering::SeqCst);
    let error = check(&source, &upstream, &cursor, &[]).await.unwrap_err();
    assert!(matches!(error, VerifyError::Buffer(_)), "{error}");
}

proptest! {
    #[test]
    fn every_missing_row_lies_in_a_gap(lost in prop::collection::btree_set(0..50usize, 0..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (source, upstream, cursor) = delivered();
        let places: Vec<_> = source.places().into_iter().collect();
        let lost: BTreeSet<_> = lost.iter().map(|index| places[*index].clone()).collect();
        for (stream, ts) in &lost {
            lose(&upstream, stream, *ts);
        }
        let report = runtime.block_on(check(&source, &upstream, &cursor, &[])).unwrap();
        let missing: u64 = report.gaps.iter().map(|gap| gap.committed - gap.upstream).sum();
        prop_assert_eq!(missing, lost.len() as u64);
        for gap in &report.gaps {
            prop_assert_eq!(gap.upstream, 0, "narrowed to what is missing alone");
            let inside = lost.iter().filter(|(stream, ts)| {
                *stream == gap.stream && gap.from.0 <= *ts && *ts <= gap.to.0
            });
            prop_assert_eq!(inside.count() as u64, gap.committed);
        }
    }
}
