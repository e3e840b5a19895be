use super::*;

#[test]
fn a_seed_gives_the_same_numbers_and_another_purpose_others() {
    let draw = |seed, purpose| {
        let mut random = Random::new(seed, purpose);
        (0..8).map(|_| random.uniform(1.0)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1, 2), draw(1, 2));
    assert_ne!(draw(1, 2), draw(1, 3));
    assert_ne!(draw(1, 2), draw(2, 2));
    assert!(draw(1, 2).iter().all(|value| value.abs() <= 1.0));
}

#[test]
fn shuffling_loses_nothing_and_favours_no_place() {
    let mut counts = [[0; 4]; 4];
    for seed in 0..4000 {
        let mut items = [0, 1, 2, 3];
        Random::new(seed, 0).shuffle(&mut items);
        for (place, item) in items.into_iter().enumerate() {
            counts[place][item] += 1;
        }
    }
    let counts = counts.as_flattened();
    assert!(
        counts.iter().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}
