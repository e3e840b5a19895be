//! Streams that the upstream refuses, and an upstream that refuses everything.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_held_while_the_rest_goes_on() {
    for order in [UploadOrder::OldestFirst, UploadOrder::LiveFirst] {
        let mut rig = Rig::new(5);
        rig.options.order = order;
        let commit = |blocks| {
            for _ in 0..blocks {
                rig.source.commit(&[(0, 2), (1, 1), (2, 2), (3, 1), (4, 1)]);
            }
        };
        commit(10);
        rig.upstream.refused.lock().unwrap().extend([1, 3]);
        let running = rig.start();
        running
            .until(|stats| stats.cursor().low_watermark() == rig.source.next_seq())
            .await;
        commit(10);
        running
            .until(|stats| stats.rows_uploaded.load(SeqCst) >= 20 * 5)
            .await;
        let expected = rig.source.places();
        let expected = expected
            .into_iter()
            .filter(|(name, _)| name != "s/1" && name != "s/3");
        assert_eq!(rig.upstream.places(), expected.collect());
        let cursor = running.stats.cursor();
        assert_eq!(cursor.held().keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(cursor.position(), 0, "their rows may not be trimmed");
        assert!(running.stats.last_error().unwrap().contains("s/"));
        // The hold survives a restart; one stream is repaired, the other later.
        running.drain(1).await;
        let running = rig.start();
        rig.upstream.refused.lock().unwrap().remove(&3);
        running
            .until(|stats| stats.streams_held.load(SeqCst) == 1)
            .await;
        rig.upstream.refused.lock().unwrap().remove(&1);
        running
            .until(|stats| stats.streams_held.load(SeqCst) == 0)
            .await;
        commit(1);
        assert_eq!(running.drain(60).await, Left::default());
        rig.assert_all_there();
        assert_eq!(rig.cursor().position(), 21);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_that_fills_whole_batches_does_not_keep_the_others() {
    for order in [UploadOrder::OldestFirst, UploadOrder::LiveFirst] {
        // Both in flight at once; one behind the other; more refused streams than are looked at by halves.
        for (streams, in_flight_max, refused_blocks, others) in
            [(2, 4, 1, 10), (2, 1, 1, 10), (2, 1, 9, 10), (101, 2, 5, 10)]
        {
            let mut rig = Rig::new(streams);
            rig.options.order = order;
            rig.options.in_flight_max = in_flight_max;
            rig.options.batch_rows_max = 100;
            *rig.upstream.delay.lock().unwrap() = Duration::from_millis(50);
            let refused = 1..streams;
            rig.upstream.refused.lock().unwrap().extend(refused.clone());
            let commit_refused = || {
                for _ in 0..refused_blocks {
                    let each = 60 / refused.len().min(60) as u32;
                    let rows: Vec<_> = refused.clone().map(|stream| (stream, each)).collect();
                    rig.source.commit(&rows);
                }
            };
            let commit_others = || (0..others).for_each(|_| rig.source.commit(&[(0, 60)]));
            if order == UploadOrder::OldestFirst {
                commit_refused();
                commit_others();
            } else {
                commit_others();
                commit_refused();
            }
            let running = rig.start();
            running
                .until(|stats| stats.streams_held.load(SeqCst) == refused.len() as u64)
                .await;
            running
                .until(|stats| stats.rows_uploaded.load(SeqCst) == others * 60)
                .await;
            rig.upstream.refused.lock().unwrap().clear();
            running
                .until(|stats| stats.streams_held.load(SeqCst) == 0)
                .await;
            assert_eq!(running.drain(60).await, Left::default());
            rig.assert_all_there();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_repaired_in_the_middle_of_a_backlog_catches_up_with_all_of_it() {
    let mut rig = Rig::new(2);
    rig.options.order = UploadOrder::LiveFirst;
    rig.options.in_flight_max = 1;
    rig.options.backoff_max = Duration::from_secs(1);
    *rig.upstream.delay.lock().unwrap() = Duration::from_secs(1);
    for _ in 0..80 {
        rig.source.commit(&[(0, 1), (1, 4)]);
    }
    rig.upstream.refused.lock().unwrap().insert(1);
    let running = rig.start();
    running.until(|stats| stats.batches.load(SeqCst) >= 3).await;
    assert_eq!(running.stats.streams_held.load(SeqCst), 1);
    assert_eq!(
        running.stats.cursor().low_watermark(),
        0,
        "the backlog waits"
    );
    rig.upstream.refused.lock().unwrap().clear();
    let settled = |stats: &UploadStats| {
        let cursor = stats.cursor();
        cursor.held().is_empty() && cursor.low_watermark() == 80
    };
    running.until(settled).await;
    running.drain(5).await;
    rig.assert_all_there();
}

#[tokio::test(start_paused = true)]
async fn a_database_that_refuses_us_holds_no_single_stream() {
    let rig = Rig::new(2);
    rig.commit_blocks(3);
    rig.upstream
        .faults
        .lock()
        .unwrap()
        .extend([Fault::Refuse; 9]);
    let running = rig.start();
    running.until(|stats| stats.retries.load(SeqCst) >= 2).await;
    assert!(running.stats.cursor().held().is_empty());
    assert!(running.stats.last_error().unwrap().contains("password"));
    assert_eq!(running.drain(60).await, Left::default());
    rig.assert_all_there();
}
