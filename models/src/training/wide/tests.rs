use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_width_gives_the_same_bits(numbers in proptest::collection::vec(-1e3f32..1e3, 0..200)) {
        let change = |number: f32| (number * 0.1 + 3.0) / (number.abs().sqrt() + 1e-3);
        let mut changed = numbers.clone();
        map(&mut changed, change);
        let expected: Vec<f32> = numbers.iter().map(|number| change(*number)).collect();
        prop_assert_eq!(&changed, &expected);
        // As if there were no wider instructions than all processors have.
        prop_assert_eq!(dot(&numbers, &changed), Dot(&numbers, &changed).call());
        map_with(&mut changed, &numbers, |a, b| a * b + a);
        for ((found, a), b) in changed.iter().zip(expected).zip(numbers) {
            prop_assert_eq!(*found, a * b + a);
        }
    }
}
