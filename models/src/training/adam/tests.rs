use super::*;

#[test]
fn the_first_step_goes_by_the_rate_against_the_sign() {
    let mut parameters = [1.0, 1.0, 1.0];
    Adam::new(3).step(&mut parameters, &[0.5, -0.25, 0.0], 0.1, 9.0);
    for (found, expected) in parameters.iter().zip([0.9, 1.1, 1.0]) {
        assert!((found - expected).abs() < 1e-6, "{parameters:?}");
    }
}

#[test]
fn a_long_gradient_counts_as_one_of_the_longest_length() {
    let (mut clipped, mut short) = (Adam::new(2), Adam::new(2));
    clipped.step(&mut [0.0; 2], &[300.0, 400.0], 0.1, 1.0);
    short.step(&mut [0.0; 2], &[0.6, 0.8], 0.1, 1.0);
    for (clipped, short) in clipped.mean.iter().zip(&short.mean) {
        assert!((clipped - short).abs() < 1e-7);
    }
}

#[test]
fn finds_the_bottom_of_a_bowl() {
    let (mut adam, mut at) = (Adam::new(2), [3.0, -2.0]);
    for _ in 0..2000 {
        let gradient = [2.0 * (at[0] - 1.0), 20.0 * (at[1] - 0.5)];
        adam.step(&mut at, &gradient, 0.02, 100.0);
    }
    assert!(
        (at[0] - 1.0f32).abs() < 1e-2 && (at[1] - 0.5f32).abs() < 1e-2,
        "{at:?}"
    );
}
