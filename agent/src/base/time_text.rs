//! Moments as people write them.

const DAY_NS: i64 = 86_400_000_000_000;

/// What may be written, for errors.
pub(crate) const EXAMPLES: &str =
    "2026-05-28T20:26:40Z, 2026-05-28 (UTC), or nanoseconds since 1970";

/// Nanoseconds UTC; for a date its first, or at the `end` of a range its last.
pub(crate) fn parse(text: &str, end: bool) -> Option<i64> {
    if let Ok(ns) = text.parse() {
        return Some(ns);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(time.as_nanosecond()).ok();
    }
    // A date alone: with a time but no offset, nobody knows which time is meant.
    let date: jiff::civil::Date = (text.len() == 10).then(|| text.parse().ok())??;
    let midnight = jiff::tz::Offset::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .ok()?;
    let midnight = i64::try_from(midnight.as_nanosecond()).ok()?;
    Some(if end {
        midnight.saturating_add(DAY_NS - 1)
    } else {
        midnight
    })
}

#[cfg(test)]
mod tests;
