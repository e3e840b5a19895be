#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::record::writer::WriterStats;

const GAP: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_disk_that_hangs_ends_the_agent_and_one_that_is_slow_does_not() {
    // The fake disk: it takes what it is given, and never comes back.
    let disk = Arc::new(WriterStats::default());
    let most = Duration::from_mins(1);
    let (end, ended) = mpsc::channel();
    let watched = Arc::clone(&disk);
    let later = Duration::from_secs(61);
    let watch = StallWatch::looking_every(
        GAP,
        most,
        move |now| watched.waiting_for_disk(now + later),
        move |why| end.send(why).unwrap(),
    )
    .unwrap();
    assert_eq!(
        ended.recv_timeout(20 * GAP),
        Err(RecvTimeoutError::Timeout),
        "nothing is written"
    );
    disk.set_waiting_for_disk(true);
    let why = ended.recv_timeout(PATIENCE).unwrap();
    assert!(why.contains("stall_s_max") && why.contains("61 s"), "{why}");
    drop(watch);
    let (end, ended) = mpsc::channel();
    let watched = Arc::clone(&disk);
    let watch = StallWatch::looking_every(
        GAP,
        most,
        move |now| watched.waiting_for_disk(now),
        move |why| end.send(why).unwrap(),
    )
    .unwrap();
    assert_eq!(ended.recv_timeout(20 * GAP), Err(RecvTimeoutError::Timeout));
    drop(watch);
    assert_eq!(
        ended.recv_timeout(PATIENCE),
        Err(RecvTimeoutError::Disconnected),
        "it looks no more"
    );
}
