use super::*;

fn outgoing(bytes: usize) -> Outgoing {
    Outgoing {
        topic: "t".into(),
        payload: vec![b'x'; bytes],
    }
}

#[tokio::test]
async fn without_room_or_connection_it_is_dropped_and_counted() {
    let (publisher, mut outbox) = channel();
    let dropped = |publisher: &Publisher| publisher.stats().dropped.load(Relaxed);
    assert!(!publisher.publish(outgoing(1)));
    assert_eq!(dropped(&publisher), 1, "nobody is connected");
    outbox.open();
    let taken = (0..=QUEUED_MAX).filter(|_| publisher.publish(outgoing(2)));
    assert_eq!(taken.count(), QUEUED_MAX);
    assert_eq!(dropped(&publisher), 2, "one too many");
    assert!(!publisher.publish(outgoing(PAYLOAD_BYTES_MAX + 1)));
    assert_eq!(dropped(&publisher), 3, "too long");
    assert_eq!(outbox.next().await.0, outgoing(2));
    outbox.close();
    assert_eq!(dropped(&publisher), 3 + QUEUED_MAX as u64 - 1);
    publisher.publish(outgoing(1));
    assert_eq!(dropped(&publisher), 3 + QUEUED_MAX as u64);
}

#[tokio::test]
async fn each_counts_what_it_has_handed_over_itself() {
    let (publisher, mut outbox) = channel();
    let apart = publisher.apart();
    outbox.open();
    apart.publish(outgoing(1));
    publisher.publish(outgoing(2));
    let (first, stats) = outbox.next().await;
    stats.written.fetch_add(1, Relaxed);
    outbox.close();
    let counted = |publisher: &Publisher| {
        let stats = publisher.stats();
        (stats.written.load(Relaxed), stats.dropped.load(Relaxed))
    };
    assert_eq!(first, outgoing(1));
    assert_eq!((counted(&apart), counted(&publisher)), ((1, 0), (0, 1)));
}
