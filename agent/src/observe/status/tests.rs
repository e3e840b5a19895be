use super::*;

#[test]
fn a_worker_that_has_ended_or_a_disk_that_hangs_is_no_work() {
    assert_eq!(working(None, None), Ok(()));
    assert_eq!(working(None, Some(Duration::from_secs(29))), Ok(()));
    assert!(working(None, Some(Duration::from_secs(30))).is_err());
    assert!(working(Some("the writer"), None).is_err());
    let stats = WriterStats::default();
    let begun = Instant::now();
    assert_eq!(stats.waiting_for_disk(begun), None);
    stats.set_waiting_for_disk(true);
    let later = stats.waiting_for_disk(begun + COMMIT_MAX + Duration::from_secs(1));
    assert!(working(None, later).is_err(), "{later:?}");
    stats.set_waiting_for_disk(false);
    assert_eq!(stats.waiting_for_disk(Instant::now()), None);
}
