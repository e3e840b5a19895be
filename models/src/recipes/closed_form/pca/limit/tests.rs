use super::*;

fn seen(count: usize) -> Thinned {
    let mut seen = Thinned::default();
    for at in 0..count {
        // Spread evenly over 0..1, each once.
        let value = (at * 7_919 % count) as f32 / count as f32;
        seen.add([value, 2.0 * value]);
    }
    seen
}

#[test]
fn many_windows_exceed_at_just_the_rate() {
    let seen = seen(10_000);
    let limit = Limit::of(&seen, 0.05, [1e-6; 2]);
    let beyond = seen.kept.iter().filter(|d| limit.score(**d) > 1.0).count();
    assert_eq!(beyond, 500);
}

#[test]
fn the_fewer_windows_the_farther_off_the_limit() {
    // Exact factors for 90 % confidence and 99 % of the population (Natrella 1963, table A-7).
    for (count, factor) in [(10, 3.53), (20, 3.05), (50, 2.73), (100, 2.60)] {
        let ours = tolerance_factor(count, 0.01);
        assert!((ours - factor).abs() < 0.1, "{count}: {ours}");
    }
    assert!((tolerance_factor(usize::MAX, 0.01) - normal_quantile(0.01)).abs() < 1e-3);
    assert!(tolerance_factor(0, 0.5).is_finite() && tolerance_factor(1, 1e-9).is_finite());
}

#[test]
fn few_windows_give_a_limit_beyond_them() {
    let limit = Limit::of(&seen(50), 1e-3, [1e-6; 2]);
    assert!(limit.0[1] > 2.0 && limit.0[1] < 20.0, "{limit:?}");
    assert!(limit.0[0] > 1.0 * WANDERING, "{limit:?}");
}

#[test]
fn very_many_windows_are_thinned_evenly() {
    let mut seen = Thinned::default();
    for at in 0..200_000 {
        seen.add([at as f32, 0.0]);
    }
    assert_eq!(seen.count(), 200_000);
    assert!(seen.kept.len() < DISTANCES_MAX);
    let steps: Vec<f32> = seen.kept.windows(2).map(|w| w[1][0] - w[0][0]).collect();
    assert!(steps.iter().all(|step| *step == 4.0), "{:?}", &steps[..9]);
}

#[test]
fn nothing_or_only_zeros_still_give_a_positive_limit() {
    let mut seen = Thinned::default();
    assert_eq!(Limit::of(&seen, 0.01, [1e-5, 1e-2]).0, [1e-5, 1e-2]);
    seen.add([f32::INFINITY, f32::NAN]);
    assert_eq!(seen.count(), 0);
    seen.add([0.0, 0.0]);
    assert_eq!(Limit::of(&seen, 0.01, [1e-5, 1e-2]).0, [1e-5, 1e-2]);
}

#[test]
fn the_normal_quantile_is_that_of_the_tables() {
    for (rate, expected) in [(0.5, 0.0), (0.01, 2.3263), (0.001, 3.0902), (0.9, -1.2816)] {
        assert!((normal_quantile(rate) - expected).abs() < 1e-3, "{rate}");
    }
}
