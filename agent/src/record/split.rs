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
mod tests;
