#![allow(clippy::unwrap_used)]
use std::path::Path;

use dunlin_sync::{sample::Timestamp, verify::Gap};
use serde_json::json;

use super::{super::repair, *};
use crate::{base::progress::RecipeProgress, observe::words};

fn status() -> Status {
    serde_json::from_value(json!({
        "version": "0.1.0", "device": "press-7", "uptime_s": 1_000,
        "mqtt": {"broker": "b:1883", "client_id": "dunlin-press-7",
            "troubles": ["the broker refuses the subscription to a/# (no\u{1b})"],
            "connected": true, "connections": 1, "publishes": 5_000,
            "acknowledged": 5_000, "duplicates": 2, "possible_duplicates": 0,
            "last_error": null},
        "records": {"received": 5_000, "committed": 4_000, "quarantined": 1_000,
            "quarantined_by_reason": {}, "records_excluded": 1_200, "dropped": 0},
        "buffer": {"generations": 1, "bytes": 100_000, "oldest_seq": 0, "next_seq": 40,
            "rows": 4_000, "rows_total": 4_000, "newest_ts": null, "bytes_max": 1_000_000,
            "full": false, "streams": 2, "commits": 40, "blocks_corrupt": 0, "set_aside": 0,
            "quarantine_bytes": 0},
        "disk": {"buffer_bytes": 100_000, "quarantine_bytes": 0, "models_bytes": 20_000,
            "set_aside_bytes": 0, "bytes": 120_000, "bytes_max": 2_000_000},
        "upstream": {"location": "sqlite:up.db", "connected": false, "uploaded": 0,
            "rejected": 0, "lag_rows": 4_000, "lag_s": 90.0, "retries": 1, "streams_held": 0,
            "held_for_clock": false, "last_error": "gone\u{1b}[2J"},
        "clock": {"skew_s": 0.0, "steps": 0, "withdrawn": 0, "unsynchronised": false},
        "flash": {"written_bytes": 1_000_000, "bytes_per_day": 86_400_000.0,
            "years_to_32_tb": 1_014.0},
        "learn": {"recipes": 1, "tasks_open": 1, "tasks_started": 4, "models_promoted": 1,
            "models_rejected": 2, "tasks_failed": 0, "rollbacks": 1, "drifts": 0,
            "predictions": 3_000, "flagged": 7, "missed": 1_200, "broken": 0, "published": 0,
            "publishes_dropped": 0}
    }))
    .unwrap()
}

#[test]
fn what_waits_in_silence_is_told() {
    let recipe = RecipeProgress {
        recipe: "health".into(),
        pattern: "vibraton/*".into(),
        rows_needed: 1_000,
        ..RecipeProgress::default()
    };
    let text = words::progress(&recipe).unwrap();
    assert_eq!(text, "health: no stream is called `vibraton/*`");
    let recipe = RecipeProgress {
        streams: 3,
        streams_waiting: 1,
        first: "vibration/m1".into(),
        rows: 980,
        ..recipe
    };
    let text = words::progress(&recipe).unwrap();
    assert_eq!(
        text,
        "health: 980 of 1,000 records towards the first model of vibration/m1; 1 of 3 streams \
         without one"
    );
    let follower = RecipeProgress {
        waits_for_release: true,
        ..recipe.clone()
    };
    let text = words::progress(&follower).unwrap();
    assert_eq!(
        text,
        "health: vibration/m1 waits for a release or an import; 980 of 1,000 records to judge it by; \
         1 of 3 streams without one"
    );
    let enough = RecipeProgress {
        rows: 1_000,
        ..recipe.clone()
    };
    let text = words::progress(&enough).unwrap();
    assert!(
        text.starts_with("health: no model of vibration/m1 has passed yet"),
        "{text}"
    );
    let recipe = RecipeProgress {
        streams_waiting: 0,
        ..recipe
    };
    assert_eq!(words::progress(&recipe), None);
    let rules: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    assert_eq!(words::silent(&rules[..1]), "never a record of stream s0");
    assert!(words::silent(&rules).ends_with("s7 and 2 more"));
    let told = Status {
        rules_silent: rules,
        http_problem: Some("taken".into()),
        ..status()
    };
    let mut lines = Lines(String::new());
    let quarantine = BTreeMap::new();
    let trouble = Trouble {
        quarantine: &quarantine,
        streams_held: 0,
        rows_held: 0,
        held_stream: None,
        times_replaced: 0,
        dropped: 0,
    };
    running(&told, &trouble, &mut lines);
    assert!(lines.0.contains("silent     never a record"), "{}", lines.0);
    assert!(
        lines.0.contains("metrics    NOT served: taken"),
        "{}",
        lines.0
    );
}

#[test]
fn a_running_agent_is_described_in_plain_words() {
    let held = Quarantined {
        items: 2,
        records: 1_000,
    };
    let shown = Shown {
        running: true,
        status: Some(status()),
        left: None,
        quarantine: [("not_json".to_owned(), held)].into(),
        verify: None,
        repair: None,
    };
    // 4 rows of 25 bytes a second; 900,000 bytes are left.
    assert_eq!(
        text(&shown),
        "quarantine 2 items with 1,000 records: 2 not_json\n\
         \x20          look: dunlin quarantine list; send again: dunlin quarantine retry --all\n\
         agent      press-7, version 0.1.0, running for 17 min\n\
         broker     connected to b:1883 as dunlin-press-7\n\
         \x20          the broker refuses the subscription to a/# (no\\u{1b})\n\
         records    5,000 received, 4,000 committed, 1,000 quarantined, 2 publishes sent twice\n\
         \x20          1,200 records not stored: include_fields and exclude_fields leave nothing of them\n\
         upstream   sqlite:up.db, NOT reached: gone\\u{1b}[2J\n\
         lag        4,000 rows, the oldest 1.5 min old\n\
         buffer     100 kB of 1.0 MB, 4,000 rows of 2 streams\n\
         \x20          lasts 2.5 h at this rate if the upstream is away\n\
         disk       120 kB of at most 2.0 MB: buffer 100 kB, quarantine 0 B, models 20.0 kB, set aside 0 B\n\
         clock      synchronised\n\
         flash      86.4 MB written a day: 1014 years to 32 TB (a 32 GB card 1,000 times over)\n\
         learning   1 model promoted, 2 refused, 1 task open, 1 taken back\n\
         \x20          3,000 records answered, 7 flagged; 1,200 records of all streams let go before that\n"
    );
}

#[test]
fn what_is_quarantined_held_or_dropped_comes_first_and_nothing_is_called_complete() {
    let all = "everything committed is upstream";
    let shown = |change: &dyn Fn(&mut Status), quarantine: &[(&str, Quarantined)]| {
        let mut status = status();
        (status.upstream.lag_rows, status.upstream.lag_s) = (0, 0.0);
        change(&mut status);
        let items = quarantine.iter().map(|(r, held)| ((*r).to_owned(), *held));
        text(&Shown {
            running: true,
            status: Some(status),
            left: None,
            quarantine: items.collect(),
            verify: None,
            repair: None,
        })
    };
    let well = shown(&|_| {}, &[]);
    assert!(well.contains(all) && well.starts_with("agent"), "{well}");
    let held = Quarantined {
        items: 1,
        records: 3,
    };
    let quarantined = shown(&|_| {}, &[("wrong_type", held)]);
    assert!(quarantined.starts_with("quarantine 1 item with 3 records: 1 wrong_type\n"));
    let held = shown(
        &|s| {
            (s.upstream.streams_held, s.upstream.rows_held) = (40, 9_000);
            s.upstream.held_stream = Some("plant/m1: no such table".into());
        },
        &[],
    );
    assert!(
        held.starts_with(
            "held       40 streams refused by the upstream; 9,000 rows wait in the buffer\n\
             \x20          plant/m1: no such table\n"
        ),
        "{held}"
    );
    let replaced = shown(&|s| s.upstream.times_replaced = 2, &[]);
    assert!(
        replaced.starts_with(
            "replaced   the database was removed or replaced, 2 times since the start\n"
        ),
        "{replaced}"
    );
    let dropped = shown(&|s| s.records.dropped = 7, &[]);
    assert!(dropped.starts_with("DROPPED    7 records"), "{dropped}");
    for text in [quarantined, held, dropped] {
        assert!(!text.contains(all), "{text}");
        assert!(text.contains("not everything"), "{text}");
    }
}

#[test]
fn a_stopped_agent_and_a_gap_are_named() {
    let shape = status().buffer.shape;
    let gap = Gap {
        stream: "plant/m1".into(),
        from: Timestamp(0),
        to: Timestamp(1_000_000_000),
        committed: 7,
        upstream: 4,
    };
    let shown = Shown {
        running: false,
        status: None,
        left: Some(LeftBehind {
            data_dir: "/d".into(),
            buffer: shape,
            lag_rows: 0,
            lag_s: 0.0,
            fields_held: vec!["`s`: `t` is held as i64".into()],
            streams_held: 0,
            rows_held: 0,
        }),
        quarantine: BTreeMap::new(),
        verify: Some(VerifyReport {
            rows_committed: 7,
            rows_upstream: 4,
            gaps: vec![gap.clone()],
            gaps_unlisted: 0,
        }),
        repair: repair(
            &VerifyReport {
                gaps: vec![gap],
                ..VerifyReport::default()
            },
            Some(Path::new("it's.toml")),
            Path::new("/d"),
        ),
    };
    assert_eq!(
        text(&shown),
        "agent      not running on /d\n\
         lag        none: everything committed is upstream\n\
         buffer     100 kB, 4,000 rows\n\
         fields     `s`: `t` is held as i64\n\
         quarantine empty\n\
         verify     7 rows committed and uploaded, 4 rows upstream\n\
         \x20          plant/m1: 3 rows missing, 0 (1970-01-01T00:00:00Z) to 1000000000 \
         (1970-01-01T00:00:01Z)\n\
         \x20          to send again what is missing: dunlin upload --again --stream plant/m1 \
         --from 0 --to 1000000000 -c 'it'\\''s.toml'\n"
    );
}
