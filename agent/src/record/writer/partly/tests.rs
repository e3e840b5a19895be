use super::*;

#[test]
fn so_many_a_minute_are_kept_and_then_none() {
    let mut partly = PartlyKept::new();
    let begin = partly.since;
    let kept = (0..200).filter(|_| partly.may_be_kept(begin)).count();
    assert_eq!(kept, PartlyKept::COUNT_MAX as usize);
    assert!(partly.may_be_kept(begin + PartlyKept::MINUTE));
}
