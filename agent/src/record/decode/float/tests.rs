#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn only_long_numbers_are_cut_and_stay_where_they_are() {
    for short in [
        "",
        "1.5",
        "-0.000000000000000000001234",
        "1234567890123456789",
        "abcdefghijklmnopqrstuvwxyz",
        "2026-11-29-12345678901234567890",
        "1.2.3.12345678901234567890",
        "12345678901234567890e",
    ] {
        assert_eq!(cut(short), None, "{short}");
    }
    for (long, cut_to) in [
        ("12345678901234567890", "12345678901234567890"),
        ("-12345678901234567899.5e-3", "-12345678901234567890.e-3"),
        (
            "0.001234567890123456789012E+7",
            "0.001234567890123456789E+7",
        ),
        ("9007199254740993.0000001", "9007199254740993.000"),
    ] {
        assert_eq!(cut(long).unwrap(), cut_to);
    }
}

#[test]
fn the_first_ones_are_rounded_by_every_digit() {
    let mut floats = Floats::default();
    for _ in 0..LONG_MAX {
        assert_eq!(
            floats.parse("9007199254740993.0000001"),
            Some(9_007_199_254_740_994.0)
        );
        assert_eq!(floats.parse("1.5"), Some(1.5));
    }
    assert_eq!(
        floats.parse("9007199254740993.0000001"),
        Some(9_007_199_254_740_992.0)
    );
    assert_eq!(
        floats.parse("123456789012345678901234567890"),
        Some(1.234_567_890_123_456_8e29)
    );
    assert_eq!(floats.parse("no number, however long it is"), None);
}

proptest! {
    #[test]
    fn what_is_cut_is_the_same_float_or_its_neighbour(text in "-?[0-9]{1,30}(\\.[0-9]{1,30})?(e-?[0-9]{1,2})?") {
        let mut floats = Floats { long_left: 0 };
        let (exact, cut): (f64, f64) = (text.parse().unwrap(), floats.parse(&text).unwrap());
        let near = [exact, exact.next_up(), exact.next_down()].map(f64::to_bits);
        prop_assert!(near.contains(&cut.to_bits()), "{}", text);
    }
}

proptest! {
    #[test]
    fn short_decimals_are_what_the_long_way_makes_of_them(
        text in prop_oneof!["-?[0-9]{0,15}\\.?[0-9]{0,15}", "[-+.0-9eE]{0,18}", any::<f64>().prop_map(|x| x.to_string())],
    ) {
        let bits = |number: Option<f64>| number.map(f64::to_bits);
        prop_assert_eq!(bits(parse(&text)), bits(text.parse().ok()));
    }
}
