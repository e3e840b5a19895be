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

/// Blocks of 20 rows of each of three healthy streams, and 5,000 blocks' worth of refused ones: mixed into
/// the first blocks, or in blocks of their own that come first in the order of upload.
fn commit_with_refused(rig: &Rig, refused: u32, is_mixed: bool) {
    const HEALTHY_BLOCKS: usize = 300;
    const IN_A_BLOCK: usize = 500;
    let healthy = [(0, 20), (1, 20), (2, 20)];
    let ids: Vec<StreamId> = (3..3 + refused).collect();
    let chunks = ids.chunks(IN_A_BLOCK);
    let mut blocks: Vec<Vec<(StreamId, u32)>> = Vec::new();
    for chunk in chunks {
        // Again and again, as in life.
        for _ in 0..2 {
            let mut block: Vec<_> = chunk.iter().map(|id| (*id, 1)).collect();
            if is_mixed {
                block.splice(0..0, healthy);
            }
            blocks.push(block);
        }
    }
    let plain = HEALTHY_BLOCKS - if is_mixed { blocks.len() } else { 0 };
    blocks.extend(std::iter::repeat_n(healthy.to_vec(), plain));
    if rig.options.order == UploadOrder::LiveFirst {
        blocks.reverse();
    }
    for block in blocks {
        rig.source.commit(&block);
    }
}

/// Calls, and rows of healthy streams in them, until these are all upstream.
async fn cost(rig: &Rig, refused: u32, is_mixed: bool) -> (usize, usize) {
    commit_with_refused(rig, refused, is_mixed);
    rig.upstream.refused.lock().unwrap().extend(3..3 + refused);
    *rig.upstream.delay.lock().unwrap() = Duration::from_millis(5);
    let healthy = |(name, _): &(String, i64)| ["s/0", "s/1", "s/2"].contains(&name.as_str());
    let expected: std::collections::BTreeSet<_> =
        rig.source.places().into_iter().filter(healthy).collect();
    let running = rig.start();
    running
        .until(|_| rig.upstream.rows.lock().unwrap().len() >= expected.len())
        .await;
    let of_healthy: HashSet<i64> = expected.iter().map(|(_, ts)| *ts).collect();
    let (calls, rows) = {
        let calls = rig.upstream.calls.lock().unwrap();
        let rows = calls.iter().flat_map(|(_, ts)| ts);
        let rows = rows.filter(|ts| of_healthy.contains(ts)).count();
        (calls.len(), rows)
    };
    running
        .until(|stats| stats.streams_held.load(SeqCst) == u64::from(refused))
        .await;
    let stats = Arc::clone(&running.stats);
    let left = running.drain(1).await;
    assert_eq!((left.streams_held, left.blocks), (refused as usize, 0));
    let rows_held = u64::from(refused) * 2;
    assert_eq!((left.rows, left.rows_held), (rows_held, rows_held));
    assert_eq!(stats.lag_rows.load(SeqCst), rows_held);
    assert!(refused == 0 || stats.lag_ns(i64::MAX) > 0);
    (calls, rows)
}

#[tokio::test(start_paused = true)]
async fn any_number_of_refused_streams_costs_the_others_no_more_than_as_much_again() {
    // Calls made before somebody looks: every 10 ms, and one takes 5.
    const UNTIL_SEEN: usize = 4;
    for order in [UploadOrder::OldestFirst, UploadOrder::LiveFirst] {
        for names_refused in [true, false] {
            for is_mixed in [true, false] {
                let mut undisturbed = (0, 0);
                for refused in [0, 1, 40, 5_000] {
                    let mut rig = Rig::new(3 + refused);
                    rig.options.order = order;
                    rig.options.in_flight_max = 1;
                    rig.options.batch_rows_max = 240;
                    rig.upstream.names_refused.store(names_refused, SeqCst);
                    let (calls, rows) = cost(&rig, refused, is_mixed).await;
                    let case = (order, names_refused, is_mixed, refused, calls, rows);
                    if refused == 0 {
                        undisturbed = (calls, rows);
                    }
                    // Blocks of refused ones have a turn each; who is not named is looked for.
                    let turns = refused as usize / 250 + 1;
                    let looked_for = match (names_refused, is_mixed) {
                        (false, true) => 2 * refused as usize,
                        _ => 0,
                    };
                    assert!(
                        calls <= 2 * (undisturbed.0 + turns) + looked_for + UNTIL_SEEN,
                        "{case:?}"
                    );
                    assert!(rows <= 2 * undisturbed.1, "{case:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_no_row_is_taken_stays_in_the_buffer_and_out_of_quarantine() {
    let mut rig = Rig::new(2);
    rig.options.batch_rows_max = 1_000;
    for _ in 0..300 {
        rig.source.commit(&[(0, 20), (1, 20)]);
    }
    rig.upstream.rejected.lock().unwrap().insert(1);
    let running = rig.start();
    running
        .until(|stats| stats.rows_uploaded.load(SeqCst) == 6_000)
        .await;
    assert_eq!(running.stats.streams_held.load(SeqCst), 1);
    let held = running.stats.held_stream().unwrap();
    assert!(
        held.name == "s/1" && held.reason.contains("not one row"),
        "{held:?}"
    );
    assert_eq!(rig.rejected.rows.lock().unwrap().len(), 0);
    running
        .until(|stats| stats.rows_held.load(SeqCst) == 6_000)
        .await;
    rig.upstream.rejected.lock().unwrap().clear();
    running
        .until(|stats| stats.streams_held.load(SeqCst) == 0)
        .await;
    assert_eq!(running.drain(60).await, Left::default());
    rig.assert_all_there();
}

#[tokio::test(start_paused = true)]
async fn rows_too_old_go_to_quarantine_however_many_and_the_newer_ones_up() {
    let mut rig = Rig::new(1);
    rig.options.batch_rows_max = 1_000;
    for _ in 0..200 {
        rig.source.commit(&[(0, 20)]);
    }
    rig.upstream.is_out_of_time.store(true, SeqCst);
    let old = (0..3_000).map(|row| row * 10);
    rig.upstream.rejected_ts.lock().unwrap().extend(old);
    assert_eq!(rig.start().drain(60).await, Left::default());
    assert_eq!(rig.rejected.rows.lock().unwrap().len(), 3_000);
    assert_eq!(rig.upstream.places().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_full_quarantine_loses_nothing_that_the_buffer_can_hold() {
    let rig = Rig::new(2);
    rig.commit_blocks(20);
    rig.upstream.rejected_ts.lock().unwrap().extend([130, 490]);
    rig.rejected.is_full.store(true, SeqCst);
    let running = rig.start();
    running
        .until(|stats| stats.cursor().low_watermark() == 20 && stats.streams_held.load(SeqCst) == 1)
        .await;
    let held = running.stats.held_stream().unwrap();
    assert!(held.reason.contains("quarantine"), "{held:?}");
    rig.rejected.is_full.store(false, SeqCst);
    running
        .until(|stats| stats.streams_held.load(SeqCst) == 0)
        .await;
    assert_eq!(running.drain(60).await, Left::default());
    assert_eq!(rig.upstream.places().len() + 2, rig.source.places().len());
    let rows = rig.rejected.rows.lock().unwrap();
    let seen: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.ts.0).collect();
    assert_eq!(seen, [130, 490].into());
}

/// A stream is refused for `refused_for`; how long after its repair it was up.
async fn healing(rig: &Rig, refused_for: Duration) -> Duration {
    rig.commit_blocks(5);
    rig.upstream.refused.lock().unwrap().insert(1);
    let running = rig.start();
    running
        .until(|stats| stats.streams_held.load(SeqCst) == 1)
        .await;
    tokio::time::sleep(refused_for).await;
    let tests = rig.upstream.calls.lock().unwrap().len();
    let seconds = refused_for.as_secs() as usize;
    assert!(tests <= 10 + seconds / 8, "{tests} calls in {seconds} s");
    rig.upstream.refused.lock().unwrap().clear();
    let mended = Instant::now();
    running
        .until(|stats| stats.streams_held.load(SeqCst) == 0)
        .await;
    let waited = mended.elapsed();
    assert_eq!(running.drain(60).await, Left::default());
    rig.assert_all_there();
    waited
}

#[tokio::test(start_paused = true)]
async fn a_repair_is_seen_within_seconds_however_long_it_took() {
    for (refused_for, within) in [(1, 3), (10, 9), (7_200, 15)] {
        let mut rig = Rig::new(2);
        rig.options.backoff_max = Duration::from_mins(1);
        let waited = healing(&rig, Duration::from_secs(refused_for)).await;
        assert!(waited <= Duration::from_secs(within), "{waited:?}");
    }
}
