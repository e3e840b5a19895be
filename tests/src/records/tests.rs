#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn records_are_json_and_bad_ones_are_not_and_both_can_be_told() {
    let numbered = Numbered {
        pad_bytes: 40,
        bad_every: 7,
        wide_every: 10,
        shunned_every: 3,
        ..Numbered::new("t")
    };
    for n in 0..50 {
        let publish = numbered.publish(n);
        assert_eq!(number_in(&publish.payload), Some(n));
        let parsed = serde_json::from_slice::<serde_json::Value>(&publish.payload);
        assert_eq!(parsed.is_err(), numbered.is_bad(n));
        assert_eq!(publish, numbered.publish(n));
        let fields = parsed.map_or(0, |parsed| parsed.as_object().unwrap().len());
        assert_eq!(fields > 1_000, numbered.is_wide(n));
    }
    assert_eq!(number_in(b"{\"n\":x}"), None);
}
