use super::*;

fn ranges(all: &[(u64, u64)]) -> Ranges {
    let mut ranges = Ranges::default();
    for (from, to) in all {
        ranges.add(*from, *to);
    }
    ranges
}

#[test]
fn ranges_are_joined_cut_and_compared() {
    let some = ranges(&[(1, 3), (3, 4), (7, 9), (9, 9)]);
    assert_eq!(some, ranges(&[(1, 4), (7, 9)]));
    let held: Vec<u64> = (0..12).filter(|row| some.contains(*row)).collect();
    assert_eq!(held, [1, 2, 3, 7, 8]);
    assert_eq!((some.rows(), some.more()), (5, 0));
    assert_eq!(some.within(3, 8), ranges(&[(3, 4), (7, 8)]));
    assert_eq!(
        some.common(&ranges(&[(0, 2), (3, 8)])),
        ranges(&[(1, 2), (3, 4), (7, 8)])
    );
    let mut more = some.within(0, 5);
    more.extend(&ranges(&[(4, 6)]));
    assert_eq!(more, ranges(&[(1, 6)]));
}

#[test]
fn a_bounded_number_of_ranges_is_kept_and_the_rest_counted() {
    let many: Vec<(u64, u64)> = (0..RANGES_MAX as u64 + 3)
        .map(|at| (2 * at, 2 * at + 1))
        .collect();
    let many = ranges(&many);
    assert!(many.is_bounded());
    assert_eq!((many.rows(), many.more()), (RANGES_MAX as u64 + 3, 3));
    assert_eq!(many.within(0, 1).more(), 3);
}
