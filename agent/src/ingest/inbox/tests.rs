#![allow(clippy::unwrap_used)]

use std::{thread, time::Duration};

use super::*;

fn publish(packet_id: u16, payload: &'static [u8]) -> Incoming {
    Incoming {
        session_present: true,
        connection: 1,
        topic: Bytes::from_static(b"t"),
        payload: Bytes::from_static(payload),
        payload_bytes: payload.len(),
        packet_id,
        dup: false,
        qos0: false,
        retain: false,
    }
}

#[test]
fn hands_over_in_order_and_then_closes() {
    let (outlet, mut inbox) = channel(10, 1000);
    assert!(outlet.push(&mut vec![publish(1, b""), publish(2, b"")]));
    outlet.push(&mut vec![publish(3, b"")]);
    drop(outlet);
    let mut got = Vec::new();
    assert_eq!(inbox.recv(&mut got, None), Received::Some);
    assert_eq!(
        got.iter().map(|p| p.packet_id).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(inbox.recv(&mut got, None), Received::Closed);
}

#[test]
fn is_full_by_count_and_by_bytes() {
    let (outlet, mut inbox) = channel(2, 100);
    assert!(outlet.push(&mut vec![publish(1, b"")]));
    assert!(!outlet.push(&mut vec![publish(2, b"")]));
    inbox.recv(&mut Vec::new(), None);
    assert!(!outlet.push(&mut vec![publish(3, &[0; 100])]));
    assert_eq!(inbox.backlog(), (1, 101));
}

#[test]
fn times_out_at_the_deadline() {
    let (_outlet, mut inbox) = channel(2, 100);
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    assert_eq!(inbox.recv(&mut Vec::new(), deadline), Received::TimedOut);
}

#[test]
fn a_waker_ends_one_wait() {
    let (_outlet, mut inbox) = channel(2, 100);
    let waker = inbox.waker();
    waker.wake();
    assert_eq!(inbox.recv(&mut Vec::new(), None), Received::TimedOut);
    let consumer = thread::spawn(move || inbox.recv(&mut Vec::new(), None));
    waker.wake();
    assert_eq!(consumer.join().unwrap(), Received::TimedOut);
}

#[tokio::test]
async fn a_full_queue_wakes_its_writer_when_taken() {
    let (outlet, mut inbox) = channel(1, 100);
    assert!(!outlet.push(&mut vec![publish(1, b"")]));
    let consumer = thread::spawn(move || inbox.recv(&mut Vec::new(), None));
    outlet.room().await;
    assert_eq!(consumer.join().unwrap(), Received::Some);
}
