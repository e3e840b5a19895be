use super::*;

#[test]
fn what_passes_by_itself_is_tried_again() {
    for code in [
        "57P01", "57014", "08006", "40P01", "40001", "53100", "53300", "58030", "XX000",
    ] {
        assert_eq!(cause(code), Cause::Moment, "{code}");
    }
}

#[test]
fn what_somebody_must_change_is_told_apart_from_a_table_and_from_a_row() {
    for code in ["28P01", "28000", "25006", "3D000", "3F000"] {
        assert!(matches!(cause(code), Cause::Setup(_)), "{code}");
    }
    for code in [
        "42501", "42P01", "42703", "42804", "42P10", "0A000", LOCKED, "58P01", "XX001", "XX002",
    ] {
        assert_eq!(cause(code), Cause::Table, "{code}");
    }
    for code in ["22001", "22P05", "23514", "54000", "P0001"] {
        assert_eq!(cause(code), Cause::Row, "{code}");
    }
}
