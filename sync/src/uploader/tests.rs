#![allow(clippy::unwrap_used)]
mod held;
mod slow;

use std::{collections::HashSet, sync::atomic::Ordering::SeqCst};

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::{
    doubles::{Fault, MemoryRejected, MemorySource, MemoryUpstream},
    *,
};
use crate::cursor::Cursor;

struct Rig {
    dir: tempfile::TempDir,
    source: Arc<MemorySource>,
    upstream: Arc<MemoryUpstream>,
    rejected: Arc<MemoryRejected>,
    gate: watch::Sender<bool>,
    options: UploaderOptions,
}

/// An uploader at work.
struct Running {
    stats: Arc<UploadStats>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<Left>,
}

impl Rig {
    fn new(streams: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = UploaderOptions {
            cursor_path: dir.path().join("state/cursor.uploader"),
            batch_rows_max: 20,
            in_flight_max: 4,
            order: UploadOrder::OldestFirst,
            upload_gap_min: Duration::ZERO,
            save_gap_min: Duration::from_secs(1),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            seed: 1,
        };
        Self {
            dir,
            source: MemorySource::new(streams),
            upstream: Arc::default(),
            rejected: Arc::default(),
            gate: watch::Sender::new(true),
            options,
        }
    }

    fn open(&self) -> Uploader {
        Uploader::open(
            self.options.clone(),
            Arc::clone(&self.source) as Arc<dyn BlockSource>,
            Arc::clone(&self.upstream) as Arc<dyn Upstream>,
            Arc::clone(&self.rejected) as Arc<dyn RejectedRows>,
            self.gate.subscribe(),
        )
    }

    fn start(&self) -> Running {
        self.source.told.lock().unwrap().clear();
        let uploader = self.open();
        let (stop, stopped) = watch::channel(None);
        Running {
            stats: uploader.stats(),
            stop,
            task: tokio::spawn(uploader.run(stopped)),
        }
    }

    fn commit_blocks(&self, blocks: usize) {
        for _ in 0..blocks {
            self.source.commit(&[(0, 3), (1, 2)]);
        }
    }

    fn cursor(&self) -> Cursor {
        Cursor::read(&self.options.cursor_path).unwrap().unwrap()
    }

    fn assert_all_there(&self) {
        assert_eq!(self.upstream.places(), self.source.places());
        let told = self.source.told.lock().unwrap();
        assert!(
            told.is_sorted(),
            "what was released is never asked for again: {told:?}"
        );
    }
}

impl Running {
    /// Drains for at most `seconds`.
    async fn drain(self, seconds: u64) -> Left {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        self.stop.send(Some(deadline)).unwrap();
        self.task.await.unwrap()
    }

    /// Lets it run until `reached` (time is paused and jumps ahead).
    async fn until(&self, reached: impl Fn(&UploadStats) -> bool) {
        let waited = tokio::time::timeout(Duration::from_hours(1), async {
            while !reached(&self.stats) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waited.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_before_and_while_running_arrives_once() {
    let rig = Rig::new(2);
    rig.commit_blocks(30);
    *rig.upstream.delay.lock().unwrap() = Duration::from_millis(50);
    let running = rig.start();
    running
        .until(|stats| stats.rows_uploaded.load(SeqCst) > 40)
        .await;
    rig.commit_blocks(7);
    running
        .until(|stats| stats.cursor().low_watermark() == rig.source.next_seq())
        .await;
    let stats = Arc::clone(&running.stats);
    assert_eq!(running.drain(5).await, Left::default());
    rig.assert_all_there();
    assert_eq!(stats.rows_uploaded.load(SeqCst), 37 * 5);
    assert!(stats.connected.load(SeqCst));
    assert_eq!(rig.upstream.in_flight_seen.load(SeqCst), 4);
    let calls = rig.upstream.calls.lock().unwrap();
    assert!(
        calls.iter().all(|(_, ts)| ts.len() <= 20),
        "batches are bounded"
    );
    assert_eq!(calls.iter().map(|(_, ts)| ts.len()).sum::<usize>(), 37 * 5);
    // Those in flight together may overtake each other, no others.
    let firsts: Vec<i64> = calls.iter().map(|(_, ts)| ts[0]).collect();
    let oldest_first = firsts.windows(5).all(|window| window[0] < window[4]);
    assert!(oldest_first, "{firsts:?}");
    assert_eq!(rig.cursor().low_watermark(), 37);
    assert_eq!(rig.source.told.lock().unwrap().last(), Some(&37));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_bytes_as_well() {
    for order in [UploadOrder::OldestFirst, UploadOrder::LiveFirst] {
        let mut rig = Rig::new(2);
        rig.options.batch_rows_max = 1_000_000;
        rig.options.order = order;
        for _ in 0..10 {
            rig.source.commit(&[(0, 2_000), (1, 1_000)]);
        }
        let running = rig.start();
        running
            .until(|stats| stats.cursor().low_watermark() == rig.source.next_seq())
            .await;
        assert_eq!(running.drain(5).await, Left::default());
        rig.assert_all_there();
        let calls = rig.upstream.calls.lock().unwrap();
        let rows: Vec<usize> = calls.iter().map(|(_, ts)| ts.len()).collect();
        // Eight bytes a row: three blocks are more than the 64 KiB of tests.
        assert!(rows.iter().all(|rows| *rows <= 9_000), "{rows:?}");
        assert_eq!(rows.iter().sum::<usize>(), 30_000, "{rows:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_lose_and_double_nothing() {
    let rig = Rig::new(2);
    rig.commit_blocks(40);
    rig.upstream.faults.lock().unwrap().extend([
        Fault::Unavailable,
        Fault::LostAnswer,
        Fault::Panic,
        Fault::Unavailable,
        Fault::LostAnswer,
    ]);
    rig.source.fail_reads.store(3, SeqCst);
    let running = rig.start();
    let stats = Arc::clone(&running.stats);
    assert_eq!(running.drain(600).await, Left::default());
    rig.assert_all_there();
    assert!(stats.retries.load(SeqCst) >= 5);
    assert!(stats.last_error().is_some());
    assert!(stats.connected.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn waiting_grows_and_starts_again_after_a_success() {
    let mut rig = Rig::new(2);
    rig.options.in_flight_max = 1;
    rig.commit_blocks(1);
    rig.upstream
        .faults
        .lock()
        .unwrap()
        .extend([Fault::Unavailable; 12]);
    let running = rig.start();
    running.until(|stats| stats.batches.load(SeqCst) == 1).await;
    rig.upstream
        .faults
        .lock()
        .unwrap()
        .push_back(Fault::Unavailable);
    rig.commit_blocks(1);
    running.until(|stats| stats.batches.load(SeqCst) == 2).await;
    let calls = rig.upstream.calls.lock().unwrap();
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (failure, wait) in waits[..12].iter().enumerate() {
        let full = Duration::from_millis(100 << failure).min(Duration::from_secs(10));
        let slack = Duration::from_millis(5);
        assert!(
            *wait + slack >= full / 2 && *wait <= full + slack,
            "{failure}: {wait:?}"
        );
    }
    assert!(waits[13] <= Duration::from_millis(105), "{:?}", waits[13]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_resumes_without_a_gap_and_without_much_repetition() {
    let mut rig = Rig::new(2);
    rig.options.save_gap_min = Duration::from_millis(300);
    rig.commit_blocks(100);
    *rig.upstream.delay.lock().unwrap() = Duration::from_millis(300);
    for _ in 0..5 {
        let running = rig.start();
        let batches = 6;
        running
            .until(|stats| stats.batches.load(SeqCst) >= batches)
            .await;
        // The process is gone in the middle of its work.
        running.task.abort();
        let _aborted = running.task.await;
        let places = rig.upstream.places();
        let below = rig.cursor().low_watermark();
        let sure = rig
            .source
            .places()
            .into_iter()
            .take_while(|(_, ts)| *ts < below as i64 * 50);
        assert!(sure.into_iter().all(|place| places.contains(&place)));
    }
    assert_eq!(rig.start().drain(60).await, Left::default());
    rig.assert_all_there();
    let sent: usize = rig
        .upstream
        .calls
        .lock()
        .unwrap()
        .iter()
        .map(|(_, ts)| ts.len())
        .sum();
    assert!(sent <= 500 + 5 * 12 * 20, "{sent} rows sent for 500");
}

#[tokio::test(start_paused = true)]
async fn a_missing_damaged_or_foreign_cursor_starts_over_and_says_so() {
    let rig = Rig::new(2);
    rig.commit_blocks(10);
    rig.source.drop_below(2);
    let running = rig.start();
    assert!(running.stats.last_error().unwrap().contains("missing"));
    assert_eq!(
        running.stats.taken_below(),
        10,
        "nobody knows what was taken"
    );
    running.drain(5).await;
    rig.assert_all_there();

    std::fs::write(&rig.options.cursor_path, b"torn").unwrap();
    rig.upstream.rows.lock().unwrap().clear();
    let running = rig.start();
    assert!(running.stats.last_error().unwrap().contains("damaged"));
    assert_eq!(running.drain(5).await, Left::default());
    rig.assert_all_there();

    let mut foreign = Cursor::default();
    foreign.advance(0..5_000, 1);
    foreign.write(&rig.options.cursor_path).unwrap();
    rig.upstream.rows.lock().unwrap().clear();
    let running = rig.start();
    assert!(running.stats.last_error().unwrap().contains("another"));
    running.drain(5).await;
    rig.assert_all_there();
    assert!(rig.dir.path().join("state").is_dir());
}

#[tokio::test(start_paused = true)]
async fn live_first_sends_what_is_new_before_the_backlog() {
    let mut rig = Rig::new(2);
    rig.options.order = UploadOrder::LiveFirst;
    rig.options.in_flight_max = 1;
    rig.commit_blocks(40);
    *rig.upstream.delay.lock().unwrap() = Duration::from_millis(100);
    let running = rig.start();
    running.until(|stats| stats.batches.load(SeqCst) == 3).await;
    rig.commit_blocks(1);
    running
        .until(|stats| stats.cursor().low_watermark() == rig.source.next_seq())
        .await;
    running.drain(5).await;
    rig.assert_all_there();
    let calls = rig.upstream.calls.lock().unwrap();
    let firsts: Vec<i64> = calls.iter().map(|(_, ts)| ts[0] / 50).collect();
    let live = firsts.iter().position(|block| *block == 40).unwrap();
    assert!(
        live <= 4,
        "the new block waited for the backlog: {firsts:?}"
    );
    let backlog: Vec<_> = firsts.iter().filter(|block| **block != 40).collect();
    assert!(backlog.is_sorted_by(|a, b| a > b), "{firsts:?}");
    assert_eq!(rig.cursor().low_watermark(), 41);
    // Nothing may be trimmed while the oldest blocks are still to come.
    let told = rig.source.told.lock().unwrap();
    assert_eq!(*told, [0, 41], "position only moves from the bottom");
}

#[tokio::test(start_paused = true)]
async fn rejected_rows_are_put_aside_before_their_block_is_done() {
    let rig = Rig::new(2);
    rig.commit_blocks(10);
    rig.upstream
        .rejected_ts
        .lock()
        .unwrap()
        .extend([0, 130, 490]);
    rig.rejected.failures.store(3, SeqCst);
    let running = rig.start();
    let stats = Arc::clone(&running.stats);
    assert_eq!(running.drain(60).await, Left::default());
    let mut rows = rig.rejected.rows.lock().unwrap().clone();
    rows.sort_by_key(|row| row.ts);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.stream.as_str(), row.ts.0))
        .collect();
    assert_eq!(seen, [("s/0", 0), ("s/1", 130), ("s/1", 490)]);
    let value = NamedValue {
        name: "x".into(),
        kind: crate::sample::FieldType::I64,
        value: crate::sample::Value::I64(130),
    };
    assert_eq!(rows[1].values, [value]);
    assert_eq!(rows[1].reason, "too old");
    assert_eq!(stats.rows_rejected.load(SeqCst), 3);
    assert_eq!(rig.upstream.places().len() + 3, rig.source.places().len());
}

#[tokio::test(start_paused = true)]
async fn a_stream_the_catalog_does_not_know_is_put_aside_not_lost() {
    let rig = Rig::new(1);
    rig.source.commit(&[(0, 3), (7, 2)]);
    assert_eq!(rig.start().drain(5).await, Left::default());
    let rows = rig.rejected.rows.lock().unwrap();
    assert_eq!((rows.len(), rows[0].stream_id), (2, 7));
    assert_eq!(rows[0].values.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_lets_nothing_through_and_names_what_was_taken() {
    let rig = Rig::new(2);
    rig.gate.send_replace(false);
    let running = rig.start();
    rig.commit_blocks(10);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(running.stats.taken_below(), 0);
    assert_eq!(
        running.stats.lag_ns(1_000),
        1_000,
        "the oldest row is from 0"
    );
    rig.gate.send_replace(true);
    running
        .until(|stats| stats.rows_uploaded.load(SeqCst) == 50)
        .await;
    assert_eq!(running.stats.taken_below(), 10);
    running.until(|stats| stats.lag_ns(1_000) == 0).await;
    rig.gate.send_replace(false);
    rig.commit_blocks(10);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.stats.taken_below(), 10);
    let before = Instant::now();
    let left = running.drain(60).await;
    assert_eq!((left.blocks, left.rows), (10, 50));
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "waiting would not help"
    );
}

#[tokio::test(start_paused = true)]
async fn blocks_committed_after_a_restart_are_known_as_not_taken() {
    let rig = Rig::new(2);
    rig.commit_blocks(10);
    let running = rig.start();
    running
        .until(|stats| stats.rows_uploaded.load(SeqCst) == 50)
        .await;
    running.task.abort();
    rig.gate.send_replace(false);
    for _ in 0..3 {
        let running = rig.start();
        assert_eq!(running.stats.taken_below(), 10);
        rig.commit_blocks(5);
        tokio::time::sleep(Duration::from_secs(5)).await;
        running.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn drains_until_the_deadline_and_says_what_is_left() {
    let rig = Rig::new(2);
    rig.commit_blocks(100);
    *rig.upstream.delay.lock().unwrap() = Duration::from_secs(1);
    let running = rig.start();
    running.until(|stats| stats.batches.load(SeqCst) >= 4).await;
    let before = Instant::now();
    let left = running.drain(3).await;
    assert!(
        before.elapsed() <= Duration::from_secs(4),
        "{:?}",
        before.elapsed()
    );
    assert!(left.blocks > 0 && left.rows == left.blocks * 5, "{left:?}");
    assert_eq!(rig.cursor().low_watermark(), 100 - left.blocks);
    assert_eq!(rig.start().drain(600).await, Left::default());
    rig.assert_all_there();
    // Nobody left to ask: it stops by itself.
    let running = rig.start();
    drop(running.stop);
    assert_eq!(running.task.await.unwrap(), Left::default());
}

#[tokio::test(start_paused = true)]
async fn blocks_that_are_gone_stop_nothing() {
    let rig = Rig::new(2);
    rig.commit_blocks(20);
    rig.source.damage(5);
    rig.source.damage(19);
    rig.gate.send_replace(false);
    let running = rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.source.drop_below(3);
    rig.gate.send_replace(true);
    let stats = Arc::clone(&running.stats);
    assert_eq!(running.drain(5).await, Left::default());
    rig.assert_all_there();
    assert_eq!(stats.blocks_missing.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn small_commits_are_uploaded_together() {
    let mut rig = Rig::new(2);
    rig.options.upload_gap_min = Duration::from_secs(1);
    rig.options.batch_rows_max = 1_000;
    let running = rig.start();
    for _ in 0..40 {
        rig.commit_blocks(1);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    running.drain(5).await;
    rig.assert_all_there();
    let calls = rig.upstream.calls.lock().unwrap().len();
    assert!((9..=13).contains(&calls), "{calls} writes in ten seconds");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever goes wrong in whatever order: in the end everything is there, once.
    #[test]
    fn nothing_is_lost_whatever_happens(
        steps in prop::collection::vec((0..8u8, 1..6usize), 1..30),
        live_first: bool,
        in_flight_max in 1..5usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(3);
            rig.options.order = if live_first { UploadOrder::LiveFirst } else { UploadOrder::OldestFirst };
            rig.options.in_flight_max = in_flight_max;
            *rig.upstream.delay.lock().unwrap() = Duration::from_millis(70);
            let mut running = rig.start();
            for (step, size) in steps {
                match step {
                    0 | 1 => for block in 0..size {
                        rig.source.commit(&[(0, 2), (1 + block as u32 % 2, 3)]);
                    },
                    2 => rig.upstream.faults.lock().unwrap().extend([
                        Fault::Unavailable, Fault::LostAnswer, Fault::Panic, Fault::Refuse,
                    ].into_iter().cycle().skip(size).take(size)),
                    3 => {
                        running.task.abort();
                        let _aborted = running.task.await;
                        running = rig.start();
                    }
                    4 => { rig.gate.send_modify(|open| *open = !*open); }
                    5 => { rig.upstream.refused.lock().unwrap().insert(size as u32 % 3); }
                    6 => rig.upstream.refused.lock().unwrap().clear(),
                    _ => tokio::time::sleep(Duration::from_millis(200 * size as u64)).await,
                }
            }
            rig.gate.send_replace(true);
            rig.upstream.refused.lock().unwrap().clear();
            rig.upstream.faults.lock().unwrap().clear();
            let done = |stats: &UploadStats| {
                stats.cursor().low_watermark() == rig.source.next_seq() && stats.streams_held.load(SeqCst) == 0
            };
            running.until(done).await;
            assert_eq!(running.drain(60).await, Left::default());
            rig.assert_all_there();
            assert_eq!(rig.cursor().position(), rig.source.next_seq());
        });
    }
}
