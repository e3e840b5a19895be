//! Versions that are taken back, and what serves in their place.

use dunlin_models::registry::ModelKey;

use crate::learn::{Shared, inference::events};

/// A version that is of no use gets the status `failed`, and the one before its place, or none; returns
/// what comes of it, in words.
pub(in crate::learn::inference) fn withdraw(
    shared: &Shared,
    key: &ModelKey,
    version: u64,
) -> String {
    let (models, failed) = (&shared.models, &shared.settings.status.failed);
    // The rule may serve a version that the line's pointer does not name.
    let is_current = models.current_number(key) == Some(version);
    let before = is_current.then(|| models.rollback(key, failed).ok());
    match before.flatten() {
        Some(serves) => format!("version {} serves again", serves.number),
        None => match models.set_status(key, version, failed) {
            Ok(()) => "it serves no more".to_owned(),
            Err(why) => {
                tracing::warn!(%key, version, %why, "cannot keep that it is of no use");
                format!("it serves no more, which cannot be kept: {why}")
            }
        },
    }
}

/// A version that has panicked serves no more; the one before does, or none. Records until then
/// go unanswered.
pub(in crate::learn::inference) fn give_up(
    shared: &Shared,
    key: &ModelKey,
    version: u64,
    what: &str,
) {
    let after = withdraw(shared, key, version);
    let what = format!("the model panicked: {what}; {after}");
    events::given_up(shared, key, version, what);
}

/// A version that is worse than the one before gives way to it. False if another one was promoted just
/// now: that is not the one that was found wanting.
pub(in crate::learn::inference) fn roll_back(
    shared: &Shared,
    key: &ModelKey,
    version: u64,
) -> bool {
    if shared.models.current_number(key) != Some(version) {
        return false;
    }
    let word = &shared.settings.status.rolled_back;
    let what = match shared.models.rollback(key, word) {
        Ok(serves) => format!("version {} serves again", serves.number),
        Err(error) => format!("the version before cannot serve: {error}"),
    };
    events::rolled_back(shared, key, version, what);
    true
}
