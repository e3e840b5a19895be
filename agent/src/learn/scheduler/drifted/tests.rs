#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn drift_that_nobody_has_looked_into_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let keys = ["a", "b"].map(|stream| ModelKey::new("r", stream));
    let drifted = Drifted::open(dir.path());
    for key in &keys {
        drifted.note(key);
    }
    drifted.forget(&keys[0]);
    let drifted = Drifted::open(dir.path());
    assert_eq!(keys.each_ref().map(|key| drifted.has(key)), [false, true]);
    std::fs::write(dir.path().join(FILE), "rubbish").unwrap();
    assert!(!Drifted::open(dir.path()).has(&keys[1]));
}
