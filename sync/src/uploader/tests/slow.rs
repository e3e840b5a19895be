//! Links that take little at a time, and rows that break the connection.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_sent_in_smaller_parts_until_it_fits() {
    for order in [UploadOrder::OldestFirst, UploadOrder::LiveFirst] {
        let mut rig = Rig::new(2);
        rig.options.order = order;
        rig.options.batch_rows_max = 5_000;
        for _ in 0..20 {
            rig.source.commit(&[(0, 150), (1, 150)]);
        }
        // Less than a block.
        rig.upstream.rows_in_time_max.store(70, SeqCst);
        let running = rig.start();
        running
            .until(|stats| stats.cursor().low_watermark() == 20)
            .await;
        rig.assert_all_there();
        let calls: Vec<usize> = {
            let calls = rig.upstream.calls.lock().unwrap();
            calls.iter().map(|(_, ts)| ts.len()).collect()
        };
        let in_vain = calls.iter().filter(|rows| **rows > 70).count();
        assert!(
            in_vain * 4 <= calls.len(),
            "{in_vain} of {}: {calls:?}",
            calls.len()
        );
        assert!(rig.rejected.rows.lock().unwrap().is_empty());
        assert_eq!(running.stats.streams_held.load(SeqCst), 0);

        // The link is good again: batches grow.
        rig.upstream.rows_in_time_max.store(0, SeqCst);
        for _ in 0..400 {
            rig.source.commit(&[(0, 150), (1, 150)]);
        }
        rig.upstream.calls.lock().unwrap().clear();
        assert_eq!(running.drain(600).await, Left::default());
        rig.assert_all_there();
        let calls = rig.upstream.calls.lock().unwrap();
        let largest = calls.iter().map(|(_, ts)| ts.len()).max();
        assert!(largest >= Some(4_500), "{largest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_breaks_the_connection_goes_to_quarantine_and_no_other() {
    for (order, in_flight_max) in [(UploadOrder::OldestFirst, 1), (UploadOrder::LiveFirst, 4)] {
        let mut rig = Rig::new(3);
        rig.options.order = order;
        rig.options.in_flight_max = in_flight_max;
        rig.options.batch_rows_max = 500;
        for _ in 0..20 {
            rig.source.commit(&[(0, 60), (1, 60)]);
        }
        // The last two alone in their block.
        rig.source.commit(&[(2, 1)]);
        let breaking = [0, 7_770, 7_780, 13_010, 24_000];
        rig.upstream.breaking_ts.lock().unwrap().extend(breaking);
        let running = rig.start();
        for _ in 0..60 {
            rig.source.commit(&[(0, 2)]);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert_eq!(running.drain(600).await, Left::default());
        let rows = rig.rejected.rows.lock().unwrap();
        let aside: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.ts.0).collect();
        assert_eq!(aside, breaking.into());
        assert!(
            rows.iter()
                .all(|row| row.reason.contains("connection breaks"))
        );
        assert_eq!(rig.upstream.places().len() + 5, rig.source.places().len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_away_for_long_gets_every_row_in_the_end() {
    let mut rig = Rig::new(2);
    rig.options.batch_rows_max = 500;
    rig.commit_blocks(500);
    rig.upstream
        .faults
        .lock()
        .unwrap()
        .extend([Fault::Unavailable; 200]);
    let running = rig.start();
    assert_eq!(running.drain(6_000).await, Left::default());
    rig.assert_all_there();
    assert!(rig.rejected.rows.lock().unwrap().is_empty());
}
