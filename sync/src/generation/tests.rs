#![allow(clippy::unwrap_used)]

use super::*;

fn entry(key: &[u8]) -> Entry {
    (key.to_vec(), b"value".to_vec())
}

#[test]
fn errors_are_told_by_what_to_do_next() {
    let of = |errno: Errno| from_io(errno.into());
    assert!(matches!(of(Errno::NOSPC), GenerationError::Full));
    assert!(matches!(of(Errno::DQUOT), GenerationError::Full));
    assert!(matches!(of(Errno::IO), GenerationError::Unreadable(_)));
    assert!(matches!(of(Errno::MFILE), GenerationError::Refused(_)));
    assert!(matches!(of(Errno::ACCESS), GenerationError::Refused(_)));
    assert!(matches!(of(Errno::ROFS), GenerationError::Refused(_)));
    assert!(matches!(of(Errno::NOTDIR), GenerationError::Damaged(_)));
    let torn = io::Error::other("encountered torn segment");
    assert!(matches!(from_io(torn), GenerationError::Damaged(_)));
}

#[test]
fn opens_again_while_the_one_before_is_still_closing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("1");
    let first = Generation::create(&path, vec![entry(b"a")]).unwrap();
    let closing = std::thread::spawn(move || {
        sleep(Duration::from_millis(50));
        drop(first);
    });
    let again = Generation::open(&path).unwrap();
    assert!(again.get(b"a").unwrap().is_some());
    closing.join().unwrap();
}

#[test]
fn opens_whatever_a_kill_left_of_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("1");
    drop(Generation::create(&path, vec![entry(b"a")]).unwrap());
    let snapshots = |path: &Path| {
        let entries = fs::read_dir(path).unwrap().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_snapshot = |path: &PathBuf| path.to_string_lossy().contains("snap.");
        paths.filter(is_snapshot).collect::<Vec<_>>()
    };
    for (number, left) in [&b""[..], b"torn", &[0; 452]].iter().enumerate() {
        let name = format!("snap.7FFFFFFF0000000{number}.generating");
        fs::write(path.join(name), left).unwrap();
        let generation = Generation::open_existing(&path).unwrap();
        assert!(generation.get(b"a").unwrap().is_some(), "{left:?}");
        let key = format!("b{number}");
        generation.put(vec![entry(key.as_bytes())]).unwrap();
        drop(generation);
        assert!(snapshots(&path).len() <= 1, "{:?}", snapshots(&path));
    }
    let generation = Generation::open_existing(&path).unwrap();
    assert!(generation.get(b"b2").unwrap().is_some());
}

#[test]
fn a_scan_starts_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let keys: [&[u8]; 4] = [b"a1", b"b1", b"b2", b"c1"];
    let entries = keys.map(entry).to_vec();
    let generation = Generation::create(&dir.path().join("1"), entries).unwrap();
    let from = |first: &[u8]| {
        let mut found = Vec::new();
        let scanned = generation.scan_from(b"b", first, |key, _| {
            found.push(key.to_vec());
            true
        });
        scanned.unwrap();
        found
    };
    assert_eq!(from(b"b"), [b"b1", b"b2"]);
    assert_eq!(from(b"b2"), [b"b2"]);
    assert!(from(b"b3").is_empty());
}
