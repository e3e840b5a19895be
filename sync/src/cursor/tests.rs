#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn positions_follow_the_done_blocks() {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.position(), 0);
    cursor.advance(5..8, 30);
    assert_eq!((cursor.low_watermark(), cursor.done().end()), (0, 8));
    cursor.advance(0..5, 50);
    assert_eq!((cursor.position(), cursor.rows_done()), (8, 80));
}

#[test]
fn a_held_stream_keeps_its_own_position_and_the_trim_back() {
    let mut cursor = Cursor::default();
    cursor.advance(0..10, 100);
    cursor.hold(3, 6, 2);
    cursor.hold(3, 8, 5);
    assert_eq!(cursor.rows_held(), 7);
    assert_eq!((cursor.position_of(3), cursor.position_of(4)), (6, 10));
    assert_eq!(cursor.position(), 6);
    cursor.advance_held(3, &(7..9), 1);
    assert_eq!(cursor.position_of(3), 6, "block 6 would be skipped");
    cursor.advance_held(3, &(6..9), 3);
    assert_eq!((cursor.position(), cursor.rows_held()), (9, 4));
    cursor.release(3);
    assert_eq!((cursor.position(), cursor.rows_done()), (10, 104));
    // Newest first: a stream can be held in front of the low watermark.
    cursor.hold(1, 50, 1);
    assert_eq!(cursor.position_of(1), 10);
}

#[test]
fn dropped_blocks_hold_nothing_back() {
    let mut cursor = Cursor::default();
    cursor.hold(1, 2, 1);
    cursor.forget_below(7);
    assert_eq!((cursor.position(), cursor.position_of(1)), (7, 7));
}

#[test]
fn survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/cursor.uploader");
    assert_eq!(Cursor::read(&path).unwrap(), None);
    let mut cursor = Cursor::default();
    cursor.advance(0..10, 100);
    cursor.advance(20..30, 100);
    cursor.hold(3, 6, 40);
    cursor.set_taken_below(99);
    cursor.write(&path).unwrap();
    assert_eq!(Cursor::read(&path).unwrap(), Some(cursor));
}

#[test]
fn one_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cursor.uploader");
    for held in [&[][..], &[(3_u32, 6_u64), (70_000, 9)]] {
        let held: BTreeMap<StreamId, u64> = held.iter().copied().collect();
        let done: IntervalSet = vec![(0, 10), (20, 30)].into();
        state_file::write(&path, &(done, 200_u64, held.clone(), 99_u64)).unwrap();
        let cursor = Cursor::read(&path).unwrap().unwrap();
        assert_eq!((cursor.low_watermark(), cursor.done().end()), (10, 30));
        assert_eq!((cursor.rows_done(), cursor.taken_below()), (200, 99));
        let seqs: BTreeMap<_, _> = cursor.held().iter().map(|(id, h)| (*id, h.seq)).collect();
        assert_eq!(seqs, held);
    }
}
