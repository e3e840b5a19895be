//! Where the clock stands that writes times without an offset.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{self, TimeZone},
};

use super::{TimeError, text};
use crate::base::text::quoted;

const ZONES: &str = "write \"local\", \"UTC\", an offset such as \"+02:00\", a name such as \
                     \"Europe/Berlin\", or a POSIX rule such as \"CET-1CEST,M3.5.0,M10.5.0/3\"";

/// A time zone, found once. Of an hour that comes twice, at the end of summer time, the first pass is
/// meant; a time that is skipped, at its beginning, is moved ahead by the gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a zone: `local` (of `TZ` or `/etc/localtime`), `UTC`, an offset, a name in the device's
    /// zoneinfo, or a POSIX rule of summer time.
    ///
    /// # Errors
    /// One line that says what may be written, if there is no such zone.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "local" {
            return match TimeZone::try_system() {
                Ok(zone) => Ok(Self(zone)),
                Err(error) => Err(format!(
                    "this device's zone is unknown ({error}): set /etc/localtime or TZ, or {ZONES}"
                )),
            };
        }
        if text.eq_ignore_ascii_case("UTC") || text == "Z" {
            return Ok(Self::UTC);
        }
        if let Some(offset) = text::signed_offset(text) {
            return Ok(Self(offset.to_time_zone()));
        }
        // Without a comma, a mistyped name such as `Berlin1` would be a rule too.
        if text.contains(',') {
            let zone = TimeZone::posix(text);
            return zone
                .map(Self)
                .map_err(|_| format!("{} is no POSIX rule of a time zone: {ZONES}", quoted(text)));
        }
        let database = tz::db();
        if database.is_definitively_empty() {
            return Err(format!(
                "{} cannot be looked up, as this device has no /usr/share/zoneinfo: install tzdata, or \
                 write \"UTC\", an offset such as \"+02:00\", or a POSIX rule such as \
                 \"CET-1CEST,M3.5.0,M10.5.0/3\"",
                quoted(text)
            ));
        }
        let zone = database.get(text);
        zone.map(Self)
            .map_err(|_| format!("no time zone is called {}: {ZONES}", quoted(text)))
    }

    /// Nanoseconds UTC of what a clock here shows, counted as if it showed UTC.
    ///
    /// # Errors
    /// If it does not fit into 64 bits.
    pub fn of_wall_ns(&self, wall_ns: i64) -> Result<i64, TimeError> {
        let wall = Timestamp::from_nanosecond(wall_ns.into());
        let wall = wall.map_err(|_| TimeError::OutOfRange)?;
        self.ns(wall.to_zoned(TimeZone::UTC).datetime())
    }

    /// Whether the offset changes within a day.
    pub(super) fn changes_near(&self, ns: i64) -> bool {
        const DAY_NS: i128 = 86_400 * 1_000_000_000;
        let offset = |ns: i128| {
            let timestamp = Timestamp::from_nanosecond(ns).ok()?;
            Some(self.0.to_offset(timestamp))
        };
        offset(i128::from(ns) - DAY_NS) != offset(i128::from(ns) + DAY_NS)
    }

    /// Whether a clock here shows this twice or never, counted as if it showed UTC.
    pub(super) fn is_doubtful(&self, wall_ns: i64) -> bool {
        Timestamp::from_nanosecond(wall_ns.into()).is_ok_and(|wall| {
            let civil = wall.to_zoned(TimeZone::UTC).datetime();
            self.0.to_ambiguous_timestamp(civil).is_ambiguous()
        })
    }

    /// Nanoseconds UTC of what a clock here shows.
    pub(super) fn ns(&self, civil: DateTime) -> Result<i64, TimeError> {
        let timestamp = self.0.to_ambiguous_timestamp(civil).compatible();
        text::timestamp_ns(timestamp.map_err(|_| TimeError::OutOfRange)?)
    }
}

#[cfg(test)]
mod tests;
