//! "Did you mean": the nearest known word.

use strsim::osa_distance;

/// The candidate nearest to `word`, if it is near enough to be a slip of the finger.
pub(in crate::config) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    // Something of the word must be left.
    let allowed = (length / 3).clamp(1, 4).min(length.saturating_sub(1));
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or else what may be written; a few candidates are named in any case.
pub(in crate::config) fn hint(word: &str, candidates: &[&str]) -> String {
    let all = format!("use one of: {}", candidates.join(", "));
    match nearest(word, candidates.iter().copied()) {
        Some(near) if candidates.len() <= 6 => format!("did you mean `{near}`? {all}"),
        Some(near) => format!("did you mean `{near}`?"),
        None => all,
    }
}

#[cfg(test)]
mod tests;
