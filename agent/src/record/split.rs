//! Draws the split of each record: once, when it gets its timestamp; it is stored and never redrawn.
//!
//! | rule | `is_train` | `fold` |
//! |---|---|---|
//! | random | uniform, from a sequence of the stream's own | 0 |
//! | hash | a pure function of stream name and timestamp | 0 |
//! | block | a pure function of stream name and run, `ts` div `run` | 0 |
//! | kfold | `fold != 0` | uniform in `0..k` |
//!
//! Same seed and stream, same sequence: also after a restart, which begins it anew. Two streams
//! with one seed have different sequences. Everything is written out here (FNV-1a, `SplitMix64`)
//! because neither `rand` nor `std` promises the same numbers in its next version, and a stored
//! data set must be reproducible. Pure rules use the timestamp as it was first assigned: a later
//! correction of the clock moves the timestamp, not the split.

use dunlin_sync::sample::{Split, Timestamp};

use crate::config::settings::SplitRule;

/// Keeps the rules' sequences apart should two rules meet one stream and seed.
const HASH_SALT: u64 = 1;
const BLOCK_SALT: u64 = 2;
const SEQUENCE_SALT: u64 = 3;

/// Draws for one stream.
#[derive(Clone, Debug)]
pub struct Splitter(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Random { train: f64, sequence: SplitMix64 },
    Hash { train: f64, key: u64 },
    Block { train: f64, key: u64, run_ns: i64 },
    KFold { k: u8, sequence: SplitMix64 },
}

impl Splitter {
    /// A splitter for the stream called `stream` (the full name, captures included).
    pub fn new(rule: &SplitRule, stream: &str) -> Self {
        let name = fnv1a(stream.as_bytes());
        let key = |salt| mix(name ^ mix(salt));
        let sequence = |seed: Option<u64>| {
            SplitMix64(mix(seed.unwrap_or_else(rand::random)) ^ key(SEQUENCE_SALT))
        };
        Self(match *rule {
            SplitRule::Random { train, seed } => Rule::Random {
                train,
                sequence: sequence(seed),
            },
            SplitRule::Hash { train } => Rule::Hash {
                train,
                key: key(HASH_SALT),
            },
            SplitRule::Block { train, run_ms } => Rule::Block {
                train,
                key: key(BLOCK_SALT),
                run_ns: i64::try_from(run_ms)
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1_000_000)
                    .max(1),
            },
            SplitRule::KFold { k, seed } => Rule::KFold {
                k: k.max(1),
                sequence: sequence(seed),
            },
        })
    }

    /// The split of the record that was assigned `ts`. Call once for each record, in order.
    pub fn assign(&mut self, ts: Timestamp) -> Split {
        match &mut self.0 {
            Rule::Random { train, sequence } => half(is_below(sequence.draw(), *train)),
            Rule::Hash { train, key } => half(is_below(mix(*key ^ mix(ts.0 as u64)), *train)),
            Rule::Block { train, key, run_ns } => {
                let run = ts.0.div_euclid(*run_ns) as u64;
                half(is_below(mix(*key ^ mix(run)), *train))
            }
            Rule::KFold { k, sequence } => {
                let fold = ((u128::from(sequence.draw()) * u128::from(*k)) >> 64) as u8;
                Split {
                    is_train: fold != 0,
                    fold,
                }
            }
        }
    }
}

fn half(is_train: bool) -> Split {
    Split { is_train, fold: 0 }
}

/// True with probability `p` over uniform `bits`: exactly never at 0, always at 1.
fn is_below(bits: u64, p: f64) -> bool {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    ((bits >> 11) as f64) * UNIT < p
}

/// Steele, Lea and Flood's generator: a counter through [`mix`].
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// The finaliser of `SplitMix64`: each bit in changes each bit out with probability one half.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const START: i64 = 1_780_000_000_000_000_000;
    const DRAWS: usize = 100_000;

    fn random(seed: u64) -> SplitRule {
        SplitRule::Random {
            train: 0.8,
            seed: Some(seed),
        }
    }

    /// `count` records, one every 10 ms.
    fn draw(rule: &SplitRule, stream: &str, count: usize) -> Vec<Split> {
        let mut splitter = Splitter::new(rule, stream);
        (0..count as i64)
            .map(|i| splitter.assign(Timestamp(START + i * 10_000_000)))
            .collect()
    }

    fn fraction(splits: &[Split]) -> f64 {
        splits.iter().filter(|split| split.is_train).count() as f64 / splits.len() as f64
    }

    fn bits(splits: &[Split]) -> String {
        splits
            .iter()
            .map(|split| if split.is_train { '1' } else { '0' })
            .collect()
    }

    #[test]
    fn train_has_its_share() {
        for train in [0.0, 0.1, 0.5, 0.8, 1.0] {
            for rule in [
                SplitRule::Random {
                    train,
                    seed: Some(7),
                },
                SplitRule::Hash { train },
            ] {
                // Four standard deviations of a fair draw.
                let bound = 4.0 * (train * (1.0 - train) / DRAWS as f64).sqrt();
                let got = fraction(&draw(&rule, "plant/a", DRAWS));
                assert!((got - train).abs() <= bound, "{rule:?}: {got}");
            }
        }
        // 10,000 runs of one second.
        let rule = SplitRule::Block {
            train: 0.8,
            run_ms: 1000,
        };
        let got = fraction(&draw(&rule, "plant/a", 100 * 10_000));
        assert!((got - 0.8).abs() <= 4.0 * 0.4 / 100.0, "{got}");
    }

    #[test]
    fn neighbouring_records_are_independent() {
        for rule in [random(1), SplitRule::Hash { train: 0.8 }] {
            let splits = draw(&rule, "plant/a", DRAWS);
            let pairs = splits
                .windows(2)
                .filter(|pair| pair[0].is_train && pair[1].is_train);
            let both = pairs.count() as f64 / DRAWS as f64;
            assert!((both - 0.64).abs() < 0.01, "{rule:?}: {both}");
        }
    }

    #[test]
    fn same_seed_same_sequence() {
        assert_eq!(draw(&random(5), "a", 1000), draw(&random(5), "a", 1000));
        assert_ne!(draw(&random(5), "a", 1000), draw(&random(6), "a", 1000));
        assert_ne!(draw(&random(5), "a", 1000), draw(&random(5), "b", 1000));
        let unseeded = SplitRule::Random {
            train: 0.8,
            seed: None,
        };
        assert_ne!(draw(&unseeded, "a", 1000), draw(&unseeded, "a", 1000));
    }

    #[test]
    fn hash_depends_on_stream_and_timestamp_alone() {
        let rule = SplitRule::Hash { train: 0.5 };
        let mut one = Splitter::new(&rule, "a");
        let mut other = Splitter::new(&rule, "a");
        let first = one.assign(Timestamp(START));
        for i in 1..100 {
            other.assign(Timestamp(START + i));
        }
        assert_eq!(other.assign(Timestamp(START)), first);
        assert_ne!(draw(&rule, "a", 1000), draw(&rule, "b", 1000));
    }

    #[test]
    fn a_run_is_never_divided() {
        let rule = SplitRule::Block {
            train: 0.5,
            run_ms: 1000,
        };
        let mut splitter = Splitter::new(&rule, "plant/a");
        let mut halves = std::collections::BTreeMap::new();
        // Across 1970 too, where division could go wrong; odd steps meet every part of a run.
        for i in -20_000_i64..20_000 {
            let ts = i * 37_000_001;
            let split = splitter.assign(Timestamp(ts));
            let run = ts.div_euclid(1_000_000_000);
            assert_eq!(*halves.entry(run).or_insert(split), split, "run {run}");
        }
        // So a validation record has a train neighbour only at the edge of its run.
        let splits = draw(&rule, "plant/a", DRAWS);
        let changes = splits.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(
            (400..600).contains(&changes),
            "{changes} changes in 1,000 runs"
        );
    }

    #[test]
    fn folds_are_even_and_fold_0_validates() {
        for k in [2_u8, 5, 100] {
            let splits = draw(&SplitRule::KFold { k, seed: Some(3) }, "a", DRAWS);
            let expected = DRAWS as f64 / f64::from(k);
            for fold in 0..k {
                let count = splits.iter().filter(|split| split.fold == fold).count() as f64;
                assert!(
                    (count - expected).abs() < 5.0 * expected.sqrt(),
                    "{k} {fold} {count}"
                );
            }
            assert!(splits.iter().all(|split| split.fold < k));
            assert!(
                splits
                    .iter()
                    .all(|split| split.is_train == (split.fold != 0))
            );
        }
    }

    /// These numbers must never change: data sets already stored were drawn with them. They were
    /// computed by a second implementation, in Python.
    #[test]
    fn draws_are_pinned() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        // The published first output for seed 1234567.
        assert_eq!(SplitMix64(1_234_567).draw(), 6_457_827_717_110_365_317);
        let hash = SplitRule::Hash { train: 0.5 };
        let block = SplitRule::Block {
            train: 0.5,
            run_ms: 30,
        };
        let folds = draw(
            &SplitRule::KFold {
                k: 5,
                seed: Some(42),
            },
            "plant/a",
            16,
        );
        let folds: Vec<u8> = folds.iter().map(|split| split.fold).collect();
        assert_eq!(
            bits(&draw(&random(42), "plant/a", 32)),
            "11011111011100100111110101111100"
        );
        assert_eq!(
            bits(&draw(&hash, "plant/a", 32)),
            "10100110000011011111001111001111"
        );
        assert_eq!(
            bits(&draw(&block, "plant/a", 32)),
            "00111111111000111111111000000111"
        );
        assert_eq!(folds, [1, 1, 4, 3, 3, 3, 2, 3, 4, 1, 2, 1, 4, 4, 2, 4]);
    }

    #[test]
    fn extreme_settings_do_not_panic() {
        for run_ms in [0, 1, u64::MAX] {
            let mut splitter = Splitter::new(&SplitRule::Block { train: 0.5, run_ms }, "");
            for ts in [Timestamp::MIN, Timestamp(0), Timestamp::MAX] {
                splitter.assign(ts);
            }
        }
    }
}
