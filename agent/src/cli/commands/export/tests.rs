#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_range_names_its_mistakes() {
    let error = range(Some("soon"), None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--from \"soon\" is no time; write")
    );
    assert!(range(Some("2"), Some("1")).is_err());
    assert_eq!(range(None, None).unwrap(), TimeRange::ALL);
}
