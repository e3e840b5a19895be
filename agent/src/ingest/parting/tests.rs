use super::in_words;

#[test]
fn a_time_is_told_in_the_largest_unit_of_which_there_are_two() {
    for (seconds, words) in [
        (604_800, "7 days"),
        (86_400, "24 hours"),
        (3_600, "60 minutes"),
        (90, "90s"),
    ] {
        assert_eq!(in_words(seconds), words);
    }
}
