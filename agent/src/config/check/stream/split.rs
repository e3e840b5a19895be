//! How the records of a stream are split into train and validation.

use crate::config::{
    check::entry::Entry,
    diagnostic::Diagnostics,
    read::parse,
    schema::{
        Setting,
        keys::stream::{SPLIT, split},
        kind::{choice, words},
    },
    settings::SplitRule,
};

/// The rule of a stream, from `split = "random"` or `split = { method = ... }`.
pub(super) fn rule(stream: &Entry<'_>, found: &mut Diagnostics) -> SplitRule {
    let Some(value) = stream.raw(SPLIT.key()) else {
        return SplitRule::DEFAULT;
    };
    if value.get_ref().as_str().is_some() {
        let method = stream.chosen(SPLIT.key(), &choice(), found);
        return method.unwrap_or(SplitRule::DEFAULT);
    }
    let what = format!("{}.split", stream.what);
    let hint = "write split = \"random\", or { method = \"random\", train = 0.8 }";
    let Some(entry) = Entry::of(stream.source, value, what, hint, found) else {
        return SplitRule::DEFAULT;
    };
    let Some(method) = entry.read(&split::METHOD, found) else {
        if entry.raw(split::METHOD.key()).is_none() {
            let hint = parse::one_of(&words::<SplitRule>());
            entry.error(split::METHOD.key(), "is missing", hint, found);
        }
        return SplitRule::DEFAULT;
    };
    let known: &[&Setting] = match method {
        SplitRule::Random { .. } => &[&split::METHOD, &split::TRAIN, &split::SEED],
        SplitRule::Hash { .. } => &[&split::METHOD, &split::TRAIN],
        SplitRule::Block { .. } => &[&split::METHOD, &split::TRAIN, &split::RUN_S],
        SplitRule::KFold { .. } => &[&split::METHOD, &split::FOLDS, &split::SEED],
    };
    let known: Vec<&str> = known.iter().map(|setting| setting.key()).collect();
    entry.refuse_others(&known, found);
    match method {
        SplitRule::Random { .. } => SplitRule::Random {
            train: entry.get(&split::TRAIN, found),
            seed: entry.read(&split::SEED, found),
        },
        SplitRule::Hash { .. } => SplitRule::Hash {
            train: entry.get(&split::TRAIN, found),
        },
        SplitRule::Block { .. } => SplitRule::Block {
            train: entry.get(&split::TRAIN, found),
            run_ms: entry.get(&split::RUN_S, found) * 1000,
        },
        SplitRule::KFold { .. } => SplitRule::KFold {
            k: entry.get(&split::FOLDS, found),
            seed: entry.read(&split::SEED, found),
        },
    }
}
