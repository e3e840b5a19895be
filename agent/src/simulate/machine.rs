//! One simulated machine: an induction motor with a gearbox, good enough to learn from.
//!
//! Pure and deterministic: the same seed and the same steps give the same readings. What it models:
//! - load follows a slow wave, a faster one and a random walk; speed drops with load (slip);
//! - vibration is the root of the energies of three rotation harmonics, broadband noise and slow
//!   wear; its peak is what the crest factor of the moment makes of it;
//! - temperature follows the losses (load squared) with the inertia of a housing, over an ambient
//!   that has a day;
//! - current is a magnetising part and one that follows the load;
//! - faults come at random, ramp up, stay, and go (somebody repairs the machine).

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

const RPM_SYNCHRONOUS: f64 = 1500.0;
const DAY_S: f64 = 86_400.0;
/// Thermal time constant of the housing, seconds.
const THERMAL_S: f64 = 90.0;
/// Time constant of the load's random walk, seconds.
const LOAD_WALK_S: f64 = 30.0;

/// Part of a fault's life in which it grows, and again in which it goes.
const FAULT_RAMP: f64 = 0.25;

/// What the sensors of a machine say at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Vibration velocity, root mean square, mm/s.
    pub vibration_mm_s: f64,
    /// Vibration velocity, peak, mm/s.
    pub peak_mm_s: f64,
    /// Housing temperature, degrees Celsius.
    pub temperature_c: f64,
    /// Motor current, amperes.
    pub current_a: f64,
    /// Speed, revolutions a minute.
    pub rpm: f64,
}

/// What can be wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Bursts of impacts: a high peak, a little more effective value.
    Bearing,
    /// Blocked cooling: temperature climbs slowly, current a little.
    Overheating,
    /// A mass off centre: the first harmonic grows with the square of the speed.
    Imbalance,
}

/// The truth about one moment: what is wrong and how much, 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// How much, 0..=1.
    pub severity: f64,
}

#[derive(Clone, Copy, Debug)]
struct Course {
    kind: FaultKind,
    start_s: f64,
    length_s: f64,
    worst: f64,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    rng: StdRng,
    time_s: f64,
    /// Mean time from the end of one fault to the start of the next, seconds; 0: no faults.
    fault_gap_s: f64,
    /// How long faults last, shortest and longest, seconds.
    fault_s: (f64, f64),
    course: Option<Course>,
    next_fault_s: f64,
    phase: f64,
    load_walk: f64,
    temperature_c: f64,
    wear: f64,
    /// Of this machine: harmonics (mm/s at full speed), noise (mm/s), rated current (A).
    harmonics_mm_s: [f64; 3],
    noise_mm_s: f64,
    rated_a: f64,
}

impl Machine {
    /// A machine of its own character for each seed, healthy and warm. Faults come every
    /// `fault_gap_s` seconds on average; 0: never.
    pub fn new(seed: u64, fault_gap_s: f64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut vary = |middle: f64| middle * rng.random_range(0.8..1.2);
        let (harmonics_mm_s, noise_mm_s) = ([vary(1.2), vary(0.5), vary(0.25)], vary(0.4));
        let (rated_a, wear) = (vary(12.0), vary(0.05));
        let phase = rng.random_range(0.0..TAU);
        let mut machine = Self {
            rng,
            time_s: 0.0,
            fault_gap_s,
            fault_s: (10.0, 120.0),
            course: None,
            next_fault_s: f64::INFINITY,
            phase,
            load_walk: 0.0,
            temperature_c: 45.0,
            wear,
            harmonics_mm_s,
            noise_mm_s,
            rated_a,
        };
        machine.plan_fault();
        machine
    }

    /// The same machine, without a fault in its first `healthy_s` seconds.
    #[must_use]
    pub fn healthy_for(mut self, healthy_s: f64) -> Self {
        self.next_fault_s += healthy_s;
        self
    }

    /// The same machine, with faults that last between these many seconds.
    #[must_use]
    pub fn with_faults_of(mut self, shortest_s: f64, longest_s: f64) -> Self {
        self.fault_s = (shortest_s, longest_s);
        self
    }

    /// The reading `dt_s` seconds after the last one. Any step is stable, also a long one.
    pub fn next(&mut self, dt_s: f64) -> Reading {
        let dt_s = dt_s.max(0.0);
        self.time_s += dt_s;
        self.follow_fault();
        let fault = self.fault();
        let severity = |kind| fault.filter(|f| f.kind == kind).map_or(0.0, |f| f.severity);

        let keep = (-dt_s / LOAD_WALK_S).exp();
        self.load_walk = self.load_walk * keep + 0.08 * (1.0 - keep * keep).sqrt() * self.noise();
        let waves = 0.18 * (self.time_s / 900.0 * TAU + self.phase).sin()
            + 0.06 * (self.time_s / 47.0 * TAU).sin();
        let load = (0.65 + waves + self.load_walk).clamp(0.05, 1.2);
        let rpm = RPM_SYNCHRONOUS * (1.0 - 0.035 * load) + 0.8 * self.noise();

        let speed = rpm / RPM_SYNCHRONOUS;
        self.wear += dt_s * 2e-7 * (1.0 + 4.0 * load);
        let [first, second, third] = self.harmonics_mm_s;
        let first = first * speed * speed * (1.0 + 4.0 * severity(FaultKind::Imbalance));
        let broadband = self.noise_mm_s * (0.6 + 0.6 * load) + self.wear;
        // Impacts come in bursts: not every moment of a bad bearing is loud.
        let bearing = severity(FaultKind::Bearing);
        let impacts = if bearing > 0.0 && self.rng.random_bool(0.6) {
            bearing * self.rng.random_range(1.5..4.0)
        } else {
            0.0
        };
        let energy = (first * first + second * second + third * third) / 2.0
            + broadband * broadband
            + impacts * impacts / 4.0;
        let vibration_mm_s = (energy.sqrt() * (1.0 + 0.03 * self.noise())).max(0.0);
        let crest = 1.6 + 0.15 * self.noise().abs();
        let peak_mm_s = (vibration_mm_s * crest + 2.0 * impacts).max(vibration_mm_s);

        let overheating = severity(FaultKind::Overheating);
        let ambient_c = 21.0 + 4.0 * (self.time_s / DAY_S * TAU + self.phase).sin();
        let target_c = ambient_c + (12.0 + 38.0 * load * load) * (1.0 + 1.6 * overheating);
        self.temperature_c = target_c + (self.temperature_c - target_c) * (-dt_s / THERMAL_S).exp();
        let current_a = self.rated_a
            * (0.09 + load * load).sqrt()
            * (1.0 + 0.05 * overheating + 0.02 * severity(FaultKind::Imbalance))
            * (1.0 + 0.008 * self.noise());
        Reading {
            vibration_mm_s,
            peak_mm_s,
            temperature_c: self.temperature_c + 0.15 * self.noise(),
            current_a,
            rpm,
        }
    }

    /// What is wrong at the moment of the last reading.
    pub fn fault(&self) -> Option<Fault> {
        let course = self.course?;
        let part = (self.time_s - course.start_s) / course.length_s;
        let ramp = (part.min(1.0 - part) / FAULT_RAMP).clamp(0.0, 1.0);
        Some(Fault {
            kind: course.kind,
            severity: course.worst * ramp,
        })
    }

    fn follow_fault(&mut self) {
        if self
            .course
            .is_some_and(|course| self.time_s >= course.start_s + course.length_s)
        {
            self.course = None;
            self.plan_fault();
        }
        if self.course.is_none() && self.time_s >= self.next_fault_s {
            let kinds = [
                FaultKind::Bearing,
                FaultKind::Overheating,
                FaultKind::Imbalance,
            ];
            self.course = Some(Course {
                kind: kinds[self.rng.random_range(0..kinds.len())],
                start_s: self.time_s,
                length_s: self.rng.random_range(self.fault_s.0..self.fault_s.1),
                worst: self.rng.random_range(0.4..1.0),
            });
        }
    }

    fn plan_fault(&mut self) {
        if self.fault_gap_s > 0.0 {
            let draw: f64 = self.rng.random_range(f64::EPSILON..1.0);
            self.next_fault_s = self.time_s - draw.ln() * self.fault_gap_s;
        }
    }

    /// About normal, variance 1: the sum of four uniforms is close enough for a sensor, and cheap.
    fn noise(&mut self) -> f64 {
        let bits: u64 = self.rng.random();
        let sum = (0..4)
            .map(|at| (bits >> (16 * at) & 0xffff) as f64)
            .sum::<f64>();
        (sum / 65_535.0 - 2.0) * 1.732
    }
}

#[cfg(test)]
mod tests;
