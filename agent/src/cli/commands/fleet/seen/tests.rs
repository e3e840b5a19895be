#![allow(clippy::unwrap_used)]

use super::*;

const SECOND: i64 = 1_000_000_000;
const NOW_NS: i64 = 1_000 * SECOND;

/// Well, and heard of every ten seconds.
fn well() -> Heartbeat {
    Heartbeat {
        every_s: 10,
        broker_connected: true,
        clock_synchronised: true,
        ..Heartbeat::default()
    }
}

/// What is made of it so long after it was said.
fn after(age_s: i64, heartbeat: Heartbeat) -> Seen {
    Seen::new("d", &[(NOW_NS - age_s * SECOND, heartbeat)], NOW_NS).unwrap()
}

#[test]
fn who_misses_three_of_its_own_heartbeats_is_silent() {
    assert_eq!(Seen::new("d", &[], NOW_NS), None);
    let heard = after(30, well());
    assert_eq!((heard.silent, heard.age_s), (false, 30.0));
    assert_eq!(heard.trouble, [""; 0]);
    let silent = after(31, well());
    assert!(silent.silent);
    assert_eq!(silent.trouble, ["silent for 31 s"]);
    let rare = Heartbeat {
        every_s: 3_600,
        ..well()
    };
    assert!(!after(900, rare).silent);
    let mute = Heartbeat {
        every_s: 0,
        ..well()
    };
    assert!(!after(180, mute.clone()).silent);
    assert!(after(181, mute).silent);
}

#[test]
fn a_clock_that_is_ahead_is_told() {
    let ahead = after(-100, well());
    assert_eq!((ahead.silent, ahead.age_s), (false, 0.0));
    assert!(ahead.trouble[0].contains("ahead"), "{:?}", ahead.trouble);
    assert_eq!(after(-20, well()).trouble, [""; 0]);
}

#[test]
fn what_a_device_says_is_not_well_is_trouble_in_words() {
    let trouble = after(
        0,
        Heartbeat {
            problem: Some("not connected to the broker: refused".into()),
            dropped: 1,
            streams_held: 2,
            lag_rows: 1_234,
            lag_s: 7_200.0,
            clock_synchronised: false,
            ..well()
        },
    )
    .trouble;
    let expected = [
        "not connected to the broker: refused",
        "1 record lost for want of room",
        "2 streams refused by the database",
        "uploads are 2.0 h behind (1,234 records)",
        "its clock is not synchronised",
    ];
    assert_eq!(trouble, expected);
}

#[test]
fn two_that_take_turns_under_one_name_are_two_and_one_that_has_moved_is_not() {
    let said = |instances: &[Option<&str>]| {
        let said = instances.iter().enumerate().map(|(at, instance)| {
            let heartbeat = Heartbeat {
                instance: instance.map(str::to_owned),
                ..well()
            };
            (NOW_NS - at as i64, heartbeat)
        });
        let seen = Seen::new("d", &said.collect::<Vec<_>>(), NOW_NS).unwrap();
        seen.trouble.iter().any(|trouble| trouble.contains("two"))
    };
    let (a, b) = (Some("a"), Some("b"));
    assert!(said(&[a, b, a]));
    assert!(said(&[a, a, b, b, a]));
    assert!(!said(&[a, a, b, b]));
    assert!(!said(&[a, None, a]));
    assert!(!said(&[None, None]));
}
