//! The source's own time, to the nanosecond: decimals are never taken through a float, which could tell
//! today's seconds apart only to some 200 ns.

mod format;
mod text;
mod zone;

pub use format::TimeFormat;
pub use zone::Zone;

/// Unit of a time that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Told from the number's size (default): 10 digits are seconds, 13 milliseconds, and so on.
    BySize,
    /// Seconds (fractions allowed).
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// How the times of a stream are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// Unit of numbers.
    pub unit: TimeUnit,
    /// Where the clock stands that writes texts without an offset; `None`: such texts are refused.
    pub zone: Option<Zone>,
    /// How texts are written; `None`: in one of the forms of `text_ns`.
    pub format: Option<TimeFormat>,
}

/// Why something is not taken as a time. Its text follows a description of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither a number nor a text that is known.
    #[error(
        "is no time: send a number (see time_unit), a text such as 2026-05-04T09:46:40Z, or set \
         time_format"
    )]
    NotATime,
    /// Neither a number nor a text as the format says.
    #[error("is not written as time_format says")]
    NotInFormat,
    /// A text without an offset, and nobody said where its clock stands.
    #[error(
        "has no offset from UTC: send one, or write time_zone = \"local\" (or \"UTC\", \"+02:00\", \
         \"Europe/Berlin\")"
    )]
    NeedsZone,
    /// Nanoseconds since 1970 would not fit into 64 bits.
    #[error("is no time between 1677 and 2262; see time_unit if it is a number")]
    OutOfRange,
}

impl TimeRule {
    /// A number in this unit, or a text with an offset in one of the forms of `text_ns`.
    pub const fn of(unit: TimeUnit) -> Self {
        Self {
            unit,
            zone: None,
            format: None,
        }
    }

    /// Whether the unit of a number is told by its size alone.
    pub fn guesses_unit(&self) -> bool {
        let format = self.format.as_ref();
        self.unit == TimeUnit::BySize && !format.is_some_and(TimeFormat::makes_numbers)
    }

    /// Whether a text, read as `ns`, is what its clock shows twice or never, when summer time ends or begins.
    pub fn is_doubtful(&self, text: &str, ns: i64) -> bool {
        let Some(zone) = self.zone.as_ref().filter(|zone| zone.changes_near(ns)) else {
            return false;
        };
        let read = |zone| {
            let (unit, format) = (self.unit, self.format.clone());
            Self { unit, zone, format }.written_ns(text)
        };
        let is_local = read(None) == Err(TimeError::NeedsZone);
        is_local && read(Some(Zone::UTC)).is_ok_and(|wall_ns| zone.is_doubtful(wall_ns))
    }

    /// Nanoseconds UTC of a number or text, as it is written.
    ///
    /// A number counts from 1970, and so does a text that is one, whatever the format; only where the
    /// format itself makes numbers (`%Y%m%d%H%M%S`) is every number read by it.
    ///
    /// # Errors
    /// `TimeError` if it is no time.
    pub fn written_ns(&self, text: &str) -> Result<i64, TimeError> {
        let text = text.trim_ascii();
        let zone = self.zone.as_ref();
        let format = self.format.as_ref();
        let makes_numbers = format.is_some_and(TimeFormat::makes_numbers);
        // Looking for a number in the usual form of a text would double its cost.
        if !makes_numbers && !text::is_dashed_date(text) {
            match decimal(text, self.unit) {
                Err(TimeError::NotATime) => {}
                counted => return counted,
            }
        }
        match format {
            Some(format) => format.ns(text, zone),
            None => text_ns(text, zone),
        }
    }
}

/// Nanoseconds UTC of a text with an offset (`2026-05-04T11:46:40+02:00`).
pub(crate) fn rfc3339_ns(text: &str) -> Option<i64> {
    text_ns(text, None).ok()
}

/// Nanoseconds UTC of a text that is no number, in one of these forms; what is finer than a nanosecond
/// is cut off.
/// - RFC 3339, also with a blank for the `T`, a comma before the fraction, blanks, `UTC` or `GMT` for
///   the offset, and without seconds; ISO 8601 in basic form (`20260504T094640Z`);
/// - either without an offset, or a date alone (`2026-05-04`), in `zone`;
/// - RFC 9557, whose offset counts, not the zone behind it (`2026-05-04T11:46:40+02:00[Europe/Berlin]`);
/// - RFC 2822, as in HTTP (`Mon, 04 May 2026 09:46:40 GMT`);
/// - .NET's `/Date(1777888000123+0200)/`: milliseconds UTC, whatever the offset.
///
/// # Errors
/// `TimeError` if it is in none of them, if it needs a zone and there is none, and if it does not fit
/// into 64 bits.
pub(crate) fn text_ns(text: &str, zone: Option<&Zone>) -> Result<i64, TimeError> {
    text::ns(text, zone)
}

/// Nanoseconds of a decimal such as `1700000000.123456789` or `1.7e+09` counted in `unit`; what is finer
/// than a nanosecond is cut off. `None`: it is no decimal, or does not fit into 64 bits.
pub(crate) fn decimal_ns(text: &str, unit: TimeUnit) -> Option<i64> {
    decimal(text, unit).ok()
}

/// As [`decimal_ns`]; which of the two it is.
fn decimal(text: &str, unit: TimeUnit) -> Result<i64, TimeError> {
    if let Some(whole) = short_whole(text) {
        let exponent = exponent_of(
            unit,
            whole.checked_ilog10().map_or(0, |log| i64::from(log) + 1),
        );
        let ns = whole.checked_mul(10_i64.pow(exponent as u32));
        return ns.ok_or(TimeError::OutOfRange);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent = exponent.parse::<i32>();
            (mantissa, exponent.map_err(|_| TimeError::NotATime)?)
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(TimeError::NotATime);
    }
    let before_point = whole.trim_start_matches('0').len() as i64 + i64::from(exponent);
    let unit_exponent = exponent_of(unit, before_point);
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
        let shifted = ns.checked_mul(10).ok_or(TimeError::OutOfRange)?;
        ns = shifted.checked_add(digit).ok_or(TimeError::OutOfRange)?;
    }
    Ok(if negative { -ns } else { ns })
}

/// What nearly every number is: digits, few enough that nothing can overflow.
fn short_whole(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.bytes().try_fold(0, |whole: i64, byte| {
        byte.is_ascii_digit()
            .then(|| whole * 10 + i64::from(byte - b'0'))
    })
}

/// How many powers of ten a unit is above the nanosecond, for a number of `before_point` digits before its point.
fn exponent_of(unit: TimeUnit, before_point: i64) -> i64 {
    match unit {
        // Until the year 5138 the sizes of today's times in the four units do not overlap.
        TimeUnit::BySize if before_point <= 11 => 9,
        TimeUnit::BySize if before_point <= 14 => 6,
        TimeUnit::BySize if before_point <= 17 => 3,
        TimeUnit::BySize => 0,
        TimeUnit::Seconds => 9,
        TimeUnit::Millis => 6,
        TimeUnit::Micros => 3,
        TimeUnit::Nanos => 0,
    }
}

#[cfg(test)]
mod tests;
