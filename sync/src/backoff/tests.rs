use super::*;

#[test]
fn grows_to_the_maximum_with_jitter_and_starts_again() {
    let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
    let mut backoff = Backoff::new(min, max, 1);
    for attempt in 0..80u32 {
        let full = (min * (1 << attempt.min(20))).min(max);
        let wait = backoff.after_failure();
        assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
    }
    backoff.reset();
    assert!(backoff.after_failure() <= min);
    let waits = |seed| {
        let mut backoff = Backoff::new(min, max, seed);
        [(); 5].map(|()| backoff.after_failure())
    };
    assert_eq!(waits(7), waits(7));
    assert_ne!(waits(7), waits(8));
}
