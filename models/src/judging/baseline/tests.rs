#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::data::{Columns, InMemory, Rows};

fn source(values: Vec<f32>, label: Vec<f32>, classes: usize) -> InMemory {
    let rows = values.len();
    InMemory {
        columns: Columns {
            features: vec!["a".into()],
            label: Some("l".into()),
            classes: (0..classes).map(|class| class.to_string()).collect(),
        },
        chunks: vec![Arc::new(Rows {
            ts: (0..rows as i64).collect(),
            values,
            label,
            is_train: vec![true; rows],
            ..Rows::default()
        })],
        ..InMemory::default()
    }
}

fn answer(model: &dyn Model, input: &[f32]) -> Output {
    let mut output = Output::default();
    model.infer(input, &mut Scratch::default(), &mut output);
    output
}

const SHAPE: WindowShape = WindowShape {
    lookback: 12,
    horizon: 3,
};

#[test]
fn a_season_is_found_and_repeated() {
    let wave = |row: usize| [0.0, 1.0, 5.0, 2.0, 0.5, -3.0, 1.0][row % 7] + row as f32 * 1e-3;
    let source = source((0..400).map(wave).collect(), Vec::new(), 0);
    assert_eq!(season_of(&source, 12).unwrap(), Some(7));
    assert_eq!(season_of(&source, 6).unwrap(), None);
    let model = baseline(Problem::Forecast, SHAPE, &source).unwrap();
    let input: Vec<f32> = (0..12).map(|x| x as f32).collect();
    assert_eq!(answer(&*model, &input).values, [5.0, 6.0, 7.0]);
    let model = with_season(Problem::Forecast, SHAPE, &source, Some(2)).unwrap();
    assert_eq!(answer(&*model, &input).values, [10.0, 11.0, 10.0]);
    let model = with_season(Problem::Forecast, SHAPE, &source, Some(900)).unwrap();
    assert_eq!(answer(&*model, &input).values, [0.0, 1.0, 2.0]);
}

#[test]
fn a_walk_repeats_the_last_row() {
    let mut value = 0.0;
    let walk = (0..400_i32).map(|row| {
        value += if (row * row) % 17 < 8 { 1.0 } else { -0.5 };
        value
    });
    let model = baseline(
        Problem::Forecast,
        SHAPE,
        &source(walk.collect(), Vec::new(), 0),
    );
    let input: Vec<f32> = (0..12).map(|x| x as f32).collect();
    assert_eq!(answer(&*model.unwrap(), &input).values, [11.0; 3]);
}

#[test]
fn other_tasks_answer_with_what_is_usual() {
    let shape = WindowShape {
        lookback: 1,
        horizon: 0,
    };
    let data = source(vec![1.0, 3.0, 1.0, 3.0], vec![0.0, 2.0, 2.0, f32::NAN], 3);
    let model = baseline(Problem::Anomaly, shape, &data).unwrap();
    assert_eq!(answer(&*model, &[4.0]).values, [2.0]);
    assert!(!answer(&*model, &[4.0]).flag && answer(&*model, &[6.0]).flag);
    let model = baseline(Problem::Classify, shape, &data).unwrap();
    assert_eq!(answer(&*model, &[4.0]).values, [1.0 / 3.0, 0.0, 2.0 / 3.0]);
    let model = baseline(Problem::Regress, shape, &data).unwrap();
    assert!((answer(&*model, &[4.0]).values[0] - 4.0 / 3.0).abs() < 1e-6);
    assert_eq!(model.save(), model.save());
}

#[test]
fn no_rows_and_no_numbers_give_zeros() {
    for values in [vec![], vec![f32::NAN; 3]] {
        for problem in [
            Problem::Forecast,
            Problem::Anomaly,
            Problem::Classify,
            Problem::Regress,
        ] {
            let model = baseline(problem, SHAPE, &source(values.clone(), vec![], 0)).unwrap();
            let answer = answer(&*model, &[0.0; 12]);
            assert!(answer.values.iter().all(|v| *v == 0.0), "{problem:?}");
        }
    }
}
