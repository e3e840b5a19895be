#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn job(candidates: usize) -> Result<MineJob, String> {
    let config =
        "[[recipe]]\nname = \"line\"\nstreams = \"press\"\nalgorithm = \"ridge_nlinear\"\n";
    let train = TrainJob::new(Path::new("plant.toml"), config, "line").unwrap();
    let limits = Limits {
        attempts_max: NonZeroU32::MIN,
        lease_ms: 1,
        stalled_ms_max: 2,
        time_ms_max: 3,
    };
    let candidates = vec![candidate("pi-?/press", 10, 20); candidates];
    MineJob::new(train, candidates, Some(Then::Continue(limits)))
}

fn candidate(streams: &str, first_ts: i64, last_ts: i64) -> Candidate {
    Candidate {
        job: JobId(7).to_string(),
        model: BlobHash::of(b"model").to_string(),
        learnt: vec![Learnt {
            streams: streams.into(),
            first_ts,
            last_ts,
        }],
    }
}

#[test]
fn it_comes_back_and_what_is_none_is_refused_with_a_reason() {
    let bytes = job(CANDIDATES_MAX).unwrap().to_bytes().unwrap();
    assert_eq!(MineJob::read(&bytes).unwrap(), job(CANDIDATES_MAX).unwrap());
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains(r#""then":{"continue":{"attempts_max":1"#),
        "{text}"
    );
    for count in [0, CANDIDATES_MAX + 1] {
        let refused = job(count).unwrap_err();
        assert!(refused.contains(&count.to_string()), "{refused}");
    }
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    let newer = MineJob::read(newer.as_bytes()).unwrap_err();
    assert!(newer.contains("upgrade"), "{newer}");
    let hostile = text.replace("\"candidates\":[", "\"candidates\":[], \"others\":[");
    assert!(MineJob::read(hostile.as_bytes()).is_err());
}

#[test]
fn seen_are_records_of_one_stream_at_one_time() {
    let streams = ["pi-1/press".to_owned(), "shed/oven".to_owned()];
    let one = candidate("pi-?/press", 10, 20);
    for (first, last, seen) in [
        (0, 9, false),
        (0, 10, true),
        (15, 16, true),
        (20, 30, true),
        (21, 30, false),
    ] {
        assert_eq!(
            one.has_seen(&streams, first, last),
            seen,
            "{first}..={last}"
        );
    }
    assert!(!one.has_seen(&streams[1..], 0, 30));
    let mut child = candidate("elsewhere/*", 10, 20);
    assert!(!child.has_seen(&streams, 0, 30));
    child.learnt.push(Learnt::anything());
    assert!(child.has_seen(&streams, 0, 30));
}

#[test]
fn the_job_that_goes_on_is_always_the_same_and_another_for_every_mining() {
    // The first half of the SHA-256 of sixteen bytes: 0 .. 0, 1.
    let expected = "7c3ccd10bb7ec37b46d37926ae6274267f007a34aeaf15c882a715a7f3300529";
    let id = continuation_of(JobId(1));
    assert_eq!(id, continuation_of(JobId(1)));
    assert_ne!(id, continuation_of(JobId(2)));
    assert_eq!(id.to_string(), expected[..32]);
}
