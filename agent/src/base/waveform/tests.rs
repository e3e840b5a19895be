#![allow(clippy::unwrap_used)]

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

/// Two sines, a sawtooth-like noise of whole numbers and rare spikes: the same in any language.
fn signal(samples: usize, offset: f64) -> Vec<f64> {
    (0..samples as u64)
        .map(|k| {
            let noise = ((k * k * 7 + k * 13) % 101) as f64 / 101.0 - 0.5;
            let spike = if k % 97 == 5 { 4.0 } else { 0.0 };
            let k = k as f64;
            offset
                + 1.5 * (TAU * k * 0.31).sin()
                + 0.75 * (TAU * k * 0.0137 + 0.5).sin()
                + noise
                + spike
        })
        .collect()
}

fn of(samples: &[f64], which: &[Feature]) -> Vec<Option<f64>> {
    Reducer::new().features(samples, which)
}

fn one(samples: &[f64], which: Feature) -> Option<f64> {
    of(samples, &[which])[0]
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: f64, what: &str) {
    let found = found.unwrap();
    let error = (found - expected).abs() / expected.abs().max(1e-6);
    assert!(error < 1e-10, "{what}: {found} instead of {expected}");
}

struct Reference {
    samples: usize,
    offset: f64,
    /// Mean, std, RMS, peak, peak to peak, crest, skewness, kurtosis.
    moments: [f64; 8],
    bands: [Option<f64>; BANDS],
}

/// numpy 2.4.6 and scipy 1.17.1.
const REFERENCES: [Reference; 5] = [
    Reference {
        samples: 4096,
        offset: 0.0,
        moments: [
            0.018_325_343_672_607_88,
            1.284_411_918_310_133_7,
            1.284_542_640_054_364_5,
            6.191_044_876_665_897,
            8.905_084_802_928_638,
            4.819_649_175_993_005,
            0.303_162_238_116_226_6,
            3.186_051_601_793_22,
        ],
        bands: [
            Some(0.001_840_707_333_765_483_4),
            Some(0.000_018_074_676_367_829_508),
            Some(0.533_761_418_849_089_3),
            Some(0.103_502_668_961_154_07),
            Some(0.112_108_496_444_795_58),
            Some(0.163_832_659_209_084_38),
            Some(0.237_232_170_689_443_33),
            Some(1.119_580_501_061_266),
        ],
    },
    Reference {
        samples: 1000,
        offset: 10.0,
        moments: [
            10.025_976_994_635_808,
            1.281_877_400_733_001,
            10.107_592_412_017_636,
            15.942_521_232_656_219,
            8.656_561_158_918_961,
            1.577_281_768_277_579_3,
            0.296_657_662_784_631_85,
            3.123_721_018_276_261_6,
        ],
        bands: [
            Some(0.009_494_957_271_823_016),
            Some(0.021_538_613_405_122_66),
            Some(0.521_837_272_917_749_4),
            Some(0.110_558_300_021_499_26),
            Some(0.113_678_654_451_069_81),
            Some(0.161_994_015_246_703_48),
            Some(0.240_608_000_050_670_9),
            Some(1.106_335_540_967_958),
        ],
    },
    Reference {
        samples: 257,
        offset: -3.0,
        moments: [
            -2.919_928_796_298_446_4,
            1.249_877_648_192_183_2,
            3.176_189_275_043_809,
            5.714_039_926_262_742,
            6.728_145_506_680_175,
            1.799_023_745_580_756_7,
            0.075_536_862_932_173_89,
            2.361_660_113_979_031_6,
        ],
        bands: [
            Some(0.063_408_827_589_206_18),
            Some(0.086_089_479_325_644_62),
            Some(0.538_037_922_803_316),
            Some(0.135_108_072_612_979_58),
            Some(0.080_967_175_400_198_28),
            Some(0.169_892_032_773_001_88),
            Some(0.211_893_544_195_422_28),
            Some(1.083_290_504_752_361_5),
        ],
    },
    Reference {
        samples: 100,
        offset: 0.25,
        moments: [
            0.420_380_304_570_313_83,
            1.244_473_676_942_711,
            1.313_557_891_024_959_7,
            4.264_105_580_417_434,
            6.641_504_881_972_657,
            3.246_225_849_315_391_3,
            0.180_476_069_578_988_85,
            2.563_039_006_698_716_5,
        ],
        bands: [
            None,
            None,
            Some(0.556_519_911_463_101_8),
            Some(0.160_643_959_308_293_45),
            Some(0.039_546_595_781_891_75),
            Some(0.102_005_744_117_122_28),
            Some(0.121_889_013_122_279_45),
            Some(1.045_643_399_845_820_6),
        ],
    },
    Reference {
        samples: 10240,
        offset: 1.0,
        moments: [
            1.017_813_811_139_898_7,
            1.280_780_236_735_048_7,
            1.635_953_229_453_156_5,
            7.585_247_389_520_225,
            9.302_721_657_706_464,
            4.636_591_837_075_755,
            0.286_236_258_203_113_05,
            3.116_141_902_646_108_4,
        ],
        bands: [
            Some(0.001_329_176_549_343_532),
            Some(0.000_031_479_430_671_238_85),
            Some(0.535_091_307_018_868_9),
            Some(0.103_476_844_176_119_62),
            Some(0.112_109_623_707_520_17),
            Some(0.163_832_656_278_645_54),
            Some(0.233_062_799_740_380_6),
            Some(1.120_243_416_377_214_1),
        ],
    },
];

#[test]
fn numpy_and_scipy_say_the_same() {
    let mut reducer = Reducer::new();
    for reference in &REFERENCES {
        let samples = signal(reference.samples, reference.offset);
        let found = reducer.features(&samples, &Feature::ALL);
        let (moments, bands) = found.split_at(8);
        let names = Feature::ALL.iter().flat_map(|feature| feature.names());
        let names: Vec<&str> = names.copied().collect();
        for ((&found, expected), name) in moments.iter().zip(reference.moments).zip(&names) {
            assert_close(found, expected, name);
        }
        for ((&found, expected), name) in bands.iter().zip(reference.bands).zip(&names[8..]) {
            match expected {
                Some(expected) => assert_close(found, expected, name),
                None => assert_eq!(found, None, "{name}"),
            }
        }
    }
}

#[test]
fn a_small_burst_by_hand() {
    let samples = [1.0, 2.0, 3.0, -6.0];
    assert_eq!(
        of(
            &samples,
            &[
                Feature::Peak,
                Feature::Mean,
                Feature::PeakToPeak,
                Feature::Rms,
                Feature::Crest
            ]
        ),
        [
            Some(6.0),
            Some(0.0),
            Some(9.0),
            Some(12.5_f64.sqrt()),
            Some(6.0 / 12.5_f64.sqrt())
        ]
    );
}

#[test]
fn there_are_as_many_values_as_names() {
    for samples in [0, 1, 2, 3, 7, 8, 9, 100, 1009] {
        for feature in Feature::ALL {
            let values = of(&signal(samples, 1.0), &[feature]);
            assert_eq!(
                values.len(),
                feature.names().len(),
                "{feature:?} of {samples}"
            );
        }
    }
    assert!(of(&signal(9, 1.0), &[]).is_empty());
    let twice = of(
        &signal(300, 1.0),
        &[Feature::Bands, Feature::Rms, Feature::Bands],
    );
    assert_eq!(twice[..8], twice[9..]);
    assert_eq!(Feature::Bands.names().len(), BANDS);
}

#[test]
fn a_constant_signal_has_no_shape() {
    for constant in [3.0, -0.1, 1e-300, 1e150] {
        for samples in [1, 2, 63, 1000] {
            let samples = vec![constant; samples];
            assert_eq!(one(&samples, Feature::Std), Some(0.0));
            assert_eq!(one(&samples, Feature::PeakToPeak), Some(0.0));
            assert_eq!(one(&samples, Feature::Skewness), None);
            assert_eq!(one(&samples, Feature::Kurtosis), None);
        }
    }
    assert_close(one(&[-0.1; 9], Feature::Crest), 1.0, "crest");
    let zeros = [0.0; 300];
    assert_eq!(one(&zeros, Feature::Crest), None);
    assert_eq!(one(&zeros, Feature::Rms), Some(0.0));
    assert_eq!(of(&zeros, &[Feature::Bands]), [Some(0.0); BANDS]);
}

#[test]
fn rounding_has_no_shape() {
    let mut samples = [1e9; 100];
    samples[50] = 1e9_f64.next_up();
    assert_eq!(one(&samples, Feature::Kurtosis), None);
    assert!(one(&samples, Feature::PeakToPeak).unwrap() > 0.0);
}

#[test]
fn what_is_not_finite_is_missing() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for at in [0, 7, 50, 99, 100] {
            let mut samples = signal(101, 0.0);
            samples[at] = bad;
            for value in of(&samples, &Feature::ALL) {
                assert_eq!(value, None);
            }
        }
    }
    assert_eq!(one(&[1e200, -1e200], Feature::Rms), None, "it overflows");
    assert_eq!(one(&[1e200, -1e200], Feature::Peak), Some(1e200));
}

/// Lower and upper limits of the bands at a sampling rate, from low to high, each above its lower limit
/// and up to its upper one. Each is an octave and the last ends at half the rate; the first takes all
/// that is below the second.
fn band_limits_hz(rate_hz: f64) -> [(f64, f64); BANDS] {
    let mut limits = [(0.0, 0.0); BANDS];
    let mut upper_hz = rate_hz / 2.0;
    for limit in limits.iter_mut().rev() {
        *limit = (upper_hz / 2.0, upper_hz);
        upper_hz /= 2.0;
    }
    if let Some(lowest) = limits.first_mut() {
        lowest.0 = 0.0;
    }
    limits
}

#[test]
fn a_tone_is_in_its_band() {
    let limits = band_limits_hz(1000.0);
    assert_eq!(limits[7], (250.0, 500.0));
    assert_eq!(limits[1], (3.90625, 7.8125));
    assert_eq!(limits[0], (0.0, 3.90625));
    for (index, (lower_hz, upper_hz)) in limits.into_iter().enumerate() {
        let tone_hz = 0.3 * lower_hz + 0.7 * upper_hz;
        let samples: Vec<f64> = (0..4096)
            .map(|k| 5.0 + 2.0 * (TAU * tone_hz / 1000.0 * f64::from(k)).sin())
            .collect();
        let bands = of(&samples, &[Feature::Bands]);
        let rms = bands[index].unwrap();
        assert!((rms - 2.0_f64.sqrt()).abs() < 0.02, "{rms} at {tone_hz} Hz");
        let others: f64 = bands.iter().flatten().sum::<f64>() - rms;
        assert!(others < 0.1, "{others}");
    }
}

#[test]
fn half_the_rate_counts_once() {
    let samples: Vec<f64> = (0..512)
        .map(|k| if k % 2 == 0 { 3.0 } else { -3.0 })
        .collect();
    let bands = of(&samples, &[Feature::Bands]);
    assert_close(bands[7], 3.0, "band_8");
}

proptest! {
    #[test]
    fn any_samples_give_finite_values(
        samples in prop::collection::vec(any::<f64>(), 0..300),
        scale in prop::sample::select(vec![1e-300, 1e-9, 1.0, 1e9, 1e300]),
    ) {
        let scaled: Vec<f64> = samples.iter().map(|sample| sample.fract() * scale).collect();
        let mut reducer = Reducer::new();
        for samples in [&samples, &scaled] {
            for value in reducer.features(samples, &Feature::ALL).into_iter().flatten() {
                prop_assert!(value.is_finite());
            }
        }
    }

    #[test]
    fn the_window_keeps_the_power(
        samples in prop::collection::vec(-1e3..1e3, 512),
        exponent in 1..=9_u32,
    ) {
        // Parseval: the bands hold the power of the windowed signal.
        let samples = &samples[..1 << exponent];
        let bands = of(samples, &[Feature::Bands]);
        let mean = one(samples, Feature::Mean).unwrap();
        let (mut power, mut window_power) = (0.0, 0.0);
        for (k, sample) in samples.iter().enumerate() {
            let weight = 0.5 - 0.5 * (TAU * k as f64 / samples.len() as f64).cos();
            power += ((sample - mean) * weight).powi(2);
            window_power += weight * weight;
        }
        let found: f64 = bands.iter().flatten().map(|rms| rms * rms).sum();
        prop_assert!((found - power / window_power).abs() <= 1e-9 * found.max(1.0));
    }

    #[test]
    fn the_order_asked_for_is_kept(which in prop::collection::vec(
        prop::sample::select(Feature::ALL.to_vec()), 0..12,
    )) {
        let samples = signal(333, 2.0);
        let mut reducer = Reducer::new();
        let together = reducer.features(&samples, &which);
        let alone: Vec<_> =
            which.iter().flat_map(|&feature| reducer.features(&samples, &[feature])).collect();
        prop_assert_eq!(together, alone);
    }
}
