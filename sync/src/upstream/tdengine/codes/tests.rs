use super::*;

#[test]
fn each_number_asks_for_one_thing() {
    for code in 0..=0xFFFF {
        let asks = [
            needs_somebody(code),
            ends_the_connection(code),
            is_stale(code),
            is_about_rows(code),
        ];
        assert!(asks.iter().filter(|ask| **ask).count() <= 1, "{code:#06x}");
    }
    assert!(is_about_rows(OUT_OF_RANGE) && is_about_rows(0x0118) && is_about_rows(0x2653));
    assert!(is_stale(0x2603) && needs_somebody(0x0357) && ends_the_connection(0x0388));
    // No disk space, not the leader, flow control: later.
    for later in [0x012E, 0x090C, 0x050C] {
        assert!(!needs_somebody(later) && !is_stale(later) && !is_about_rows(later));
        assert!(!ends_the_connection(later));
    }
}
