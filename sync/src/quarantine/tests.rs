#![allow(clippy::unwrap_used)]

use super::*;

fn item(text: &str, payload_bytes: usize) -> Item {
    Item {
        at_ns: 5,
        reason: "not_json".into(),
        detail: text.into(),
        records: 1,
        content: Content::Publish {
            topic: b"a/b".to_vec(),
            payload: vec![7; payload_bytes],
            payload_bytes: payload_bytes as u64,
        },
    }
}

fn open(dir: &Path) -> Quarantine {
    Quarantine::open(dir, 8 << 20, || 1).unwrap()
}

#[test]
fn items_survive_reopening_whatever_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let items = vec![item("small", 3), item("large", 200_000), item("empty", 0)];
    quarantine.add(&items).unwrap();
    drop(quarantine);
    let quarantine = open(dir.path());
    let found = quarantine.list(0, 10).unwrap();
    assert_eq!(
        found
            .iter()
            .map(|(_, item)| item.clone())
            .collect::<Vec<_>>(),
        items
    );
    assert_eq!(quarantine.get(2).unwrap(), Some(items[1].clone()));
    assert_eq!(quarantine.list(1, 1).unwrap(), vec![(2, items[1].clone())]);
    quarantine.add(&items[..1]).unwrap();
    assert_eq!(quarantine.list(3, 10).unwrap().len(), 1);
    assert_eq!(quarantine.remove(&[2, 3, 99]).unwrap(), 2);
    assert_eq!(quarantine.len(), 2);
    assert_eq!(quarantine.purge().unwrap(), 2);
    assert!(quarantine.is_empty());
}

#[test]
fn a_full_quarantine_forgets_the_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    for round in 0..60 {
        let items: Vec<Item> = (0..10)
            .map(|n| item(&format!("{}", round * 10 + n), 30_000))
            .collect();
        quarantine.add(&items).unwrap();
    }
    let purged = quarantine.items_dropped.load(Relaxed);
    assert!(purged > 0);
    assert_eq!(quarantine.len() + purged, 600);
    assert_eq!(quarantine.records_dropped.load(Relaxed), purged);
    let newest = quarantine.list(0, 1_000).unwrap();
    assert_eq!(newest.last().unwrap().1.detail, "599");
}

#[test]
fn no_item_of_any_size_pushes_the_quarantine_over_its_bound() {
    for bytes_max in [4_u64 << 20, 8 << 20, 16 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(dir.path(), bytes_max, || 1).unwrap();
        fs::create_dir(dir.path().join("00000000.damaged")).unwrap();
        fs::write(dir.path().join("00000000.damaged/db"), vec![0; 3 << 20]).unwrap();
        let (mut added, mut state, mut largest) = (0, 1_u64, 0);
        while quarantine.items_dropped.load(Relaxed) < 400 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (count, size) =
                [(300, 10), (40, 3_000), (7, 60_000), (1, 700_000)][(state >> 62) as usize];
            let items: Vec<Item> = (0..count)
                .map(|n| item("x", size + (state >> 48) as usize % 100 + n))
                .collect();
            added += items.len() as u64;
            quarantine.add(&items).unwrap();
            largest = largest.max(quarantine.bytes());
            let dropped = quarantine.items_dropped.load(Relaxed);
            assert_eq!(quarantine.len() + dropped, added);
        }
        // sled gives back a moment later what it has cut off a file, in segments of 512 KiB.
        assert!(largest <= bytes_max + (1 << 20), "{largest} of {bytes_max}");
        assert!(largest > bytes_max / 3, "{largest} of {bytes_max}");
    }
}

#[test]
fn what_is_taken_out_makes_room_and_numbers_do_not_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let rows = |count: i64| -> Vec<Item> { (0..count).map(|_| item("row", 20_000)).collect() };
    while quarantine.add_or_full(&rows(5), false).is_ok() {}
    let all = quarantine.list(0, 10_000).unwrap();
    let ids: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    assert!(quarantine.add_or_full(&rows(5), false).is_err());
    quarantine.remove(&ids).unwrap();
    for _ in 0..10 {
        quarantine.add_or_full(&rows(5), false).unwrap();
    }
    assert_eq!(quarantine.items_dropped.load(Relaxed), 0);
    let first = |quarantine: &Quarantine| quarantine.list(0, 1).unwrap()[0].0;
    let again = first(&quarantine);
    assert!(again > ids[ids.len() - 1], "{again} after {ids:?}");
    drop(quarantine);
    let quarantine = open(dir.path());
    assert_eq!((first(&quarantine), quarantine.len()), (again, 50));
}

fn parts_open(quarantine: &Quarantine) -> usize {
    let inner = quarantine.lock();
    inner.parts.iter().filter(|part| part.is_open()).count()
}

#[test]
fn what_is_not_used_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let open_larger = || Quarantine::open(dir.path(), 16 << 20, || 1).unwrap();
    let mut quarantine = open_larger();
    let mut closed = 0;
    for round in 0..50 {
        if round == 30 {
            drop(quarantine);
            quarantine = open_larger();
        }
        quarantine.add(&[item("a", 90_000), item("b", 10)]).unwrap();
        let open = parts_open(&quarantine);
        assert!(open <= 1, "{open} after round {round}");
        closed += 1 - open;
    }
    // Once for each MiB; the next put opened it again.
    assert!((1..6).contains(&closed), "closed {closed} times");
    let parts = quarantine.lock().parts.len();
    assert!(parts > 1, "{parts}");
    // Reading leaves open what was read last, beside the part that is written.
    let all = quarantine.list(0, 1_000).unwrap();
    assert_eq!((all.len(), parts_open(&quarantine) <= 2), (100, true));
    assert!(quarantine.get(all[3].0).unwrap().is_some());
    assert_eq!(quarantine.remove(&[all[0].0, all[99].0]).unwrap(), 2);
    assert_eq!((quarantine.len(), parts_open(&quarantine) <= 2), (98, true));
    quarantine.add(&[item("c", 10)]).unwrap();
    assert_eq!((quarantine.len(), parts_open(&quarantine) <= 2), (99, true));
    drop(quarantine);
    let quarantine = open_larger();
    assert_eq!((quarantine.len(), parts_open(&quarantine) <= 2), (99, true));
}

#[test]
fn what_gives_way_is_counted_though_it_cannot_be_read_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let mut added = 0;
    while quarantine.lock().parts.len() < 2 {
        quarantine.add(&[item("a", 60_000)]).unwrap();
        added += 1;
    }
    let oldest = part_dir(dir.path(), quarantine.lock().parts[0].id);
    fs::write(oldest.join("db"), vec![7; 1 << 20]).unwrap();
    let in_newest = 1;
    while quarantine.items_dropped.load(Relaxed) == 0 {
        quarantine.add(&[item("a", 60_000)]).unwrap();
    }
    assert_eq!(quarantine.items_dropped.load(Relaxed), added - in_newest);
    assert_eq!(quarantine.records_dropped.load(Relaxed), added - in_newest);
    assert!(!oldest.exists());
}

#[test]
fn a_damaged_part_hides_its_own_items_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    while quarantine.lock().parts.len() < 3 {
        quarantine.add(&[item("a", 60_000)]).unwrap();
    }
    let all = quarantine.list(0, 1_000).unwrap();
    let middle = quarantine.lock().parts[1].id;
    quarantine.lock().parts[1].close();
    fs::write(part_dir(dir.path(), middle).join("db"), vec![7; 1 << 20]).unwrap();
    let left = quarantine.list(0, 1_000).unwrap();
    assert!(left.len() < all.len() && left.first() == all.first() && left.last() == all.last());
    assert_eq!(quarantine.remove(&[left[0].0]).unwrap(), 1);
    assert_eq!(quarantine.remove(&[left[left.len() - 1].0]).unwrap(), 1);
    assert_eq!(quarantine.list(0, 1_000).unwrap().len(), left.len() - 2);
}

#[test]
fn rows_are_put_there_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let rows = |count: i64| -> Vec<Item> { (0..count).map(|_| item("row", 20_000)).collect() };
    while quarantine.add_or_full(&rows(50), false).is_ok() {}
    let before = quarantine.len();
    for _ in 0..3 {
        assert!(quarantine.add_or_full(&rows(50), false).is_err());
    }
    assert_eq!(quarantine.len(), before);
}

#[test]
fn a_damaged_part_keeps_nothing_else_from_opening() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    for round in 0..30 {
        let items: Vec<Item> = (0..10).map(|_| item(&round.to_string(), 30_000)).collect();
        quarantine.add(&items).unwrap();
    }
    let parts: Vec<u64> = quarantine.lock().parts.iter().map(|part| part.id).collect();
    assert!(parts.len() > 2);
    drop(quarantine);
    // Torn in the middle, and cut off altogether.
    let db = |id: u64| part_dir(dir.path(), id).join("db");
    let mut bytes = fs::read(db(parts[0])).unwrap();
    for byte in &mut bytes[1_000..] {
        *byte = !*byte;
    }
    fs::write(db(parts[0]), bytes).unwrap();
    fs::remove_file(db(parts[1])).unwrap();
    fs::create_dir_all(dir.path().join("trash-7").join("blobs")).unwrap();

    let quarantine = open(dir.path());
    let newest = quarantine.list(0, 1_000).unwrap();
    assert_eq!(newest.last().unwrap(), &(300, item("29", 30_000)));
    quarantine.add(&[item("more", 1)]).unwrap();
    assert_eq!(quarantine.list(300, 5).unwrap(), [(301, item("more", 1))]);
    assert!(!dir.path().join("trash-7").exists());
}

#[test]
fn numbers_do_not_come_again_after_a_purge() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add(&[item("a", 1), item("b", 1)]).unwrap();
    quarantine.purge().unwrap();
    drop(quarantine);
    let quarantine = open(dir.path());
    quarantine.add(&[item("c", 1)]).unwrap();
    assert_eq!(quarantine.list(0, 5).unwrap(), [(3, item("c", 1))]);
}

#[test]
fn a_page_of_many_items_reads_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let items: Vec<Item> = (0..1_000).map(|n| item(&n.to_string(), 10)).collect();
    quarantine.add(&items).unwrap();
    let page = quarantine.list(990, 3).unwrap();
    assert_eq!(
        page,
        [991, 992, 993].map(|id| (id, items[id as usize - 1].clone()))
    );
    assert_eq!(quarantine.get(1_000).unwrap(), Some(items[999].clone()));
    assert_eq!(quarantine.list(1_000, 5).unwrap(), []);
    assert_eq!(quarantine.list(u64::MAX, 5).unwrap(), []);
}

#[test]
fn a_rejected_row_comes_back_as_what_it_was() {
    use crate::{
        sample::{FieldType, Split, Timestamp, Value},
        uploader::NamedValue,
    };
    let dir = tempfile::tempdir().unwrap();
    let row = RejectedRow {
        stream_id: 3,
        stream: "s/x".into(),
        tags: vec![("device".into(), "d".into())],
        ts: Timestamp(9),
        split: Split {
            is_train: true,
            fold: 2,
        },
        source_ts: Some(4),
        values: vec![NamedValue {
            name: "a".into(),
            kind: FieldType::F64,
            value: Value::F64(f64::INFINITY),
        }],
        reason: "out of range".into(),
    };
    let quarantine = open(dir.path());
    quarantine.reject(vec![row.clone()]).unwrap();
    assert_eq!(
        quarantine.get(1).unwrap().unwrap().content,
        Content::Row(row)
    );
}

#[test]
fn rows_that_the_buffer_holds_push_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    let row = |ts: i64| RejectedRow {
        stream_id: 1,
        stream: "s/1".into(),
        tags: vec![("device".into(), "gw1".into())],
        ts: crate::sample::Timestamp(ts),
        split: crate::sample::Split {
            is_train: true,
            fold: 0,
        },
        source_ts: None,
        values: vec![crate::uploader::NamedValue {
            name: "x".into(),
            kind: crate::sample::FieldType::Text,
            value: crate::sample::Value::Text("x".repeat(20_000).into()),
        }],
        reason: "refused".into(),
    };
    let mut taken = 0;
    let refused = loop {
        let rows = (0..10).map(|n| row(taken + n)).collect();
        match quarantine.reject(rows) {
            Ok(()) => taken += 10,
            Err(error) => break error,
        }
        assert!(taken < 10_000, "it never gets full");
    };
    assert_eq!(refused, RejectError::Full);
    assert_eq!(quarantine.len(), taken as u64);
    assert_eq!(quarantine.items_dropped.load(Relaxed), 0);
    // A publish has no other place to stay.
    let mut publish = item("many", 30_000);
    publish.records = 7;
    let mut added = 0;
    while quarantine.items_dropped.load(Relaxed) == 0 {
        quarantine.add(std::slice::from_ref(&publish)).unwrap();
        added += 1;
        assert!(added < 1_000, "nothing gives way");
    }
    let dropped = quarantine.records_dropped.load(Relaxed);
    assert_eq!(quarantine.len() + dropped, taken as u64 + added);
}
