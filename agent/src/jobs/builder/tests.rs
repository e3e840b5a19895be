#![allow(clippy::unwrap_used)]

mod mining;

use std::{num::NonZeroU32, ops::Range, sync::Arc};

use dunlin_models::artifact::Artifact;
use dunlin_sync::{
    centre::job::{Job, JobState, NewJob},
    rows::{Batch, Column, Rows, TableRows},
    sample::{Field, FieldType, Origin, Schema, Stage, Stream, Value},
    upstream::{self, UpstreamOptions},
};
use tempfile::TempDir;

use super::*;
use crate::centre::{CentreOptions, connect};

const RECIPES: &str = r#"
[[recipe]]
name = "line"
streams = "press"
algorithm = "ridge"
label = "y"
features = ["x"]
[[recipe]]
name = "net"
streams = "press"
algorithm = "mlp_regressor"
label = "y"
features = ["x"]
epochs_max = 40
patience_epochs = 100000
"#;

/// A centre to which three devices have uploaded `y = 3 x` in turns.
struct Plant(TempDir);

impl Plant {
    async fn new() -> Self {
        let plant = Self(tempfile::tempdir().unwrap());
        plant.upload(0..400).await;
        plant
    }

    /// Rows with these numbers, of each device.
    async fn upload(&self, numbers: Range<i64>) {
        let fields = ["x", "y"].map(|name| Field {
            name: name.into(),
            kind: FieldType::F64,
        });
        let origin = Origin {
            since_ns: Some(1),
            stage: Stage::Begun,
            ..Origin::default()
        };
        let schema = Arc::new(Schema {
            id: 0,
            name: "press".into(),
            tag_names: vec!["device".into()],
            fields: fields.to_vec(),
            origins: vec![origin; 2],
        });
        let tables = (0..3_u32).map(|device| {
            let stream = Arc::new(Stream {
                id: device,
                schema: 0,
                name: "press".into(),
                tags: vec![format!("pi-{device}")],
                first_tags: None,
            });
            // The second device has the nanoseconds of the first.
            let ts: Vec<i64> = numbers
                .clone()
                .map(|row| 1_000_000 + row * 1_000 + i64::from(device / 2) * 500)
                .collect();
            let x: Vec<f64> = ts.iter().map(|ts| (*ts as f64 / 7_919.0).sin()).collect();
            let column = |factor: f64| {
                let mut column = Column::empty(FieldType::F64);
                for x in &x {
                    column.push(Some(Value::F64(x * factor))).unwrap();
                }
                column
            };
            TableRows {
                stream,
                schema: Arc::clone(&schema),
                rows: Rows {
                    is_train: (0..ts.len()).map(|row| row % 5 != 0).collect(),
                    fold: vec![0; ts.len()],
                    source_ts: vec![None; ts.len()],
                    columns: vec![column(1.0), column(3.0)].into(),
                    ts,
                },
            }
        });
        let batch = Batch {
            tables: tables.collect(),
        };
        let rows = 3 * (numbers.end - numbers.start) as u64;
        let options = UpstreamOptions::new(self.url(), Duration::from_secs(20));
        let upstream = upstream::connect(&options).unwrap();
        assert_eq!(upstream.write(&batch).await.unwrap().rows_written, rows);
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("central.db").display())
    }

    fn centre(&self) -> Arc<dyn Centre> {
        let options = CentreOptions {
            url: self.url(),
            ..CentreOptions::default()
        };
        connect(&options).unwrap()
    }

    fn options(&self) -> BuilderOptions {
        BuilderOptions {
            name: "b".into(),
            labels: BTreeMap::new(),
            work_dir: self.0.path().join("work"),
            bytes_max: 64 << 20,
            is_once: true,
        }
    }

    async fn submit(&self, change: impl FnOnce(&mut TrainJob), recipe: &str) -> JobId {
        let mut train = TrainJob::new(Path::new("plant.toml"), RECIPES, recipe).unwrap();
        train.seed = 7;
        change(&mut train);
        let job = NewJob {
            id: JobId(rand::random()),
            kind: TRAIN.into(),
            document: train.to_bytes().unwrap(),
            labels: BTreeMap::new(),
            attempts_max: NonZeroU32::new(2).unwrap(),
            lease_ms: 60_000,
            stalled_ms_max: 3_600_000,
            time_ms_max: 3_600_000,
        };
        self.centre().submit(&job).await.unwrap();
        job.id
    }

    async fn build(&self) -> Tally {
        let (_stop, stopped) = watch::channel(false);
        run(&self.centre(), &self.options(), stopped).await.unwrap()
    }

    async fn job(&self, id: JobId) -> Job {
        self.centre().job(id).await.unwrap().unwrap()
    }

    async fn trained(&self, id: JobId) -> Trained {
        let job = self.job(id).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        Trained::read(&job.result.unwrap()).unwrap()
    }

    async fn model(&self, trained: &Trained) -> Vec<u8> {
        let hash = trained.model.parse().unwrap();
        let path = self.0.path().join("fetched");
        blob(&*self.centre(), hash, &path, ARTIFACT_BYTES_MAX)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_job_learns_from_the_rows_of_all_devices_it_names() {
    let plant = Plant::new().await;
    let all = plant.submit(|_| {}, "line").await;
    let one = plant
        .submit(|job| job.streams = "pi-1/*".into(), "line")
        .await;
    assert_eq!(plant.build().await.done, 2);
    let trained = plant.trained(all).await;
    assert_eq!(trained.lineage.rows, 1_200);
    assert!(trained.decision.promoted, "{:?}", trained.decision);
    assert_eq!(plant.trained(one).await.lineage.rows, 400);
    let artifact = Artifact::from_bytes(&plant.model(&trained).await).unwrap();
    let rule = TrainJob::new(Path::new("plant.toml"), RECIPES, "line").unwrap();
    let recipe = rule.rule().unwrap().recipe.build().unwrap();
    assert!(recipe.load(&artifact).is_ok());
    // Nothing of a job stays on this machine.
    assert_eq!(
        std::fs::read_dir(plant.options().work_dir).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn only_records_up_to_the_moment_of_the_job_count() {
    let plant = Plant::new().await;
    let job = plant
        .submit(
            |job| {
                job.to_ts = 1_000_000 + 99 * 1_000;
                job.streams = "pi-0/press".into();
            },
            "line",
        )
        .await;
    plant.build().await;
    assert_eq!(plant.trained(job).await.lineage.rows, 100);
}

#[tokio::test]
async fn a_model_goes_on_from_the_one_that_is_named() {
    let plant = Plant::new().await;
    let first = plant.submit(|_| {}, "line").await;
    plant.build().await;
    let parent = plant.trained(first).await.model;
    let second = plant.submit(|job| job.parent = Some(parent), "line").await;
    plant.build().await;
    let trained = plant.trained(second).await;
    assert!(trained.evaluations.incumbent.is_some());
}

#[tokio::test]
async fn a_job_that_cannot_be_done_says_why_and_stops_no_other() {
    let plant = Plant::new().await;
    let nowhere = plant
        .submit(|job| job.streams = "pi-9/*".into(), "line")
        .await;
    let gone = plant
        .submit(|job| job.parent = Some("0".repeat(64)), "line")
        .await;
    let odd = plant
        .submit(
            |job| drop(job.recipe.insert("lookback".into(), (-1).into())),
            "line",
        )
        .await;
    let fine = plant.submit(|_| {}, "line").await;
    let done = plant.build().await;
    assert_eq!((done.done, done.failed), (1, 3));
    for (job, why) in [
        (nowhere, "pi-0/press"),
        (gone, "is not at the centre"),
        (odd, "lookback"),
    ] {
        let job = plant.job(job).await;
        assert_eq!(job.state, JobState::Failed);
        assert_eq!(job.attempts_begun, 1, "trying again would not help");
        let reason = job.reason.unwrap();
        assert!(reason.contains(why), "{reason}");
    }
    plant.trained(fine).await;
}

#[tokio::test]
async fn what_a_stopped_builder_gives_back_ends_with_the_bytes_of_an_undisturbed_run() {
    let plant = Plant::new().await;
    let undisturbed = plant.submit(|_| {}, "net").await;
    plant.build().await;
    let expected = plant.trained(undisturbed).await;

    let job = plant.submit(|_| {}, "net").await;
    let mut interruptions = 0;
    for _ in 0..1_000 {
        let centre = plant.centre();
        let claim = centre
            .claim(&builder_of_all(), JobId(rand::random()))
            .await
            .unwrap();
        let Some(claim) = claim else {
            break;
        };
        let dir = plant.0.path().join(format!("attempt-{}", claim.attempt));
        std::fs::create_dir_all(&dir).unwrap();
        let ours = Arc::new(Attempt::default());
        let stopper = Arc::clone(&ours);
        // Stops as soon as there is another checkpoint.
        let watching = std::thread::spawn(move || {
            while !stopper.is_over.load(Relaxed) {
                if unpoisoned(stopper.checkpoint.lock()).is_some() {
                    stopper.is_over.store(true, Relaxed);
                }
                std::thread::yield_now();
            }
        });
        let result = attempt_at(&*centre, &plant.options(), &claim, &dir, &ours).await;
        ours.is_over.store(true, Relaxed);
        watching.join().unwrap();
        let outcome = match result {
            Ok(result) => Outcome::Done { result },
            Err(error) => {
                assert!(matches!(error, JobError::Interrupted), "{error:?}");
                interruptions += 1;
                // Records that come late are none of those that it has begun with.
                plant.upload(400 + interruptions..401 + interruptions).await;
                Renewing::new(&*centre, &claim, &dir, &ours).renew().await;
                Outcome::Returned
            }
        };
        assert_eq!(end(&*centre, &claim, &outcome).await, Some(Ended::Accepted));
    }
    let trained = plant.trained(job).await;
    assert!(interruptions > 0);
    assert_eq!(
        trained.model, expected.model,
        "after {interruptions} interruptions"
    );
    assert_eq!(plant.model(&trained).await, plant.model(&expected).await);
}

fn builder_of_all() -> Builder {
    Builder {
        name: "b".into(),
        kinds: Vec::new(),
        labels: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_builder_that_is_stopped_gives_its_job_back_and_takes_no_other() {
    let plant = Plant::new().await;
    let for_ever =
        |job: &mut TrainJob| drop(job.recipe.insert("epochs_max".into(), 100_000.into()));
    let job = plant.submit(for_ever, "net").await;
    let (stop, stopped) = watch::channel(false);
    let options = BuilderOptions {
        is_once: false,
        ..plant.options()
    };
    let centre = plant.centre();
    let stopping = async {
        while plant.job(job).await.state == JobState::Open {
            tokio::task::yield_now().await;
        }
        let other = plant.submit(|_| {}, "line").await;
        stop.send(true).unwrap();
        other
    };
    let (work, other) = tokio::join!(run(&centre, &options, stopped), stopping);
    assert_eq!(work.unwrap(), Tally::default());
    for (job, attempts) in [(job, 1), (other, 0)] {
        let job = plant.job(job).await;
        assert_eq!((job.state, job.attempts_begun), (JobState::Open, attempts));
    }
    let given_back = plant.job(job).await.attempts.remove(0);
    assert_eq!(given_back.ending.as_deref(), Some("returned"));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_sent_goes_with_the_next_renewal() {
    let plant = Plant::new().await;
    plant.submit(|_| {}, "line").await;
    let centre = plant.centre();
    let claim = centre
        .claim(&builder_of_all(), JobId(rand::random()))
        .await
        .unwrap()
        .unwrap();
    let (dir, ours) = (plant.0.path().join("late"), Attempt::default());
    *unpoisoned(ours.checkpoint.lock()) = Some(b"weights".to_vec());
    let mut renewing = Renewing::new(&*centre, &claim, &dir, &ours);
    renewing.renew().await;
    assert_eq!(renewing.checkpoint, None, "there is no such directory");
    std::fs::create_dir(&dir).unwrap();
    renewing.renew().await;
    let whole = checkpoint::to_bytes(&Ranges::new(), b"weights").unwrap();
    assert_eq!(renewing.checkpoint, Some(BlobHash::of(&whole)));
}

#[test]
fn a_work_directory_has_one_builder_and_nothing_of_killed_ones() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let left = work.join(format!("{}-1", JobId(7)));
    std::fs::create_dir_all(left.join("records")).unwrap();
    std::fs::write(work.join("notes.txt"), "somebody's").unwrap();
    let ours = take_work_dir(&work).unwrap();
    assert!(!left.exists() && work.join("notes.txt").exists());
    let other = take_work_dir(&work).unwrap_err();
    assert!(other.contains("another builder"), "{other}");
    drop(ours);
    take_work_dir(&work).unwrap();
}
