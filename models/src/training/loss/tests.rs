use super::*;

/// The gradient that small differences show.
fn slopes(loss: &Loss, outputs: &[f32], targets: &[f32], samples: usize) -> Vec<f32> {
    let at = |place: usize, by: f32| {
        let mut moved = outputs.to_vec();
        moved[place] += by;
        loss.differentiate(&mut moved, targets, samples)
    };
    let places = 0..outputs.len();
    places
        .map(|place| ((at(place, 1e-2) - at(place, -1e-2)) / 2e-2) as f32)
        .collect()
}

#[test]
fn gradients_are_what_small_differences_show() {
    let classes = Loss::CrossEntropy {
        weights: vec![1.0, 0.5, 2.0],
    };
    let outputs = [0.3, -0.2, 0.9, 1.0, 0.1, -0.5];
    for (loss, targets) in [
        (&Loss::Squares, &[0.1, 0.0, 0.5, 2.0, -1.0, 0.0][..]),
        (&classes, &[2.0, 1.0][..]),
    ] {
        let mut gradient = outputs;
        loss.differentiate(&mut gradient, targets, 2);
        for (found, expected) in gradient.iter().zip(slopes(loss, &outputs, targets, 2)) {
            assert!(
                (found - expected).abs() < 1e-4,
                "{loss:?}: {found} {expected}"
            );
        }
    }
}

#[test]
fn softmax_of_great_numbers_stays_finite() {
    let mut row = [1e30, 0.0, -1e30];
    softmax(&mut row);
    assert_eq!(row, [1.0, 0.0, 0.0]);
}
