#![allow(clippy::unwrap_used)]

use super::*;

fn empty(inputs: usize) -> NormalEquations {
    NormalEquations::new(Size { inputs, outputs: 1 })
}

/// y = 2 a - b + 3, over a grid.
fn equations(rows: usize) -> NormalEquations {
    let mut equations = empty(2);
    for row in 0..rows {
        equations.add(|x, y| {
            x.copy_from_slice(&[(row % 7) as f64, (row % 5) as f64]);
            y[0] = 2.0 * x[0] - x[1] + 3.0;
        });
    }
    equations.flush();
    equations
}

#[test]
fn finds_what_generated_the_rows_whatever_the_block() {
    for rows in [40, BLOCK_ROWS, BLOCK_ROWS + 1, 1_000] {
        let equations = equations(rows);
        assert_eq!(equations.rows(), rows as f64);
        let weights = equations.solve(0.0).unwrap();
        for (weight, expected) in weights.iter().zip([2.0, -1.0, 3.0]) {
            assert!((weight - expected).abs() < 1e-9, "{weights}");
        }
        assert!(equations.loss(&weights) < 1e-9);
    }
}

#[test]
fn duplicated_constant_and_single_rows_stay_solvable() {
    let mut equations = empty(3);
    equations.add(|x, y| {
        x.copy_from_slice(&[1.0, 1.0, 0.0]);
        y[0] = 1.0;
    });
    equations.flush();
    assert!(equations.solve(0.0).is_some());
    assert!(equations.solve(1e-3).is_some());
    assert!(empty(0).solve(1e-3).is_none());
}

#[test]
fn forgetting_everything_leaves_what_comes_after() {
    let mut equations = equations(100);
    equations.forget(0.0);
    for row in 0..50 {
        equations.add(|x, y| {
            x.copy_from_slice(&[f64::from(row % 7), f64::from(row % 5)]);
            y[0] = x[0];
        });
    }
    equations.flush();
    let weights = equations.solve(0.0).unwrap();
    assert!((weights[0] - 1.0).abs() < 1e-9 && weights[1].abs() < 1e-9);
}

#[test]
fn sums_that_are_not_finite_have_no_solution() {
    let mut equations = empty(1);
    equations.add(|x, y| {
        x[0] = 1e200;
        y[0] = 1e200;
    });
    equations.flush();
    assert!(equations.solve(1e-3).is_none());
}
