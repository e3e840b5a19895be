//! Times as texts, in the forms that are known without a word about them.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    fmt::rfc2822,
    tz::Offset,
};

use super::TimeUnit;
use super::{TimeError, Zone, decimal};

static RFC_2822: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();

/// Whether `text` begins as `2026-05-04` does, and as no number can.
pub(super) fn is_dashed_date(text: &str) -> bool {
    matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', ..])
}

/// See [`super::text_ns`].
pub(super) fn ns(text: &str, zone: Option<&Zone>) -> Result<i64, TimeError> {
    if let Some((civil, offset)) = iso_8601(text.as_bytes()) {
        return civil_ns(civil, offset, zone);
    }
    if let Some(ms) = dot_net_ms(text) {
        return decimal(ms, TimeUnit::Millis);
    }
    let timestamp = if text.ends_with(']') {
        text.parse()
    } else {
        RFC_2822.parse_timestamp(text)
    };
    timestamp_ns(timestamp.map_err(|_| TimeError::NotATime)?)
}

/// Nanoseconds UTC of what a clock shows with `offset`, or else in `zone`.
pub(super) fn civil_ns(
    civil: DateTime,
    offset: Option<Offset>,
    zone: Option<&Zone>,
) -> Result<i64, TimeError> {
    match (offset, zone) {
        (Some(offset), _) => {
            let timestamp = offset.to_timestamp(civil);
            timestamp_ns(timestamp.map_err(|_| TimeError::OutOfRange)?)
        }
        (None, Some(zone)) => zone.ns(civil),
        (None, None) => Err(TimeError::NeedsZone),
    }
}

/// Nanoseconds since 1970, if they fit.
pub(super) fn timestamp_ns(timestamp: Timestamp) -> Result<i64, TimeError> {
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| TimeError::OutOfRange)
}

/// A date and time as of ISO 8601, basic or extended, with its offset if it has one.
fn iso_8601(bytes: &[u8]) -> Option<(DateTime, Option<Offset>)> {
    let mut rest = bytes;
    let year = digits(&mut rest, 4)?;
    let has_dashes = skip(&mut rest, b'-');
    let month = digits(&mut rest, 2)?;
    if has_dashes && !skip(&mut rest, b'-') {
        return None;
    }
    let day = digits(&mut rest, 2)?;
    let date = Date::new(year, month as i8, day as i8).ok()?;
    if rest.is_empty() {
        // Without dashes it would be a number.
        return has_dashes.then(|| (date.at(0, 0, 0, 0), None));
    }
    if !(skip(&mut rest, b'T') || skip(&mut rest, b't') || skip_blanks(&mut rest)) {
        return None;
    }
    let time = time(&mut rest)?;
    skip_blanks(&mut rest);
    let offset = match rest {
        [] => None,
        _ => Some(offset(rest)?),
    };
    Some((date.to_datetime(time), offset))
}

/// `11:46:40.5`, `11:46`, `114640.5`, `1146`.
fn time(rest: &mut &[u8]) -> Option<Time> {
    let hour = digits(rest, 2)?;
    let has_colons = skip(rest, b':');
    let minute = digits(rest, 2)?;
    let has_second = if has_colons {
        skip(rest, b':')
    } else {
        rest.first().is_some_and(u8::is_ascii_digit)
    };
    let (mut second, mut subsecond_ns) = (0, 0);
    if has_second {
        // A leap second is taken for the one before it, as everywhere where days have 86 400.
        second = digits(rest, 2).map(|second| if second == 60 { 59 } else { second })?;
        subsecond_ns = fraction_ns(rest)?;
    }
    Time::new(hour as i8, minute as i8, second as i8, subsecond_ns).ok()
}

/// `.123` or `,123`, or nothing: nanoseconds.
fn fraction_ns(rest: &mut &[u8]) -> Option<i32> {
    if !(skip(rest, b'.') || skip(rest, b',')) {
        return Some(0);
    }
    let (mut ns, mut scale) = (0, 100_000_000);
    let mut any = false;
    while let [digit @ b'0'..=b'9', tail @ ..] = *rest {
        ns += i32::from(digit - b'0') * scale;
        scale /= 10;
        any = true;
        *rest = tail;
    }
    any.then_some(ns)
}

/// `Z`, `UTC`, `GMT`, `+02:00`, `+0200` or `+02`.
fn offset(mut rest: &[u8]) -> Option<Offset> {
    let is_utc = |name: &[u8]| rest.eq_ignore_ascii_case(name);
    if is_utc(b"Z") || is_utc(b"UTC") || is_utc(b"GMT") {
        return Some(Offset::UTC);
    }
    let sign = if skip(&mut rest, b'-') {
        -1
    } else if skip(&mut rest, b'+') {
        1
    } else {
        return None;
    };
    let hours = digits(&mut rest, 2)?;
    let minutes = if skip(&mut rest, b':') || !rest.is_empty() {
        digits(&mut rest, 2)?
    } else {
        0
    };
    if !rest.is_empty() || hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (i32::from(hours) * 60 + i32::from(minutes)) * 60;
    Offset::from_seconds(sign * seconds).ok()
}

/// The offset `+02:00`, `+0200` or `+02`, if `text` is one.
pub(super) fn signed_offset(text: &str) -> Option<Offset> {
    let is_signed = text.starts_with(['+', '-']);
    is_signed.then(|| offset(text.as_bytes())).flatten()
}

/// The number in `/Date(1777888000123)/` or `/Date(1777888000123+0200)/`.
fn dot_net_ms(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let sign = inner.bytes().rposition(|byte| matches!(byte, b'+' | b'-'));
    let (ms, offset) = inner.split_at_checked(sign.filter(|at| *at > 0).unwrap_or(inner.len()))?;
    let digits = ms.strip_prefix('-').unwrap_or(ms);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_offset = offset.is_empty() || signed_offset(offset).is_some();
    (is_number && is_offset).then_some(ms)
}

/// The number of `count` digits, at most 4, that `rest` begins with.
fn digits(rest: &mut &[u8], count: usize) -> Option<i16> {
    let (digits, tail) = rest.split_at_checked(count)?;
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i16::from(digit - b'0');
    }
    *rest = tail;
    Some(number)
}

fn skip(rest: &mut &[u8], byte: u8) -> bool {
    match rest.strip_prefix(&[byte]) {
        Some(tail) => {
            *rest = tail;
            true
        }
        None => false,
    }
}

/// Whether there was one.
fn skip_blanks(rest: &mut &[u8]) -> bool {
    let mut any = false;
    while skip(rest, b' ') {
        any = true;
    }
    any
}

#[cfg(test)]
mod tests;
