use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const BOUND: u64 = 64;

/// Gaps of the model below `bound`, the slow way.
fn model_gaps(model: &BTreeSet<u64>, bound: u64) -> Vec<Range<u64>> {
    let mut gaps: Vec<Range<u64>> = Vec::new();
    for number in (0..bound).filter(|number| !model.contains(number)) {
        match gaps.last_mut() {
            Some(gap) if gap.end == number => gap.end += 1,
            _ => gaps.push(number..number + 1),
        }
    }
    gaps
}

proptest! {
    #[test]
    fn behaves_like_a_set(
        operations in prop::collection::vec((any::<bool>(), 0..BOUND, 0..12u64), 0..60),
        bound in 0..BOUND + 20,
    ) {
        let mut set = IntervalSet::default();
        let mut model = BTreeSet::new();
        for (insert, start, length) in operations {
            let range = start..start + length;
            if insert {
                set.insert(range.clone());
                model.extend(range);
            } else {
                set.remove(range.clone());
                model.retain(|number| !range.contains(number));
            }
            let members: Vec<u64> = set.ranges().flatten().collect();
            prop_assert_eq!(&members, &model.iter().copied().collect::<Vec<_>>());
        }
        let ranges: Vec<_> = set.ranges().collect();
        prop_assert!(ranges.iter().all(|range| range.start < range.end));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        for number in 0..BOUND + 20 {
            prop_assert_eq!(set.contains(number), model.contains(&number));
        }
        let gaps = model_gaps(&model, bound);
        prop_assert_eq!(set.gaps(bound).collect::<Vec<_>>(), gaps.clone());
        prop_assert_eq!(set.first_gap(bound), gaps.first().cloned());
        prop_assert_eq!(set.last_gap(bound), gaps.last().cloned());
        prop_assert_eq!(set.end(), model.last().map_or(0, |last| last + 1));
        let first = (0..=BOUND + 20).find(|number| !model.contains(number));
        prop_assert_eq!(Some(set.first_missing()), first);
        let again = IntervalSet::from(Vec::from(set.clone()));
        prop_assert_eq!(again, set);
    }

    #[test]
    fn any_stored_ranges_are_survived(ranges: Vec<(u64, u64)>) {
        let set = IntervalSet::from(ranges.clone());
        for (start, end) in ranges {
            prop_assert!(start >= end || (set.contains(start) && set.contains(end - 1)));
        }
    }
}
