#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::{
    Builder, Centre, CentreError, Document, Published,
    blobs::{self, BlobError, BlobHash, BlobState, CHUNK_BYTES},
    job::{Ended, Held, JobId, JobQuery, JobState, NewJob, Outcome, Progress},
    sqlite::SqliteCentre,
};
use crate::{lock::unpoisoned, upstream::UpstreamOptions};

mod claims;
mod interleavings;

/// A centre in a file of its own, whose clock stands still unless it is moved.
struct Place {
    dir: TempDir,
    now: Arc<std::sync::Mutex<i64>>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            now: Arc::new(std::sync::Mutex::new(1_800_000_000_000)),
        }
    }

    fn centre(&self) -> SqliteCentre {
        let now = Arc::clone(&self.now);
        let options = options(&self.dir.path().join("centre.db"));
        SqliteCentre::with_clock(&options, Arc::new(move || *unpoisoned(now.lock()))).unwrap()
    }

    fn pass(&self, ms: i64) {
        *unpoisoned(self.now.lock()) += ms;
    }
}

fn options(path: &Path) -> UpstreamOptions {
    UpstreamOptions {
        url: format!("sqlite:{}", path.display()),
        timeout: Duration::from_secs(20),
        database_options: BTreeMap::new(),
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    }
}

fn builder(name: &str) -> Builder {
    Builder {
        name: name.into(),
        kinds: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn job(id: u128) -> NewJob {
    NewJob {
        id: JobId(id),
        kind: "train".into(),
        document: format!("job {id}").into_bytes(),
        labels: BTreeMap::new(),
        attempts_max: NonZeroU32::new(3).unwrap(),
        lease_ms: 1_000,
        stalled_ms_max: 10_000,
        time_ms_max: 60_000,
    }
}

fn done(result: &str) -> Outcome {
    Outcome::Done {
        result: result.into(),
    }
}

#[tokio::test]
async fn what_was_submitted_is_there_and_submitting_again_changes_nothing() {
    let place = Place::new();
    let centre = place.centre();
    let mut first = job(7);
    first.labels = BTreeMap::from([("arch".into(), "arm64 'quoted\" \u{1f980}".into())]);
    centre.submit(&first).await.unwrap();
    let mut other = first.clone();
    other.kind = "mine".into();
    centre.submit(&other).await.unwrap();
    let there = place.centre().job(first.id).await.unwrap().unwrap();
    assert_eq!(
        (
            there.kind.as_str(),
            there.state,
            &there.document,
            &there.labels
        ),
        ("train", JobState::Open, &first.document, &first.labels)
    );
    assert_eq!(there.submitted_ms, 1_800_000_000_000);
    assert_eq!(centre.job(JobId(8)).await.unwrap(), None);
    let query = JobQuery {
        state: Some(JobState::Open),
        kind: Some("train".into()),
        most: 10,
    };
    assert_eq!(centre.jobs(&query).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_beyond_the_bounds_is_refused_with_a_reason() {
    let centre = Place::new().centre();
    let mut long = job(1);
    long.document = vec![0; (1 << 20) + 1];
    let mut nameless = job(2);
    nameless.kind.clear();
    let mut patient = job(3);
    patient.lease_ms = u64::MAX;
    for (wrong, reason) in [
        (long, "at most 1048576"),
        (nameless, "the kind is empty"),
        (patient, "at most a year"),
    ] {
        let error = centre.submit(&wrong).await.unwrap_err();
        assert!(
            matches!(&error, CentreError::Refused(text) if text.contains(reason)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_centre_of_a_newer_format_is_left_alone() {
    let place = Place::new();
    place.centre().submit(&job(1)).await.unwrap();
    let path = place.dir.path().join("centre.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("UPDATE dunlin_centre SET format = 9", [])
        .unwrap();
    let error = place.centre().job(JobId(1)).await.unwrap_err();
    assert!(
        matches!(&error, CentreError::Refused(text) if text.contains("format 9") && text.contains("upgrade")),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_was_replaced_is_left_and_who_waits_looks_again() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    let path = place.dir.path().join("centre.db");
    for suffix in ["", "-wal", "-shm"] {
        let _not_all_are_there = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    place.centre().submit(&job(2)).await.unwrap();
    assert_eq!(centre.job(JobId(1)).await.unwrap(), None);
    let claim = centre.claim(&builder("a"), JobId(10)).await.unwrap();
    assert_eq!(claim.unwrap().job.id, JobId(2));
}

#[tokio::test]
async fn jobs_that_somebody_deleted_keep_no_other_waiting() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    let path = place.dir.path().join("centre.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM dunlin_jobs", []).unwrap();
    centre.submit(&job(2)).await.unwrap();
    place.pass(100_000);
    let claim = centre.claim(&builder("a"), JobId(11)).await.unwrap();
    assert_eq!(claim.unwrap().job.id, JobId(2));
}

#[tokio::test]
async fn serials_of_a_channel_only_rise() {
    let place = Place::new();
    let centre = place.centre();
    let document = |serial, text: &str| Document {
        serial,
        bytes: text.into(),
    };
    let publish = |serial, text: &str| {
        let document = document(serial, text);
        let centre = place.centre();
        async move { centre.publish("press/health", &document).await.unwrap() }
    };
    assert_eq!(publish(3, "a").await, Published::Accepted);
    // Asked again after a lost answer.
    assert_eq!(publish(3, "a").await, Published::Accepted);
    assert_eq!(publish(3, "b").await, Published::Stale { newest: 3 });
    assert_eq!(publish(2, "b").await, Published::Stale { newest: 3 });
    assert_eq!(publish(9, "c").await, Published::Accepted);
    let follow = |after| centre.follow("press/health", after);
    assert_eq!(follow(0).await.unwrap(), Some(document(3, "a")));
    assert_eq!(follow(3).await.unwrap(), Some(document(9, "c")));
    assert_eq!(follow(9).await.unwrap(), None);
    assert_eq!(follow(u64::MAX).await.unwrap(), None);
    assert_eq!(
        centre.newest("press/health").await.unwrap(),
        Some(document(9, "c"))
    );
    assert_eq!(centre.newest("press").await.unwrap(), None);
}

fn file(place: &Place, bytes: &[u8]) -> std::path::PathBuf {
    let path = place.dir.path().join("model");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test]
async fn a_blob_comes_back_as_it_was_whatever_its_length() {
    for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2_000_000] {
        let place = Place::new();
        let centre = place.centre();
        let bytes = noise(bytes);
        let path = file(&place, &bytes);
        let hash = blobs::put(&centre, &path, None).await.unwrap();
        assert_eq!(hash, BlobHash::of(&bytes));
        assert_eq!(blobs::put(&centre, &path, None).await.unwrap(), hash);
        let back = place.dir.path().join("back");
        blobs::fetch(&centre, hash, &back, 1 << 30, None)
            .await
            .unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), bytes);
        let left = std::fs::read_dir(place.dir.path()).unwrap();
        let mut left = left.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert!(!left.any(|name| name.contains("part")));
    }
}

#[tokio::test]
async fn a_put_that_was_cut_goes_on_behind_what_is_there_unless_it_is_something_else() {
    let place = Place::new();
    let centre = place.centre();
    let bytes = noise(CHUNK_BYTES * 20 + 5);
    let path = file(&place, &bytes);
    let hash = BlobHash::of(&bytes);
    let chunks: Vec<Vec<u8>> = bytes.chunks(CHUNK_BYTES).take(3).map(Vec::from).collect();
    centre.put_chunks(hash, 0, &chunks).await.unwrap();
    assert_eq!(
        centre.blob(hash).await.unwrap(),
        BlobState::Partial { chunks: 3 }
    );
    let back = place.dir.path().join("back");
    let missing = blobs::fetch(&centre, hash, &back, 1 << 30, None).await;
    assert!(matches!(missing, Err(BlobError::Missing(_))));
    assert_eq!(centre.put_chunks(hash, 5, &chunks).await.unwrap(), 3);
    blobs::put(&centre, &path, None).await.unwrap();
    blobs::fetch(&centre, hash, &back, 1 << 30, None)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), bytes);

    centre.remove_blob(hash).await.unwrap();
    let wrong = vec![vec![7; CHUNK_BYTES]; 2];
    centre.put_chunks(hash, 0, &wrong).await.unwrap();
    blobs::put(&centre, &path, None).await.unwrap();
    std::fs::remove_file(&back).unwrap();
    blobs::fetch(&centre, hash, &back, 1 << 30, None)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), bytes);
}

#[tokio::test]
async fn a_fetch_goes_on_behind_what_has_arrived_and_takes_nothing_damaged() {
    let place = Place::new();
    let centre = place.centre();
    let bytes = noise(CHUNK_BYTES * 9 + 1);
    let hash = blobs::put(&centre, &file(&place, &bytes), None)
        .await
        .unwrap();
    let back = place.dir.path().join("back");
    let part = place.dir.path().join(format!("back.{hash}.part"));
    let fetch = || blobs::fetch(&centre, hash, &back, 1 << 30, None);
    // Cut in the middle of a chunk; and what arrived is not what was there.
    for arrived in [&bytes[..CHUNK_BYTES * 4 + 17], &vec![0; CHUNK_BYTES]] {
        std::fs::write(&part, arrived).unwrap();
        fetch().await.unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), bytes);
        assert!(!part.exists());
        std::fs::remove_file(&back).unwrap();
    }

    let held = std::fs::File::create(&part).unwrap();
    held.lock().unwrap();
    assert!(matches!(fetch().await, Err(BlobError::Disk { .. })));
    drop(held);
    fetch().await.unwrap();

    let short = blobs::fetch(&centre, hash, &back, 1_000, None).await;
    assert!(matches!(short, Err(BlobError::TooLong { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_transfer_keeps_to_its_pace() {
    let place = Place::new();
    let centre = place.centre();
    let path = file(&place, &noise(2_000_000));
    let begun = tokio::time::Instant::now();
    let pace = std::num::NonZeroU64::new(100_000);
    blobs::put(&centre, &path, pace).await.unwrap();
    let took = begun.elapsed();
    assert!((20.0..21.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test]
async fn who_waits_hears_of_a_job_from_here_and_from_elsewhere() {
    let place = Place::new();
    let (centre, elsewhere) = (place.centre(), place.centre());
    let claim = |request| {
        let centre = &centre;
        async move { centre.claim(&builder("a"), JobId(request)).await.unwrap() }
    };
    let minute = Duration::from_mins(1);
    for (id, from) in [(1, &elsewhere), (2, &centre)] {
        assert_eq!(claim(id * 10).await, None);
        from.submit(&job(id)).await.unwrap();
        // Submitted before the wait begins: still noticed.
        let waited = tokio::time::timeout(minute / 2, centre.wait_for_jobs(minute));
        waited.await.expect("in time").unwrap();
        let claimed = claim(id * 10 + 1).await.unwrap();
        assert_eq!(claimed.job.id, JobId(id));
        centre
            .finish(claimed.job.id, claimed.attempt, &done("x"))
            .await
            .unwrap();
    }
}
