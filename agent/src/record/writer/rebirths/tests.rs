use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::mqtt::outgoing;

fn node(number: usize) -> (String, String) {
    ("g".to_owned(), format!("n{number}"))
}

#[tokio::test]
async fn an_edge_node_is_told_once_a_minute_and_all_ten_times_a_second() {
    let (publisher, mut outbox) = outgoing::channel();
    outbox.open();
    let mut rebirths = Rebirths::new(&publisher);
    let start = Instant::now();
    let after = |ms: u64| start + Duration::from_millis(ms);
    assert!(rebirths.ask(node(0), start, 7));
    let (told, _) = outbox.next().await;
    assert_eq!(told.topic, "spBv1.0/g/NCMD/n0");
    assert_eq!(told.payload, rebirth_request("g", "n0", 7).1);
    assert!(!rebirths.ask(node(0), after(59_999), 7));
    assert!(rebirths.ask(node(0), after(60_000), 7));
    // Nine more within this second.
    let told = (1..100).filter(|n| rebirths.ask(node(*n), after(60_500), 7));
    assert_eq!(told.count(), 9);
    assert!(rebirths.ask(node(50), after(61_000), 7));
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
        assert!(!rebirths.ask(node(number), start, 7), "nobody is connected");
    }
    outbox.open();
    let told = (0..20).filter(|n| rebirths.ask(node(*n), start, 7));
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
        assert!(rebirths.ask(node(number), at, 7));
        outbox.next().await;
        assert!(rebirths.told.len() <= NODES_MAX);
    }
}
