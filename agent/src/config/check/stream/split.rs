//! How the records of a stream are split into train and validation.

use crate::config::{
    check::entry::Entry,
    diagnostic::Diagnostics,
    read::parse,
    schema::kind::{TypedKind, choice, count_of_seconds, integer, words},
    settings::SplitRule,
};

const METHOD: TypedKind<SplitRule> = choice();
const SEED: TypedKind<u64> = integer(0, i64::MAX as u64);
const FOLDS: TypedKind<u8> = integer(2, 100);
const RUN_S: TypedKind<u64> = count_of_seconds(1, 365 * 86_400);

/// The rule of a stream, from `split = "random"` or `split = { method = ... }`.
pub(super) fn rule(stream: &Entry<'_>, found: &mut Diagnostics) -> SplitRule {
    let Some(value) = stream.raw("split") else {
        return SplitRule::DEFAULT;
    };
    if value.get_ref().as_str().is_some() {
        let method = stream.read("split", &METHOD, found);
        return method.unwrap_or(SplitRule::DEFAULT);
    }
    let what = format!("{}.split", stream.what);
    let hint = "write split = \"random\", or { method = \"random\", train = 0.8 }";
    let Some(entry) = Entry::of(stream.source, value, what, hint, found) else {
        return SplitRule::DEFAULT;
    };
    let Some(method) = entry.read("method", &METHOD, found) else {
        if entry.raw("method").is_none() {
            let hint = parse::one_of(&words::<SplitRule>());
            entry.error("method", "is missing", hint, found);
        }
        return SplitRule::DEFAULT;
    };
    let known: &[&str] = match method {
        SplitRule::Random { .. } => &["method", "train", "seed"],
        SplitRule::Hash { .. } => &["method", "train"],
        SplitRule::Block { .. } => &["method", "train", "run_s"],
        SplitRule::KFold { .. } => &["method", "k", "seed"],
    };
    entry.refuse_others(known, found);
    let train = entry.share("train", SplitRule::TRAIN_DEFAULT, found);
    match method {
        SplitRule::Random { .. } => SplitRule::Random {
            train,
            seed: entry.read("seed", &SEED, found),
        },
        SplitRule::Hash { .. } => SplitRule::Hash { train },
        SplitRule::Block { run_ms, .. } => SplitRule::Block {
            train,
            run_ms: entry
                .read("run_s", &RUN_S, found)
                .map_or(run_ms, |run_s| run_s * 1000),
        },
        SplitRule::KFold { k, .. } => SplitRule::KFold {
            k: entry.read("k", &FOLDS, found).unwrap_or(k),
            seed: entry.read("seed", &SEED, found),
        },
    }
}
