#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::*;
use crate::mqtt::url::BrokerUrl;

fn options() -> SimulateOptions {
    SimulateOptions::new(BrokerUrl::parse("mqtt://h").unwrap())
}

#[test]
fn takes_turns_and_numbers_the_good_ones() {
    let mut fleet = Fleet::new(&SimulateOptions {
        streams: 12,
        bad_every: 5,
        ..options()
    });
    let mut topics = Vec::new();
    for made in 1..=36 {
        let words = fleet.reading(1_700_000_000_000);
        topics.push(words.topic.to_owned());
        let json = serde_json::from_slice::<Value>(words.payload);
        assert_eq!(json.is_err(), made % 5 == 0);
        if let Ok(json) = json {
            assert!(json["vibration_mm_s"].is_f64() && json["rpm"].is_f64());
            assert_eq!(json["time"], 1_700_000_000_000_i64);
        }
    }
    assert_eq!(topics[0], "plant/line1/machine1/vibration");
    assert_eq!(topics[11], "plant/line2/machine2/vibration");
    assert_eq!(topics[..12], topics[12..24]);
    let mut report = Report::default();
    fleet.report(&mut report);
    assert_eq!(
        (report.published, report.bad, report.streams.len()),
        (36, 7, 12)
    );
    assert_eq!(report.streams.values().sum::<u64>(), 29);
}

#[test]
fn tells_the_truth_when_it_changes() {
    let mut fleet = Fleet::new(&SimulateOptions {
        streams: 2,
        fault_gap_s: 20.0,
        rate: 2.0,
        ..options()
    });
    let mut truths = Vec::new();
    for _ in 0..2000 {
        fleet.reading(0);
        if let Some((topic, truth)) = fleet.truth() {
            assert!(topic.ends_with("/fault"));
            truths.push((
                topic.to_owned(),
                serde_json::from_str::<Value>(&truth).unwrap(),
            ));
        }
    }
    let of_one: Vec<_> = truths
        .iter()
        .filter(|(t, _)| t.contains("machine1/"))
        .collect();
    assert!(of_one.len() > 4);
    // Something changes each time: which fault, or how bad it is.
    let what = |truth: &Value| (truth["fault"].clone(), truth["state"].clone());
    assert!(
        of_one
            .windows(2)
            .all(|pair| what(&pair[0].1) != what(&pair[1].1))
    );
    assert!(of_one.iter().any(|(_, truth)| truth["state"] == "faulty"));
}
