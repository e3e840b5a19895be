//! Times as texts in a form that somebody wrote down.

use jiff::{
    Error,
    civil::{DateTime, date},
    fmt::strtime::{self, BrokenDownTime},
    tz::TimeZone,
};

use super::TimeUnit;
use super::{TimeError, Zone, decimal, text};
use crate::base::text::quoted;

/// How texts are written, in the directives of the crate jiff's `strptime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    format: String,
    needs_zone: bool,
    makes_numbers: bool,
}

impl TimeFormat {
    /// Takes a format that names a moment: a date with or without a time, or seconds since 1970 (`%s`).
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(format: &str) -> Result<Self, String> {
        Self::tried(format).map_err(|what| format!("{} {what}", quoted(format)))
    }

    /// Writes a moment, and sees what can be read back.
    fn tried(format: &str) -> Result<Self, String> {
        let unusable =
            |error: Error| format!("cannot be used ({error}): an example is \"%d.%m.%Y %H:%M:%S\"");
        // Nothing in it needs padding, and its hour is another on a clock with 12.
        let moment = date(2026, 12, 24).at(23, 46, 50, 123_456_789);
        let utc = moment.to_zoned(TimeZone::UTC).map_err(unusable)?;
        let written = strtime::format(format, &utc).map_err(unusable)?;
        let written = written.trim_ascii();
        let read = strtime::parse(format, written).map_err(unusable)?;
        if read.iana_time_zone().is_some() {
            return Err("names the zone of each time (%Q): use %z, or set time_zone".to_owned());
        }
        let counts_seconds = read.timestamp().is_some();
        if counts_seconds && read.subsec_nanosecond().is_some() {
            return Err(
                "would lose the fraction behind %s: leave time_format out, numbers need none"
                    .to_owned(),
            );
        }
        if !counts_seconds {
            check(moment, civil(&read).map_err(unusable)?)?;
        }
        Ok(Self {
            format: format.to_owned(),
            needs_zone: !counts_seconds && read.offset().is_none(),
            makes_numbers: decimal(written, TimeUnit::Nanos) != Err(TimeError::NotATime),
        })
    }

    /// Whether the texts say no offset, so that none can be read without a zone.
    pub fn needs_zone(&self) -> bool {
        self.needs_zone
    }

    /// Whether the texts look like numbers, which then do not count from 1970.
    pub(super) fn makes_numbers(&self) -> bool {
        self.makes_numbers
    }

    /// Nanoseconds UTC of `text`; its own offset counts before `zone`.
    pub(super) fn ns(&self, text: &str, zone: Option<&Zone>) -> Result<i64, TimeError> {
        let read = strtime::parse(&self.format, text).map_err(|_| TimeError::NotInFormat)?;
        if let Some(timestamp) = read.timestamp() {
            return text::timestamp_ns(timestamp);
        }
        let civil = civil(&read).map_err(|_| TimeError::NotInFormat)?;
        text::civil_ns(civil, read.offset(), zone)
    }
}

fn civil(read: &BrokenDownTime) -> Result<DateTime, Error> {
    Ok(read.to_date()?.to_datetime(read.to_time()?))
}

/// Whether `read` is what was `written`, as far as the format goes.
fn check(written: DateTime, read: DateTime) -> Result<(), String> {
    if read.date() != written.date() {
        return Err(format!("reads {} as {}", written.date(), read.date()));
    }
    let has_time = read != read.date().at(0, 0, 0, 0);
    if has_time && read.hour() != written.hour() {
        return Err("has hours up to 12 without AM or PM: add %p, or write %H".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
