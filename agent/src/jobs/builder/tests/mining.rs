//! Jobs of kind `mine`, done by the builder.

use dunlin_sync::centre::job::JobQuery;

use super::*;
use crate::jobs::{
    candidates::{FindError, Wanted as Which, find},
    document::{
        Made,
        mine::{Candidate, Learnt, Limits, MineJob, Mined, Then, continuation_of},
    },
};

const LIMITS: Limits = Limits {
    attempts_max: NonZeroU32::MIN,
    lease_ms: 50_000,
    stalled_ms_max: 3_000_000,
    time_ms_max: 3_000_000,
};

/// A training of the network for so many epochs.
fn epochs(count: i64) -> impl FnOnce(&mut TrainJob) {
    move |job| drop(job.recipe.insert("epochs_max".into(), count.into()))
}

fn over(streams: &str) -> TrainJob {
    let mut train = TrainJob::new(Path::new("plant.toml"), RECIPES, "net").unwrap();
    train.streams = streams.into();
    train.seed = 7;
    train
}

impl Plant {
    /// Trains networks for so many epochs each, and gives their jobs.
    async fn nets(&self, counts: &[i64]) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for count in counts {
            jobs.push(self.submit(epochs(*count), "net").await);
        }
        assert_eq!(self.build().await.failed, 0);
        jobs
    }

    async fn find(&self, train: &TrainJob, which: Which) -> Result<Vec<Candidate>, FindError> {
        find(&*self.centre(), train, &which).await
    }

    async fn submit_mining(&self, train: TrainJob, all: Vec<Candidate>, then: bool) -> JobId {
        let then = then.then_some(Then::Continue(LIMITS));
        let document = MineJob::new(train, all, then).unwrap().to_bytes().unwrap();
        let id = JobId(rand::random());
        let job = LIMITS.job(id, MINE, document, BTreeMap::new());
        self.centre().submit(&job).await.unwrap();
        id
    }

    /// What comes of a mining.
    async fn mined(&self, train: TrainJob, all: Vec<Candidate>) -> Mined {
        let id = self.submit_mining(train, all, false).await;
        self.build().await;
        let job = self.job(id).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        Mined::read(&job.result.unwrap()).unwrap()
    }

    async fn claim(&self) -> Claim {
        let (centre, builder) = (self.centre(), builder_of_all());
        let claim = centre.claim(&builder, JobId(rand::random())).await;
        claim.unwrap().unwrap()
    }

    /// One attempt at what `claim` has, by somebody who may have lost it.
    async fn attempt(&self, claim: &Claim, is_over: bool) -> Result<Mined, JobError> {
        let (dir, ours) = (self.0.path().join("attempt"), Arc::new(Attempt::default()));
        ours.is_over.store(is_over, Relaxed);
        let result = attempt_at(&*self.centre(), &self.options(), claim, &dir, &ours).await;
        std::fs::remove_dir_all(dir).unwrap();
        result.map(|result| Mined::read(&result).unwrap())
    }

    async fn trainings(&self, state: JobState) -> Vec<JobId> {
        let query = JobQuery {
            state: Some(state),
            kind: Some(TRAIN.into()),
            most: 100,
        };
        let jobs = self.centre().jobs(&query).await.unwrap();
        jobs.iter().map(|job| job.id).collect()
    }
}

#[tokio::test]
async fn the_best_of_the_line_is_found_on_windows_that_are_the_same_for_all() {
    let plant = Plant::new().await;
    let nets = plant.nets(&[1, 40, 2]).await;
    // Another line is none of ours, however good it is.
    plant.submit(|_| {}, "line").await;
    plant.build().await;
    let candidates = plant.find(&over("*/press"), Which::Best(2)).await.unwrap();
    let jobs: Vec<String> = candidates.iter().map(|one| one.job.clone()).collect();
    assert_eq!(jobs, [nets[1].to_string(), nets[2].to_string()]);

    let all = plant.find(&over("*/press"), Which::Of(nets.clone())).await;
    let mined = plant.mined(over("*/press"), all.unwrap()).await;
    let order: Vec<&str> = mined.leaderboard.iter().map(|one| &*one.job).collect();
    let expected = [nets[1], nets[2], nets[0]].map(|job| job.to_string());
    assert_eq!(order, expected);
    // A fifth of the rows is judged by.
    assert_eq!((mined.windows, mined.lineage.rows), (240, 1_200));
    for standing in &mined.leaderboard {
        assert!(standing.seen && standing.reason.is_none(), "{standing:?}");
        let figures = standing.figures.as_ref().unwrap();
        assert_eq!(figures.streams, 3);
        assert!(figures.least <= figures.error && figures.error <= figures.most);
    }
    let best = mined.leaderboard[0].figures.as_ref().unwrap();
    assert!(best.error < mined.baseline_error, "{mined:?}");
    // On the windows of its training it has the error that the training has told.
    let trained = plant.trained(nets[1]).await;
    let told = trained.evaluations.candidate.unwrap().error();
    assert_eq!(best.error.to_bits(), told.to_bits());
    assert_eq!(
        (&mined.model, mined.model_bytes),
        (&trained.model, trained.model_bytes)
    );
    assert_eq!(mined.continued, None);
    let made = Made::read(MINE, &serde_json::to_vec(&mined).unwrap()).unwrap();
    assert_eq!((made.recipe, made.model), ("net".to_owned(), trained.model));
}

#[tokio::test]
async fn what_has_not_seen_the_rows_goes_before_what_has() {
    let plant = Plant::new().await;
    let good = plant.nets(&[40]).await[0];
    let good_model = plant.trained(good).await.model;
    let poor = |job: &mut TrainJob| {
        epochs(1)(job);
        job.streams = "pi-0/*".into();
    };
    let poor_unseen = plant.submit(poor, "net").await;
    let child = plant
        .submit(
            |job| {
                poor(job);
                job.parent = Some(good_model);
            },
            "net",
        )
        .await;
    plant.build().await;
    let elsewhere = over("pi-1/*");
    let all = plant
        .find(&elsewhere, Which::Of(vec![good, child, poor_unseen]))
        .await
        .unwrap();
    let mined = plant.mined(elsewhere, all).await;
    let of = |job: JobId| {
        let mut standings = mined.leaderboard.iter();
        standings.find(|one| one.job == job.to_string()).unwrap()
    };
    let error = |job: JobId| of(job).figures.as_ref().unwrap().error;
    assert!(of(good).seen, "it has had records of all devices");
    assert!(of(child).seen, "it was started from what has seen them");
    assert!(!of(poor_unseen).seen);
    assert!(error(poor_unseen) > error(good), "{mined:?}");
    assert_eq!(mined.leaderboard[0].job, poor_unseen.to_string());
    assert_eq!(mined.leaderboard[0].model, mined.model);

    // What was started from something that nobody knows may have seen anything.
    let path = plant.0.path().join("foreign");
    let hash = plant.trained(poor_unseen).await.model.parse().unwrap();
    let mut artifact = Artifact::from_bytes(
        &blob(&*plant.centre(), hash, &path, ARTIFACT_BYTES_MAX)
            .await
            .unwrap(),
    )
    .unwrap();
    for tensor in artifact.tensors.values_mut() {
        if let dunlin_models::artifact::TensorData::F32(numbers) = &mut tensor.data {
            for number in numbers {
                *number *= 1.001;
            }
        }
    }
    std::fs::write(&path, artifact.to_bytes().unwrap()).unwrap();
    let foreign = blobs::put(&*plant.centre(), &path, None).await.unwrap();
    let job = plant
        .submit(
            |job| {
                poor(job);
                job.parent = Some(foreign.to_string());
            },
            "net",
        )
        .await;
    plant.build().await;
    let found = plant
        .find(&over("pi-1/*"), Which::Of(vec![job]))
        .await
        .unwrap();
    assert_eq!(found[0].learnt.last(), Some(&Learnt::anything()));
}

#[tokio::test]
async fn a_candidate_that_cannot_be_judged_is_a_row_with_its_reason() {
    let plant = Plant::new().await;
    let nets = plant.nets(&[1, 2, 3]).await;
    let line = plant.submit(|_| {}, "line").await;
    plant.build().await;
    let which = Which::Of([nets.clone(), vec![line]].concat());
    let mut all = plant.find(&over("*/press"), which).await.unwrap();
    let centre = plant.centre();
    let [gone, damaged] = [0, 1].map(|at: usize| all[at].model.parse::<BlobHash>().unwrap());
    for hash in [gone, damaged] {
        centre.remove_blob(hash).await.unwrap();
    }
    centre.put_chunks(damaged, 0, &[vec![7; 20]]).await.unwrap();
    centre.seal_blob(damaged, 20).await.unwrap();
    all.push(Candidate {
        job: "nobody's".into(),
        model: "no hash".into(),
        learnt: Vec::new(),
    });
    let mined = plant.mined(over("*/press"), all.clone()).await;
    assert_eq!(mined.leaderboard[0].job, nets[2].to_string());
    let reasons: BTreeMap<&str, &str> = mined.leaderboard[1..]
        .iter()
        .map(|one| (&*one.model, one.reason.as_deref().unwrap()))
        .collect();
    for (at, why) in [
        (0, "is not at the centre"),
        (1, "is damaged"),
        (3, "kind"),
        (4, "names no blob"),
    ] {
        let reason = reasons[&*all[at].model];
        assert!(reason.contains(why), "{reason}");
    }

    all.remove(2);
    let none = plant.submit_mining(over("*/press"), all, true).await;
    plant.build().await;
    let job = plant.job(none).await;
    assert_eq!((job.state, job.attempts_begun), (JobState::Failed, 1));
    let reason = job.reason.unwrap();
    assert!(
        reason.contains("no candidate") && reason.contains("is damaged"),
        "{reason}"
    );
    assert!(plant.trainings(JobState::Open).await.is_empty());
}

#[tokio::test]
async fn the_best_is_continued_once_however_often_the_job_is_tried() {
    let plant = Plant::new().await;
    let nets = plant.nets(&[1, 3]).await;
    let all = plant.find(&over("*/press"), Which::Best(5)).await.unwrap();
    let train = over("*/press");
    let id = plant.submit_mining(train.clone(), all, true).await;
    let claim = plant.claim().await;
    assert_eq!(claim.job.id, id);

    let lost = plant.attempt(&claim, true).await;
    assert!(matches!(lost, Err(JobError::Interrupted)), "{lost:?}");
    assert!(plant.trainings(JobState::Open).await.is_empty());

    // The first is killed before it can tell; another does it all again, and tells.
    let first = plant.attempt(&claim, false).await.unwrap();
    let returned = end(&*plant.centre(), &claim, &Outcome::Returned).await;
    assert_eq!(returned, Some(Ended::Accepted));
    let open = plant.trainings(JobState::Open).await;
    assert_eq!(open, [continuation_of(id)]);
    plant.build().await;
    let told = Mined::read(&plant.job(id).await.result.unwrap()).unwrap();
    let told = Mined {
        seconds: first.seconds,
        ..told
    };
    assert_eq!(told, first);

    let continued = first.continued.unwrap();
    assert_eq!(continued.job, continuation_of(id).to_string());
    assert_eq!(continued.from, first.model);
    assert_eq!(first.leaderboard[0].job, nets[1].to_string());
    plant.build().await;
    let job = plant.job(continuation_of(id)).await;
    let mut document = TrainJob::read(&job.document).unwrap();
    assert_eq!(document.parent.take(), Some(first.model));
    assert_eq!(document, train);
    let trained = plant.trained(continuation_of(id)).await;
    assert!(trained.evaluations.incumbent.is_some());
    assert_eq!(plant.trainings(JobState::Done).await.len(), 3);
}

#[tokio::test]
async fn what_another_attempt_has_submitted_is_told_as_it_is() {
    let plant = Plant::new().await;
    plant.nets(&[1, 3]).await;
    let all = plant.find(&over("*/press"), Which::Best(5)).await.unwrap();
    let id = plant
        .submit_mining(over("*/press"), all.clone(), true)
        .await;
    let claim = plant.claim().await;
    let mut second_best = over("*/press");
    second_best.parent = Some(all[1].model.clone());
    let document = second_best.to_bytes().unwrap();
    let before = LIMITS.job(continuation_of(id), TRAIN, document, BTreeMap::new());
    plant.centre().submit(&before).await.unwrap();
    let mined = plant.attempt(&claim, false).await.unwrap();
    assert_eq!(mined.model, all[0].model);
    assert_eq!(mined.continued.unwrap().from, all[1].model);
}

#[tokio::test]
async fn what_cannot_be_a_candidate_is_said_when_the_job_is_submitted() {
    let plant = Plant::new().await;
    let train = over("*/press");
    let none = plant.find(&train, Which::Best(5)).await.unwrap_err();
    assert!(none.to_string().contains("\"net\""), "{none}");
    let open = plant.submit(|_| {}, "net").await;
    let mining = plant
        .submit_mining(train.clone(), vec![nobody()], false)
        .await;
    for (job, why) in [
        (open, "is open"),
        (mining, "kind \"mine\""),
        (JobId(9), "no job"),
    ] {
        let refused = plant.find(&train, Which::Of(vec![job])).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

fn nobody() -> Candidate {
    Candidate {
        job: JobId(1).to_string(),
        model: "0".repeat(64),
        learnt: Vec::new(),
    }
}

#[tokio::test]
async fn without_windows_to_judge_by_nothing_is_best() {
    let plant = Plant::new().await;
    let mut train = over("pi-0/press");
    // Before the first record.
    train.to_ts = 5;
    let none = plant.submit_mining(train, vec![nobody()], false).await;
    plant.build().await;
    let job = plant.job(none).await;
    assert_eq!(job.state, JobState::Failed);
    let reason = job.reason.unwrap();
    assert!(reason.contains("nothing to judge by"), "{reason}");
}
