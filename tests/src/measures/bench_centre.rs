//! The centre measured: claims out of many open jobs, and a model there and back.
//!
//! `cargo run --release -p dunlin-tests --bin bench_centre [-- --centre URL] [--jobs N]` prints one line of JSON:
//! the median of 500 claims (each with its finish) in milliseconds while N other jobs wait (10,000), and of 20
//! transfers of 2 MB each way, checked. Without `--centre`, a `SQLite` file of its own; a database that is named
//! keeps what this leaves there.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use dunlin_sync::{
    centre::{
        Builder, Centre, blobs, connect,
        job::{JobId, NewJob, Outcome},
    },
    upstream::UpstreamOptions,
};
use dunlin_tests::options::{option, refuse_others};
use rand::Rng;
use serde_json::json;

const CLAIMS: usize = 500;
const TRANSFERS: usize = 20;
const MODEL_BYTES: usize = 2_000_000;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    refuse_others(&["centre", "jobs"]);
    let jobs: usize = option("jobs").unwrap_or(10_000);
    let dir = tempfile::tempdir()?;
    let own = format!("sqlite:{}", dir.path().join("centre.db").display());
    let centre = connect(&UpstreamOptions::new(
        option("centre").unwrap_or(own),
        Duration::from_secs(30),
    ))?;
    for _ in 0..jobs + CLAIMS {
        centre.submit(&job()).await?;
    }
    let claims = claims(&*centre).await?;
    let file = dir.path().join("model");
    let (mut puts, mut fetches) = (Vec::new(), Vec::new());
    for _ in 0..TRANSFERS {
        let mut model = vec![0; MODEL_BYTES];
        rand::rng().fill_bytes(&mut model);
        fs::write(&file, &model)?;
        let begun = Instant::now();
        let hash = blobs::put(&*centre, &file, None).await?;
        puts.push(begun.elapsed());
        let back = dir.path().join("back");
        let begun = Instant::now();
        blobs::fetch(&*centre, hash, &back, u64::MAX, None).await?;
        fetches.push(begun.elapsed());
        if fs::read(&back)? != model {
            return Err("what came back is something else".into());
        }
        centre.remove_blob(hash).await?;
    }
    let line = json!({
        "centre": centre.location(), "open_jobs": jobs, "claim_and_finish_ms": median(claims),
        "put_2mb_ms": median(puts), "fetch_2mb_ms": median(fetches),
    });
    println!("{line}");
    Ok(())
}

fn job() -> NewJob {
    NewJob {
        id: JobId(rand::random()),
        kind: "bench".into(),
        document: vec![b'x'; 500],
        labels: BTreeMap::from([("arch".into(), "arm64".into())]),
        attempts_max: NonZeroU32::MIN,
        lease_ms: 60_000,
        stalled_ms_max: 600_000,
        time_ms_max: 3_600_000,
    }
}

/// How long each claim took, with its finish.
async fn claims(centre: &dyn Centre) -> Result<Vec<Duration>, Failed> {
    let builder = Builder {
        name: "bench".into(),
        kinds: vec!["bench".into()],
        labels: BTreeMap::from([("arch".into(), "arm64".into())]),
    };
    let result = vec![0; 32];
    let mut took = Vec::new();
    for _ in 0..CLAIMS {
        let begun = Instant::now();
        let claim = centre.claim(&builder, JobId(rand::random())).await?;
        let claim = claim.ok_or("no job is left")?;
        let done = Outcome::Done {
            result: result.clone(),
        };
        centre.finish(claim.job.id, claim.attempt, &done).await?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1000.0
}
