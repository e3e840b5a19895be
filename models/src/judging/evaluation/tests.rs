#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    data::{Columns, InMemory},
    judging::baseline::baseline,
};

fn scale() -> Scale {
    Scale {
        mean: vec![0.0, 0.0],
        std: vec![1.0, 2.0],
    }
}

fn rows() -> Rows {
    Rows {
        ts: vec![0, 1, 2],
        values: vec![0.0, 0.0, 1.0, 2.0, 3.0, 4.0],
        label: vec![0.0, 1.0, 2.0],
        is_train: vec![false; 3],
        ..Rows::default()
    }
}

const WINDOW: Window = Window {
    start: 0,
    split_at: 1,
    end: 3,
};

fn count(problem: Problem, values: &[f32], flag: bool) -> (Evaluation, Option<f64>) {
    let mut evaluation = Evaluation::default();
    let output = Output {
        values: values.to_vec(),
        flag,
        ..Output::default()
    };
    let error = evaluation.count(problem, &scale(), &rows(), WINDOW, &output);
    (evaluation, error)
}

#[test]
fn a_forecast_is_judged_in_standard_deviations() {
    let (evaluation, error) = count(Problem::Forecast, &[0.0, 0.0, 3.0, 0.0], false);
    // Errors 1, 1 (2 of 2), 0, 2 (4 of 2).
    assert_eq!(error, Some(6.0 / 4.0));
    assert_eq!(evaluation.mse_by_feature(), [0.5, 2.5]);
    assert_eq!(evaluation.mae_by_feature(), [0.5, 1.5]);
    assert!((evaluation.mae() - 1.0).abs() < 1e-12);
    assert_eq!(count(Problem::Forecast, &[0.0], false).1, None);
}

#[test]
fn an_anomaly_is_counted_by_its_label_and_judged_by_its_last_row() {
    let (evaluation, error) = count(Problem::Anomaly, &[2.0, 4.0], true);
    assert_eq!((evaluation.flagged, error), ([0, 1], Some(0.5)));
    let (evaluation, error) = count(Problem::Anomaly, &[], false);
    assert_eq!((evaluation.unflagged, error), ([0, 1], None));
    assert!((evaluation.missed_alarm_rate() - 1.0).abs() < 1e-12);
}

#[test]
fn a_class_is_right_or_wrong_and_a_number_is_off_by_so_much() {
    assert_eq!(
        count(Problem::Classify, &[0.1, 0.2, 0.7], false).1,
        Some(0.0)
    );
    assert_eq!(
        count(Problem::Classify, &[0.5, 0.2, 0.3], false).1,
        Some(1.0)
    );
    let (evaluation, error) = count(Problem::Regress, &[5.0], false);
    assert_eq!(error, Some(9.0));
    assert!((evaluation.mae() - 3.0).abs() < 1e-12);
}

#[test]
fn without_windows_the_error_is_infinite() {
    assert!(Evaluation::default().error().is_infinite());
}

#[test]
fn streams_have_figures_of_their_own_beside_those_of_all() {
    let chunk = |stream: &str, factor: f32| {
        let values = (0..12).map(|at| at as f32 * factor);
        Arc::new(Rows {
            stream: stream.into(),
            ts: (0..6).collect(),
            values: values.collect(),
            is_train: (0..6).map(|row| row % 2 == 0).collect(),
            ..Rows::default()
        })
    };
    let source = InMemory {
        columns: Columns {
            features: vec!["a".into(), "b".into()],
            ..Columns::default()
        },
        chunks: vec![chunk("one", 1.0), chunk("two", 3.0), chunk("one", 2.0)],
        ..InMemory::default()
    };
    let shape = WindowShape {
        lookback: 1,
        horizon: 1,
    };
    let what = (Problem::Forecast, shape);
    let model = baseline(Problem::Forecast, shape, &source).unwrap();
    let subset = Subset::Validation;
    let all = evaluate(&*model, what, &scale(), &source, subset).unwrap();
    let (same, streams) = evaluate_by_stream(&*model, what, &scale(), &source, subset).unwrap();
    assert_eq!(same, all);
    let windows = streams.iter().map(|(name, one)| (&**name, one.windows));
    assert_eq!(windows.collect::<Vec<_>>(), [("one", 6), ("two", 3)]);
    // Repeating the last row is off by 2 a factor: 4 in `a`, a quarter in `b`, whose deviation is 2.
    let error = |factor: f64| factor * factor * (4.0 + 1.0) / 2.0;
    assert!((streams["two"].error() - error(3.0)).abs() < 1e-9);
    let mean = f64::midpoint(error(1.0), error(2.0));
    assert!((streams["one"].error() - mean).abs() < 1e-9);
}
