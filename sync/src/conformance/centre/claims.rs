//! Jobs and claims.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::JoinSet;

use super::{
    CentreTarget, SECOND_MS, builder, claimed, done, endings, found, job, nothing_to_claim,
};
use crate::{
    centre::{
        Builder,
        blobs::BlobHash,
        job::{Ended, Held, JobId, JobQuery, JobState, Outcome as Ending, Progress},
    },
    conformance::report::{Finding, Outcome, holds, same},
};

/// Claimers at once, and jobs for them.
const CLAIMERS: u128 = 16;
const JOBS: u128 = 60;

pub(super) async fn submitting_again_changes_nothing(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    let mut first = job(7);
    first.labels = BTreeMap::from([("arch".into(), "arm64 'quoted\" \\ \u{1f980}".into())]);
    first.document = (0..=255).collect();
    centre.submit(&first).await?;
    let mut other = first.clone();
    other.kind = "mine".into();
    centre.submit(&other).await?;
    let there = found(&*target.connect()?, 7).await?;
    same("the kind", &"train", &there.kind.as_str())?;
    same("the document", &first.document, &there.document)?;
    same("the labels", &first.labels, &there.labels)?;
    same("the state", &JobState::Open, &there.state)?;
    let none = centre.job(JobId(8)).await?;
    same("a job that nobody submitted", &None, &none)?;
    let query = |kind: &str| JobQuery {
        state: Some(JobState::Open),
        kind: Some(kind.into()),
        most: 10,
    };
    for (kind, jobs) in [("train", 1), ("mine", 0)] {
        let there = centre.jobs(&query(kind)).await?.len();
        same(format!("open jobs of kind {kind}"), &jobs, &there)?;
    }
    let mut long = job(9);
    long.document = vec![0; (1 << 20) + 1];
    let refused = centre.submit(&long).await;
    holds(
        "a job that is too long",
        refused.is_err(),
        "refused",
        "taken",
    )
}

pub(super) async fn a_job_is_claimed_by_one_and_asked_again_it_is_the_same_attempt(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    let first = claimed(&*centre, 10).await?;
    same("the attempt", &1, &first.attempt)?;
    same("the document", &b"job 1".to_vec(), &first.job.document)?;
    let other = target.connect()?;
    nothing_to_claim(&*other, 11).await?;
    let again = claimed(&*other, 10).await?;
    same("the job of the same request again", &first.job, &again.job)?;
    same("its attempt", &first.attempt, &again.attempt)
}

pub(super) async fn many_at_once_claim_each_job_once(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    for id in 1..=JOBS {
        centre.submit(&job(id)).await?;
    }
    let mut claimers = JoinSet::new();
    for claimer in 1..=CLAIMERS {
        let centre = target.connect()?;
        claimers.spawn(async move {
            let mut claims = Vec::new();
            for request in 0..=JOBS {
                let request = JobId(claimer * 1_000_000 + request);
                let Some(claim) = centre.claim(&builder("a"), request).await? else {
                    break;
                };
                claims.push((claim.job.id.0, claim.attempt));
            }
            Ok::<_, Finding>(claims)
        });
    }
    let mut claims = Vec::new();
    while let Some(claimer) = claimers.join_next().await {
        let claimer = claimer.map_err(|error| error.to_string())?;
        claims.extend(claimer?);
    }
    claims.sort_unstable();
    let expected: Vec<(u128, u32)> = (1..=JOBS).map(|id| (id, 1)).collect();
    same("jobs and attempts claimed", &expected, &claims)
}

pub(super) async fn whoever_lost_a_claim_cannot_finish_it(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    let stopped = claimed(&*centre, 10).await?;
    target.pass(SECOND_MS).await?;
    let next = claimed(&*target.connect()?, 11).await?;
    same("the next attempt", &2, &next.attempt)?;
    let late = centre
        .finish(JobId(1), stopped.attempt, &done("late"))
        .await?;
    same("a finish that comes too late", &Ended::Lost, &late)?;
    let progress = Progress::default();
    let held = centre.renew(JobId(1), stopped.attempt, &progress).await?;
    same("a renewal that comes too late", &Held::Lost, &held)?;
    for time in ["the finish", "the same again, its answer being lost"] {
        let ended = centre.finish(JobId(1), 2, &done("right")).await?;
        same(time, &Ended::Accepted, &ended)?;
    }
    let other = centre.finish(JobId(1), 2, &done("wrong")).await?;
    same("the same attempt with another result", &Ended::Lost, &other)?;
    let ended = centre.claim(&builder("b"), JobId(11)).await?;
    same("a request whose attempt is over", &None, &ended)?;
    let job = found(&*centre, 1).await?;
    same("the state", &JobState::Done, &job.state)?;
    same("the result", &Some(b"right".to_vec()), &job.result)?;
    same(
        "how attempts ended",
        &vec!["expired", "done"],
        &endings(&job),
    )?;
    let reason = Some("its builder was not heard of for 1000000 ms".to_owned());
    same("why the first ended", &reason, &job.attempts[0].reason)
}

async fn renewed(target: &dyn CentreTarget, steps: u64) -> Result<Held, Finding> {
    let progress = Progress {
        steps,
        checkpoint: None,
    };
    Ok(target.connect()?.renew(JobId(1), 1, &progress).await?)
}

pub(super) async fn an_attempt_is_kept_by_progress_and_not_by_saying_that_it_lives(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    claimed(&*centre, 10).await?;
    for steps in 1..=20 {
        target.pass(SECOND_MS / 10 * 9).await?;
        let held = renewed(target, steps).await?;
        same(
            format!("a renewal with progress, {steps}"),
            &Held::Yes,
            &held,
        )?;
    }
    for time in 1..=11 {
        target.pass(SECOND_MS / 10 * 9).await?;
        let held = renewed(target, 20).await?;
        same(format!("a renewal without, {time}"), &Held::Yes, &held)?;
    }
    target.pass(SECOND_MS / 10 * 9).await?;
    let held = renewed(target, 20).await?;
    same(
        "a renewal after too many without progress",
        &Held::Lost,
        &held,
    )?;
    let job = found(&*centre, 1).await?;
    same("the state", &JobState::Open, &job.state)?;
    let reason = Some("no progress for 10000000 ms".to_owned());
    same("the reason", &reason, &job.reason)
}

pub(super) async fn an_attempt_may_not_take_longer_than_the_job_allows(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    let mut short = job(1);
    short.time_ms_max = 2_500_000;
    centre.submit(&short).await?;
    claimed(&*centre, 10).await?;
    for (steps, expected) in [(1, Held::Yes), (2, Held::Yes), (3, Held::Lost)] {
        target.pass(SECOND_MS / 10 * 9).await?;
        let held = renewed(target, steps).await?;
        same(format!("renewal {steps}"), &expected, &held)?;
    }
    Ok(())
}

pub(super) async fn the_next_attempt_goes_on_from_the_last_checkpoint(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    let first = claimed(&*centre, 10).await?;
    same("from where the first begins", &None, &first.resume)?;
    let progress = Progress {
        steps: 500,
        checkpoint: Some(BlobHash::of(b"epoch 1")),
    };
    centre.renew(JobId(1), 1, &progress).await?;
    // The second dies before a checkpoint of its own.
    for attempt in [2, 3] {
        target.pass(SECOND_MS).await?;
        let next = claimed(&*centre, 10 + u128::from(attempt)).await?;
        same("the attempt", &attempt, &next.attempt)?;
        same("from where it goes on", &Some(progress), &next.resume)?;
    }
    Ok(())
}

pub(super) async fn a_job_that_fails_is_tried_again_a_bounded_number_of_times(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    centre.submit(&job(2)).await?;
    let failed = Ending::Failed {
        reason: "no such\0recipe".into(),
        is_final: false,
    };
    let mut order = Vec::new();
    for request in 0..6 {
        let claim = claimed(&*centre, 100 + request).await?;
        order.push(claim.job.id.0);
        let ended = centre.finish(claim.job.id, claim.attempt, &failed).await?;
        same("a failure", &Ended::Accepted, &ended)?;
    }
    same(
        "the order, none waiting for the other",
        &vec![1, 2, 1, 2, 1, 2],
        &order,
    )?;
    nothing_to_claim(&*centre, 200).await?;
    let there = found(&*centre, 1).await?;
    same("the state", &JobState::Failed, &there.state)?;
    let reason = Some("no such\u{fffd}recipe".to_owned());
    same("the reason", &reason, &there.reason)?;
    let is_open = centre.retry(JobId(1)).await?;
    same("whether it is open once retried", &true, &is_open)?;
    let claim = claimed(&*centre, 201).await?;
    same(
        "the attempt after that",
        &(1, 4),
        &(claim.job.id.0, claim.attempt),
    )?;
    let hopeless = Ending::Failed {
        reason: "an empty cohort".into(),
        is_final: true,
    };
    centre.finish(JobId(1), 4, &hopeless).await?;
    let there = found(&*centre, 1).await?;
    same(
        "the state of what is hopeless",
        &JobState::Failed,
        &there.state,
    )?;
    nothing_to_claim(&*centre, 202).await
}

pub(super) async fn what_is_given_back_does_not_count(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    centre.submit(&job(1)).await?;
    for request in 0..5 {
        let claim = claimed(&*centre, 100 + request).await?;
        let ended = centre
            .finish(JobId(1), claim.attempt, &Ending::Returned)
            .await?;
        same("giving it back", &Ended::Accepted, &ended)?;
    }
    let claim = claimed(&*centre, 200).await?;
    same("the attempt", &6, &claim.attempt)?;
    // It keeps its place in front of what came later.
    centre.submit(&job(2)).await?;
    centre.finish(JobId(1), 6, &Ending::Returned).await?;
    same(
        "what is claimed then",
        &1,
        &claimed(&*centre, 201).await?.job.id.0,
    )
}

pub(super) async fn a_cancelled_job_is_lost_to_whoever_is_at_it(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    for id in 1..=2 {
        centre.submit(&job(id)).await?;
    }
    claimed(&*centre, 10).await?;
    for (id, expected) in [(1, true), (2, true), (3, false)] {
        let is_cancelled = centre.cancel(JobId(id)).await?;
        same(format!("cancelling {id}"), &expected, &is_cancelled)?;
    }
    let late = centre.finish(JobId(1), 1, &done("late")).await?;
    same("a finish after that", &Ended::Lost, &late)?;
    nothing_to_claim(&*centre, 11).await
}

pub(super) async fn a_builder_takes_only_what_it_can_do(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    let mut arm = job(1);
    arm.labels = BTreeMap::from([("arch".into(), "arm64".into()), ("gpu".into(), "no".into())]);
    let mut own = job(2);
    own.kind = "custom:weld".into();
    centre.submit(&arm).await?;
    centre.submit(&own).await?;
    let has = |labels: &[(&str, &str)], kinds: &[&str]| Builder {
        name: "a".into(),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
    };
    let both = [("arch", "arm64"), ("gpu", "no"), ("site", "x")];
    let builders = [
        (has(&both[..1], &["train"]), None),
        (has(&[("arch", "x86_64"), ("gpu", "no")], &["train"]), None),
        (has(&[], &["evaluate"]), None),
        (has(&both, &["train"]), Some(1)),
        (has(&[], &["evaluate", "custom:weld"]), Some(2)),
    ];
    for (request, (builder, expected)) in builders.iter().enumerate() {
        let claim = centre.claim(builder, JobId(request as u128)).await?;
        let claim = claim.map(|claim| claim.job.id.0);
        same(format!("what {builder:?} claims"), expected, &claim)?;
    }
    Ok(())
}

pub(super) async fn of_a_finish_and_an_expiry_one_decides(target: &dyn CentreTarget) -> Outcome {
    for id in 1..=20 {
        let centre = target.connect()?;
        let mut last = job(id);
        last.attempts_max = std::num::NonZeroU32::MIN;
        centre.submit(&last).await?;
        let claim = claimed(&*centre, id * 10).await?;
        target.pass(SECOND_MS).await?;
        let other = target.connect()?;
        // Both at once: a builder that was stopped for too long, and whoever looks for work.
        let expiring = builder("b");
        let (ended, next) = tokio::join!(
            async { centre.finish(JobId(id), claim.attempt, &done("x")).await },
            async { other.claim(&expiring, JobId(id * 10 + 1)).await },
        );
        same("a claim of what has no attempt left", &None, &next?)?;
        let there = found(&*centre, id).await?;
        let expected = match ended? {
            Ended::Accepted => (JobState::Done, vec!["done"]),
            Ended::Lost => (JobState::Failed, vec!["expired"]),
        };
        same(
            "what the job is then",
            &expected,
            &(there.state, endings(&there)),
        )?;
    }
    Ok(())
}

pub(super) async fn who_waits_hears_of_a_job(target: &dyn CentreTarget) -> Outcome {
    let (centre, elsewhere) = (target.connect()?, target.connect()?);
    let minute = Duration::from_mins(1);
    for (id, from) in [(1, &elsewhere), (2, &centre)] {
        nothing_to_claim(&*centre, id * 10).await?;
        // Submitted before the wait begins: still noticed.
        from.submit(&job(id)).await?;
        let waiting = tokio::time::timeout(minute / 2, centre.wait_for_jobs(minute));
        let waited = waiting.await;
        waited.map_err(|_| Finding::new("waiting", "an end once there is a job", "none"))??;
        let claim = claimed(&*centre, id * 10 + 1).await?;
        same("what is claimed then", &id, &claim.job.id.0)?;
        centre
            .finish(claim.job.id, claim.attempt, &done("x"))
            .await?;
    }
    Ok(())
}
