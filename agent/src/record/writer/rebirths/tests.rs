use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::mqtt::outgoing;

fn node(number: usize) -> (String, String) {
    ("g".to_owned(), format!("n{number}"))
}

fn heard(number: usize, needs_rebirth: bool) -> Heard {
    Heard {
        node: node(number),
        needs_rebirth,
    }
}

impl Rebirths {
    /// An edge node needs it.
    fn needed(&mut self, number: usize, now: Instant) -> bool {
        self.hear(heard(number, true), now, 7)
    }
}

#[tokio::test]
async fn an_edge_node_is_told_once_a_minute_and_all_ten_times_a_second() {
    let (publisher, mut outbox) = outgoing::channel();
    outbox.open();
    let mut rebirths = Rebirths::new(&publisher);
    let start = Instant::now();
    let after = |ms: u64| start + Duration::from_millis(ms);
    assert!(rebirths.needed(0, start));
    let (told, _) = outbox.next().await;
    assert_eq!(told.topic, "spBv1.0/g/NCMD/n0");
    assert_eq!(told.payload, rebirth_request("g", "n0", 7).1);
    assert!(!rebirths.needed(0, after(59_999)));
    assert!(rebirths.needed(0, after(60_000)));
    // Nine more within this second.
    let told = (1..100).filter(|n| rebirths.needed(*n, after(60_500)));
    assert_eq!(told.count(), 9);
    assert!(rebirths.needed(50, after(61_000)));
    // What is told is no prediction.
    assert_eq!(publisher.stats().written.load(Relaxed), 0);
    assert_eq!(publisher.stats().dropped.load(Relaxed), 0);
}

#[test]
fn a_request_that_is_dropped_is_none() {
    let (publisher, mut outbox) = outgoing::channel();
    let mut rebirths = Rebirths::new(&publisher);
    let start = Instant::now();
    for number in 0..20 {
        assert!(!rebirths.needed(number, start), "nobody is connected");
    }
    outbox.open();
    let told = (0..20).filter(|n| rebirths.needed(*n, start));
    assert_eq!(told.count(), 10);
}

#[tokio::test]
async fn who_is_remembered_is_bounded() {
    let (publisher, mut outbox) = outgoing::channel();
    outbox.open();
    let mut rebirths = Rebirths::new(&publisher);
    let start = Instant::now();
    for number in 0..10 * NODES_MAX {
        let at = start + Duration::from_millis(101 * number as u64);
        assert!(rebirths.needed(number, at));
        outbox.next().await;
        assert!(rebirths.told.len() <= NODES_MAX);
    }
}

#[tokio::test]
async fn whom_a_birth_does_not_heal_is_told_less_and_less_often() {
    let (publisher, mut outbox) = outgoing::channel();
    outbox.open();
    let mut rebirths = Rebirths::new(&publisher);
    let start = Instant::now();
    let after = |s: u64| start + Duration::from_secs(s);
    // Every message but some is out of order.
    let mut minutes = Vec::new();
    for s in (0..4 * 3_600).step_by(20) {
        if rebirths.needed(0, after(s)) {
            minutes.push(s / 60);
            outbox.next().await;
        }
        assert!(!rebirths.hear(heard(0, false), after(s + 10), 7));
    }
    assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    // It is mended, and out of order later on.
    for s in [0, 30, 61] {
        assert!(!rebirths.hear(heard(0, false), after(14_400 + s), 7));
    }
    assert!(rebirths.needed(0, after(14_500)));
    assert!(!rebirths.needed(0, after(14_559)));
    assert!(rebirths.needed(0, after(14_560)));
    assert!(!rebirths.needed(0, after(14_620)), "and less often again");
}
