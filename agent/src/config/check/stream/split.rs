//! How the records of a stream are split into train and validation.

use crate::config::{
    check::entry::Entry,
    diagnostic::Diagnostics,
    read::parse as value,
    schema::{Kind, Unit},
    settings::SplitRule,
};

/// Probability of train unless set.
const TRAIN_DEFAULT: f64 = 0.8;
const SEED: Kind = Kind::Integer {
    min: 0,
    max: i64::MAX as u64,
};

/// The rule unless set.
pub(in crate::config) const DEFAULT: SplitRule = SplitRule::Random {
    train: TRAIN_DEFAULT,
    seed: None,
};

/// The rule of a stream, from `split = "random"` or `split = { method = ... }`.
pub(in crate::config) fn rule(stream: &Entry<'_>, found: &mut Diagnostics) -> SplitRule {
    const METHODS: &[&str] = &["random", "hash", "block", "kfold"];
    let Some(value) = stream.raw("split") else {
        return DEFAULT;
    };
    if value.get_ref().as_str().is_some() {
        return match stream
            .text("split", &Kind::Choice(METHODS), found)
            .as_deref()
        {
            Some("hash") => SplitRule::Hash {
                train: TRAIN_DEFAULT,
            },
            Some("block") => SplitRule::Block {
                train: TRAIN_DEFAULT,
                run_ms: 60_000,
            },
            Some("kfold") => SplitRule::KFold { k: 5, seed: None },
            _ => DEFAULT,
        };
    }
    let what = format!("{}.split", stream.what);
    let hint = "write split = \"random\", or { method = \"random\", train = 0.8 }";
    let Some(entry) = Entry::of(stream.source, value, what, hint, found) else {
        return DEFAULT;
    };
    let Some(method) = entry.text("method", &Kind::Choice(METHODS), found) else {
        if entry.raw("method").is_none() {
            entry.error("method", "is missing", value::one_of(METHODS), found);
        }
        return DEFAULT;
    };
    let known: &[&str] = match method.as_str() {
        "random" => &["method", "train", "seed"],
        "hash" => &["method", "train"],
        "block" => &["method", "train", "run_s"],
        _ => &["method", "k", "seed"],
    };
    entry.refuse_others(known, found);
    let train = entry.share("train", TRAIN_DEFAULT, found);
    match method.as_str() {
        "hash" => SplitRule::Hash { train },
        "block" => SplitRule::Block {
            train,
            run_ms: run_ms(&entry, found),
        },
        "kfold" => SplitRule::KFold {
            k: entry
                .number("k", &Kind::Integer { min: 2, max: 100 }, found)
                .map_or(5, |k| k as u8),
            seed: entry.number("seed", &SEED, found),
        },
        _ => SplitRule::Random {
            train,
            seed: entry.number("seed", &SEED, found),
        },
    }
}

fn run_ms(entry: &Entry<'_>, found: &mut Diagnostics) -> u64 {
    let kind = Kind::Duration {
        unit: Unit::Seconds,
        min: 1,
        max: 365 * 86_400,
    };
    entry.number("run_s", &kind, found).unwrap_or(60) * 1000
}
