//! The demo of a fleet, as somebody would start it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::PROGRAM;

#[test]
fn the_fleets_demo_balances_though_a_builder_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args([
            "demo",
            "--fleet",
            "2",
            "--seconds",
            "1",
            "--seed",
            "3",
            "--json",
            "--dir",
        ])
        .arg(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |key: &str| account[key].as_u64().unwrap();
    assert_eq!(account["complete"], true, "{account}");
    assert!(count("published") > 2 * 600, "{account}");
    assert_eq!(
        count("published"),
        count("committed") + count("quarantined")
    );
    assert_eq!(count("committed"), count("upstream_rows"));
    assert_eq!(
        (count("jobs"), count("jobs_done_once")),
        (3, 3),
        "{account}"
    );
    assert_eq!(count("builders_killed"), 1, "{account}");
    assert!(count("attempts_expired") >= 1, "{account}");
    let judged = account["release"].as_object().unwrap();
    let judged: u64 = judged.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(judged, 2, "{account}");
}
