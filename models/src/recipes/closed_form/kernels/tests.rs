#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::*;
use crate::{
    data::{Columns, InMemory, Rows},
    recipe::NullHost,
};

const SHAPE: WindowShape = WindowShape {
    lookback: 50,
    horizon: 0,
};

fn source(rows: usize, features: usize) -> InMemory {
    let value = |at: usize| ((at * 7_919 + 13) % 101) as f32 / 101.0 + (at as f32 * 0.1).sin();
    let rows = Rows {
        ts: (0..rows as i64).collect(),
        values: (0..rows * features).map(value).collect(),
        label: vec![0.0; rows],
        is_train: vec![true; rows],
        ..Rows::default()
    };
    InMemory {
        columns: Columns {
            features: (0..features).map(|feature| format!("f{feature}")).collect(),
            label: Some("class".into()),
            classes: vec!["one".into()],
        },
        chunks: vec![Arc::new(rows)],
        ..InMemory::default()
    }
}

fn drawn(data: &InMemory, shape: WindowShape, seed: u64) -> (Kernels, Scale) {
    let scale = Scale::fit(data).unwrap();
    let kernels = Kernels::draw(data, shape, &scale, seed, &mut NullHost::default());
    (kernels.unwrap(), scale)
}

#[test]
fn a_vector_of_results_counts_as_one_by_one() {
    for (lookback, features) in [(1, 1), (8, 2), (9, 1), (50, 3), (131, 20)] {
        let shape = WindowShape {
            lookback,
            horizon: 0,
        };
        let data = source(lookback + 40, features);
        let (kernels, scale) = drawn(&data, shape, 3);
        assert_eq!(kernels.len(), KERNELS);
        let input = data.chunks[0].values_of(20..20 + lookback, features);
        let mut scratch = Scratch::default();
        let counts = kernels.count(input, &scale, &mut scratch).to_vec();
        let mut channels = vec![0.0; input.len()];
        by_channel(input, &scale, &mut channels);
        for (kernel, count) in kernels.0.iter().zip(counts) {
            assert!(kernel.fits(lookback, features), "{kernel:?}");
            let mut room = vec![7.0; kernel.room(lookback)];
            let places = kernel.lay(&channels, lookback, &mut room);
            let above = places.filter(|place| kernel.result(&room, *place) > kernel.bias);
            assert_eq!(above.count() as f32, count, "{kernel:?}");
        }
    }
}

#[test]
fn a_result_is_the_weighted_sum_of_nine_numbers_a_dilation_apart() {
    let kernel = Kernel {
        pattern: THREES.iter().position(|three| *three == [0, 4, 8]).unwrap(),
        dilation: 2,
        is_padded: false,
        channels: vec![0, 1],
        bias: 0.0,
    };
    let channels: Vec<f32> = (0..40).map(|at| (at * at % 13) as f32).collect();
    let mut room = vec![0.0; kernel.room(20)];
    let places = kernel.lay(&channels, 20, &mut room);
    assert_eq!(places.len(), 20 - 16);
    for (row, place) in places.enumerate() {
        let sum = |tap: usize| channels[row + 2 * tap] + channels[20 + row + 2 * tap];
        let weighed = (0..9).map(|tap| if tap % 4 == 0 { 2.0 } else { -1.0 } * sum(tap));
        assert_eq!(kernel.result(&room, place), weighed.sum::<f32>());
    }
}

#[test]
fn the_seed_and_the_training_windows_decide_which_kernels_there_are() {
    let mut data = source(200, 3);
    let (first, _) = drawn(&data, SHAPE, 1);
    assert_eq!(drawn(&data, SHAPE, 1).0, first);
    assert_ne!(drawn(&data, SHAPE, 2).0, first);
    // Rows that are for validation decide nothing.
    let mut rows = Rows::clone(&data.chunks[0]);
    rows.is_train[150..].fill(false);
    data.chunks = vec![Arc::new(rows.clone())];
    let (before, _) = drawn(&data, SHAPE, 1);
    rows.values[150 * 3..].fill(1e6);
    data.chunks = vec![Arc::new(rows)];
    assert_eq!(drawn(&data, SHAPE, 1).0, before);
}

#[test]
fn kernels_that_reach_out_of_the_window_are_damage() {
    let data = source(200, 3);
    let (kernels, _) = drawn(&data, SHAPE, 1);
    let mut artifact = Artifact::default();
    kernels.save(&mut artifact);
    assert_eq!(Kernels::load(&artifact, 50, 3), Ok(kernels.clone()));
    let damaged = |change: fn(&mut Kernel)| {
        let mut kernels = kernels.clone();
        change(&mut kernels.0[100]);
        let mut artifact = Artifact::default();
        kernels.save(&mut artifact);
        let loaded = Kernels::load(&artifact, 50, 3);
        assert!(
            matches!(loaded, Err(ArtifactError::Damaged(_))),
            "{loaded:?}"
        );
    };
    damaged(|kernel| kernel.dilation = 7);
    damaged(|kernel| kernel.dilation = 0);
    damaged(|kernel| kernel.pattern = 85);
    damaged(|kernel| kernel.channels = vec![3]);
    damaged(|kernel| kernel.channels.clear());
}
