//! The source's own time, to the nanosecond: decimals are never taken through a float, which could tell
//! today's seconds apart only to some 200 ns.

use super::value::Cell;
use crate::config::settings::TimeUnit;

/// Nanoseconds of `cell`: a number in `unit`, or a text in RFC 3339. `None`: it is neither, or does not
/// fit into 64 bits.
pub(super) fn source_ns(cell: &Cell<'_>, unit: TimeUnit) -> Option<i64> {
    match cell {
        Cell::Number(text) => decimal_ns(text, unit),
        Cell::Text(text) => rfc3339_ns(text),
        Cell::Bare(text) => decimal_ns(text, unit).or_else(|| rfc3339_ns(text)),
        Cell::Null | Cell::Bool(_) | Cell::Float(_) => None,
    }
}

/// Nanoseconds of an RFC 3339 text with an offset (`Z` or `+02:00`).
pub(super) fn rfc3339_ns(text: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok()
}

/// Nanoseconds of a decimal such as `1700000000.123456789` or `1.7e+09` counted in `unit`; what is finer
/// than a nanosecond is cut off.
pub(super) fn decimal_ns(text: &str, unit: TimeUnit) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let before_point = whole.trim_start_matches('0').len() as i64 + i64::from(exponent);
    let unit_exponent = match unit {
        // Until the year 5138 the sizes of today's times in the four units do not overlap.
        TimeUnit::BySize if before_point <= 11 => 9,
        TimeUnit::BySize if before_point <= 14 => 6,
        TimeUnit::BySize if before_point <= 17 => 3,
        TimeUnit::BySize => 0,
        TimeUnit::Seconds => 9,
        TimeUnit::Millis => 6,
        TimeUnit::Micros => 3,
        TimeUnit::Nanos => 0,
    };
    // Digits in front of the point once the number counts nanoseconds.
    let whole_digits = whole.len() as i64 + i64::from(exponent) + unit_exponent;
    let mut digits = digits();
    let mut ns: i64 = 0;
    for _ in 0..whole_digits.max(0) {
        let digit = match digits.next() {
            Some(digit) => i64::from(digit - b'0'),
            None if ns == 0 => break,
            None => 0,
        };
        ns = ns.checked_mul(10)?.checked_add(digit)?;
    }
    Some(if negative { -ns } else { ns })
}

#[cfg(test)]
mod tests;
