#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::{
    Builder, Centre, CentreError,
    blobs::{self, BlobError, CHUNK_BYTES},
    job::{Ended, Held, JobId, NewJob, Outcome, Progress},
    sqlite::SqliteCentre,
};
use crate::{lock::unpoisoned, upstream::UpstreamOptions};

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
    UpstreamOptions::new(
        format!("sqlite:{}", path.display()),
        Duration::from_secs(20),
    )
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
