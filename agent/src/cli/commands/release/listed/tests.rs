#![allow(clippy::unwrap_used)]

use super::*;
use crate::release::signing::SigningKey;

fn verdict(device: &str, serial: u64, outcome: Outcome) -> Verdict {
    Verdict {
        format: release::FORMAT,
        device: device.into(),
        serial,
        outcome,
        reason: format!("because of {device}"),
        streams: BTreeMap::new(),
        at_ns: 0,
    }
}

#[test]
fn the_last_verdict_of_each_device_counts_and_the_newest_release_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::make(&dir.path().join("key")).unwrap();
    let release = |serial| Release {
        format: release::FORMAT,
        line: "health".into(),
        serial,
        sha256: "ab".repeat(32),
        bytes: 5,
        share_percent: 5.0,
        published_ns: 0,
        paused: serial == 2,
    };
    let documents = [1, 2].map(|serial| key.sign(&release(serial)).unwrap());
    let verdicts = vec![
        verdict("a", 1, Outcome::Serves),
        verdict("b", 1, Outcome::Serves),
        verdict("b", 1, Outcome::RolledBack),
        verdict("a", 2, Outcome::Refused),
    ];
    let all = listed(&documents, verdicts);
    let serials: Vec<u64> = all.iter().map(|listed| listed.release.serial).collect();
    assert_eq!(serials, [2, 1]);
    assert_eq!(all[0].devices, [(Outcome::Refused, 1)].into());
    let devices = [(Outcome::Serves, 1), (Outcome::RolledBack, 1)];
    assert_eq!(all[1].devices, devices.into());
    let table = table(&all);
    assert!(table.contains("paused") && table.contains("5 %"), "{table}");
    assert!(
        table.contains("health 1 on b: rolled back: because of b"),
        "{table}"
    );
    assert!(!table.contains("on a: serves"), "{table}");
}

#[test]
fn what_is_no_release_is_not_shown() {
    let document = Document {
        serial: 1,
        bytes: b"{}".to_vec(),
    };
    assert_eq!(listed(&[document], Vec::new()), []);
    assert_eq!(table(&[]), "nothing was released\n");
}
