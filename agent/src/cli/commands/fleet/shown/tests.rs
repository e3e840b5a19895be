#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    observe::heartbeat::Heartbeat,
    release::{FORMAT, verdict::Outcome},
};

fn seen(device: &str, heartbeat: Heartbeat) -> Seen {
    let heartbeat = Heartbeat {
        clock_synchronised: true,
        ..heartbeat
    };
    Seen::new(device, &[(0, heartbeat)], 1_000_000_000).unwrap()
}

#[test]
fn foreign_text_neither_breaks_lines_nor_reaches_the_terminal() {
    let hostile = "press\u{1b}[2J\n7".to_owned() + &"x".repeat(1_000);
    let said = Heartbeat {
        version: "\u{1b}c".into(),
        serving: "health 3".into(),
        problem: Some("no\nbroker".into()),
        ..Heartbeat::default()
    };
    let seen = seen(&hostile, said);
    let text = table(std::slice::from_ref(&seen)) + &one(&seen, &BTreeMap::new());
    assert!(!text.contains('\u{1b}'), "{text}");
    let table = table(&[seen]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("1 device, 1 in trouble, 0 of them silent\n"));
    assert!(
        table.contains("health 3") && table.contains("no broker"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.len() < 200), "{table}");
}

#[test]
fn what_became_of_releases_stands_below_what_a_device_says() {
    let verdict = Verdict {
        format: FORMAT,
        device: "press-7".into(),
        serial: 4,
        outcome: Outcome::Refused,
        reason: "worse".into(),
        streams: BTreeMap::new(),
        at_ns: 0,
    };
    let verdicts = [("health".to_owned(), verdict)].into();
    let text = one(&seen("press-7", Heartbeat::default()), &verdicts);
    assert!(text.starts_with("device"), "{text}");
    assert!(text.contains("health 4: refused: worse"), "{text}");
}

#[test]
fn where_nobody_says_anything_the_setting_is_named() {
    assert!(table(&[]).contains("fleet.heartbeat_s"));
}
