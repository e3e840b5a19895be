use super::*;

#[test]
fn a_filter_that_cannot_be_read_says_so() {
    for good in [
        "info",
        "WARN",
        "off",
        "info,dunlin_sync=debug",
        "a::b=trace",
        "warn, a=info",
    ] {
        assert_eq!(check_filter(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "infoo",
        "info,",
        "dunlin_sync",
        "a=loud",
        "info,[=x",
        "a=b=c",
    ] {
        assert!(check_filter(bad).is_err(), "{bad}");
    }
}
