#![allow(clippy::unwrap_used)]

use super::*;

fn run(machine: &mut Machine, steps: usize, dt_s: f64) -> Vec<(Reading, Option<Fault>)> {
    (0..steps)
        .map(|_| (machine.next(dt_s), machine.fault()))
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    sum / count
}

#[test]
fn the_same_seed_gives_the_same_machine() {
    let readings = |seed| run(&mut Machine::new(seed, 60.0), 500, 0.5);
    assert_eq!(readings(7), readings(7));
    assert_ne!(readings(7), readings(8));
}

#[test]
fn a_healthy_machine_stays_in_its_ranges() {
    for (reading, fault) in run(&mut Machine::new(1, 0.0), 100_000, 1.0) {
        assert_eq!(fault, None);
        assert!((0.5..4.0).contains(&reading.vibration_mm_s), "{reading:?}");
        assert!(reading.peak_mm_s >= reading.vibration_mm_s, "{reading:?}");
        assert!((20.0..90.0).contains(&reading.temperature_c), "{reading:?}");
        assert!((2.0..20.0).contains(&reading.current_a), "{reading:?}");
        assert!((1400.0..1510.0).contains(&reading.rpm), "{reading:?}");
    }
}

#[test]
fn faults_come_go_and_show() {
    let all = run(&mut Machine::new(3, 300.0), 50_000, 1.0);
    let with = |kind| {
        let all = all.clone().into_iter();
        all.filter(move |(_, f)| f.is_some_and(|f| f.kind == kind && f.severity > 0.3))
    };
    let healthy = || {
        all.iter()
            .filter(|(_, fault)| fault.is_none())
            .map(|(r, _)| r)
    };
    let peak = mean(healthy().map(|r| r.peak_mm_s));
    assert!(mean(with(FaultKind::Bearing).map(|(r, _)| r.peak_mm_s)) > 1.5 * peak);
    let rms = mean(healthy().map(|r| r.vibration_mm_s));
    assert!(mean(with(FaultKind::Imbalance).map(|(r, _)| r.vibration_mm_s)) > 1.5 * rms);
    let hot = mean(healthy().map(|r| r.temperature_c));
    assert!(mean(with(FaultKind::Overheating).map(|(r, _)| r.temperature_c)) > hot + 3.0);
    assert!(healthy().count() > 25_000);
}

#[test]
fn any_step_is_stable() {
    for dt_s in [0.0, 1e-6, 10.0, 1e6] {
        for (reading, _) in run(&mut Machine::new(5, 60.0), 100, dt_s) {
            let Reading {
                vibration_mm_s,
                temperature_c,
                rpm,
                ..
            } = reading;
            assert!(vibration_mm_s.is_finite() && temperature_c.is_finite() && rpm.is_finite());
        }
    }
}
