use super::*;

#[tokio::test]
async fn a_job_is_claimed_by_one_and_asked_again_it_is_the_same_attempt() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    let first = centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.job.id, first.attempt), (JobId(1), 1));
    assert_eq!(first.job.document, b"job 1");
    let other = place
        .centre()
        .claim(&builder("b"), JobId(11))
        .await
        .unwrap();
    assert_eq!(other, None);
    let again = place
        .centre()
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap();
    assert_eq!(again, Some(first));
}

#[tokio::test]
async fn whoever_lost_a_claim_cannot_finish_it() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    let stopped = centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    place.pass(1_000);
    let next = centre
        .claim(&builder("b"), JobId(11))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next.attempt, 2);
    let late = done("late");
    let late = centre.finish(JobId(1), stopped.attempt, &late).await;
    assert_eq!(late.unwrap(), Ended::Lost);
    let progress = Progress::default();
    let held = centre.renew(JobId(1), stopped.attempt, &progress).await;
    assert_eq!(held.unwrap(), Held::Lost);
    let ended = centre.finish(JobId(1), 2, &done("right")).await.unwrap();
    assert_eq!(ended, Ended::Accepted);
    // Its answer was lost.
    let ended = centre.finish(JobId(1), 2, &done("right")).await.unwrap();
    assert_eq!(ended, Ended::Accepted);
    let job = centre.job(JobId(1)).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done);
    assert_eq!(job.result.as_deref(), Some(&b"right"[..]));
    let endings: Vec<_> = job.attempts.iter().map(|a| a.ending.as_deref()).collect();
    assert_eq!(endings, [Some("expired"), Some("done")]);
    assert!(job.attempts[0].reason.as_ref().unwrap().contains("1000 ms"));
}

#[tokio::test]
async fn an_attempt_is_kept_by_progress_and_not_by_saying_that_it_lives() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    let renew = |steps| {
        let progress = Progress {
            steps,
            checkpoint: None,
        };
        let centre = place.centre();
        async move { centre.renew(JobId(1), 1, &progress).await.unwrap() }
    };
    for steps in 1..=20 {
        place.pass(900);
        assert_eq!(renew(steps).await, Held::Yes, "{steps}");
    }
    for _ in 0..11 {
        place.pass(900);
        assert_eq!(renew(20).await, Held::Yes);
    }
    place.pass(900);
    assert_eq!(renew(20).await, Held::Lost);
    let job = centre.job(JobId(1)).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Open);
    assert_eq!(job.reason.as_deref(), Some("no progress for 10000 ms"));
}

#[tokio::test]
async fn an_attempt_may_not_take_longer_than_the_job_allows() {
    let place = Place::new();
    let centre = place.centre();
    let mut short = job(1);
    short.time_ms_max = 2_500;
    centre.submit(&short).await.unwrap();
    centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    for steps in 1..=3 {
        place.pass(900);
        let progress = Progress {
            steps,
            checkpoint: None,
        };
        let held = centre.renew(JobId(1), 1, &progress).await.unwrap();
        assert_eq!(held, if steps < 3 { Held::Yes } else { Held::Lost });
    }
}

#[tokio::test]
async fn the_next_attempt_goes_on_from_the_last_checkpoint() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    let first = centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.resume, None);
    let progress = Progress {
        steps: 500,
        checkpoint: Some(BlobHash::of(b"epoch 1")),
    };
    centre.renew(JobId(1), 1, &progress).await.unwrap();
    place.pass(1_001);
    let second = centre
        .claim(&builder("b"), JobId(11))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.resume, Some(progress));
    // Dies before a checkpoint of its own.
    place.pass(1_001);
    let third = centre
        .claim(&builder("c"), JobId(12))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((third.attempt, third.resume), (3, Some(progress)));
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_a_bounded_number_of_times_and_keeps_no_other_waiting() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    centre.submit(&job(2)).await.unwrap();
    let failed = Outcome::Failed {
        reason: "no such recipe".into(),
        is_final: false,
    };
    let mut order = Vec::new();
    for request in 0..6 {
        let claim = centre.claim(&builder("a"), JobId(100 + request)).await;
        let claim = claim.unwrap().unwrap();
        order.push(claim.job.id.0);
        place.pass(1);
        let ended = centre.finish(claim.job.id, claim.attempt, &failed).await;
        assert_eq!(ended.unwrap(), Ended::Accepted);
    }
    assert_eq!(order, [1, 2, 1, 2, 1, 2]);
    let claim = centre.claim(&builder("a"), JobId(200)).await.unwrap();
    assert_eq!(claim, None);
    let there = centre.job(JobId(1)).await.unwrap().unwrap();
    assert_eq!(there.state, JobState::Failed);
    assert_eq!(there.reason.as_deref(), Some("no such recipe"));
    assert!(centre.retry(JobId(1)).await.unwrap());
    let claim = centre
        .claim(&builder("a"), JobId(201))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((claim.job.id, claim.attempt), (JobId(1), 4));
}

#[tokio::test]
async fn what_is_given_back_does_not_count_and_what_is_hopeless_is_not_tried_again() {
    let place = Place::new();
    let centre = place.centre();
    centre.submit(&job(1)).await.unwrap();
    for request in 0..5 {
        let claim = centre.claim(&builder("a"), JobId(100 + request)).await;
        let claim = claim.unwrap().unwrap();
        let ended = centre
            .finish(JobId(1), claim.attempt, &Outcome::Returned)
            .await;
        assert_eq!(ended.unwrap(), Ended::Accepted);
    }
    let claim = centre
        .claim(&builder("a"), JobId(200))
        .await
        .unwrap()
        .unwrap();
    let hopeless = Outcome::Failed {
        reason: "an empty cohort".into(),
        is_final: true,
    };
    centre
        .finish(JobId(1), claim.attempt, &hopeless)
        .await
        .unwrap();
    let there = centre.job(JobId(1)).await.unwrap().unwrap();
    assert_eq!(there.state, JobState::Failed);
}

#[tokio::test]
async fn a_cancelled_job_is_lost_to_whoever_is_at_it() {
    let place = Place::new();
    let centre = place.centre();
    for id in 1..=2 {
        centre.submit(&job(id)).await.unwrap();
    }
    centre
        .claim(&builder("a"), JobId(10))
        .await
        .unwrap()
        .unwrap();
    assert!(centre.cancel(JobId(1)).await.unwrap());
    assert!(centre.cancel(JobId(2)).await.unwrap());
    assert!(!centre.cancel(JobId(3)).await.unwrap());
    let late = centre.finish(JobId(1), 1, &done("late")).await.unwrap();
    assert_eq!(late, Ended::Lost);
    let claim = centre.claim(&builder("b"), JobId(11)).await.unwrap();
    assert_eq!(claim, None);
}

#[tokio::test]
async fn a_builder_takes_only_what_it_can_do() {
    let place = Place::new();
    let centre = place.centre();
    let mut arm = job(1);
    arm.labels = BTreeMap::from([("arch".into(), "arm64".into()), ("gpu".into(), "no".into())]);
    let mut own = job(2);
    own.kind = "custom:weld".into();
    centre.submit(&arm).await.unwrap();
    centre.submit(&own).await.unwrap();
    let has = |labels: &[(&str, &str)], kinds: &[&str]| Builder {
        name: "a".into(),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
    };
    let none = [
        has(&[("arch", "arm64")], &["train"]),
        has(&[("arch", "x86_64"), ("gpu", "no")], &["train"]),
        has(&[], &["evaluate"]),
    ];
    for (request, builder) in none.iter().enumerate() {
        let claim = centre.claim(builder, JobId(request as u128)).await.unwrap();
        assert_eq!(claim, None, "{builder:?}");
    }
    let able = has(
        &[("arch", "arm64"), ("gpu", "no"), ("site", "x")],
        &["train"],
    );
    let claim = centre.claim(&able, JobId(20)).await.unwrap().unwrap();
    assert_eq!(claim.job.id, JobId(1));
    let claim = centre.claim(&has(&[], &["custom:weld"]), JobId(21)).await;
    assert_eq!(claim.unwrap().unwrap().job.id, JobId(2));
}
