//! How the times of a stream are written, and which are believed.

use toml::de::DeValue;

use crate::{
    base::time_text,
    config::{
        check::entry::Entry,
        diagnostic::Diagnostics,
        schema::keys::stream as keys,
        settings::{PayloadFormat, TimeFormat, TimeRange, TimeRule, TimeUnit, Zone},
    },
};

const ZONE_HINT: &str = "write time_zone = \"local\", \"UTC\", \"+02:00\" or \"Europe/Berlin\"";
const FORMAT_HINT: &str = "write time_format = \"%d.%m.%Y %H:%M:%S\"";

pub(super) fn rule(entry: &Entry<'_>, format: PayloadFormat, found: &mut Diagnostics) -> TimeRule {
    let keys = [
        keys::TIME_UNIT.key(),
        keys::TIME_ZONE.key(),
        keys::TIME_FORMAT.key(),
    ];
    for key in keys {
        let has_unit = key == keys::TIME_UNIT.key() && format == PayloadFormat::Influx;
        if entry.raw(key).is_some() && entry.raw(keys::TIME.key()).is_none() && !has_unit {
            let hint = "add time = \"/time\", or remove it";
            entry.error(key, "means nothing without time", hint, found);
        }
    }
    let unit = entry.read(&keys::TIME_UNIT, found);
    let zone = entry.read(&keys::TIME_ZONE, found).and_then(|text| {
        let zone = Zone::parse(&text);
        zone.map_err(|why| entry.error(keys::TIME_ZONE.key(), why, ZONE_HINT, found))
            .ok()
    });
    let format = entry.read(&keys::TIME_FORMAT, found).and_then(|text| {
        let format = TimeFormat::parse(&text);
        format
            .map_err(|why| entry.error(keys::TIME_FORMAT.key(), why, FORMAT_HINT, found))
            .ok()
    });
    if zone.is_none() && format.as_ref().is_some_and(TimeFormat::needs_zone) {
        let message = "names no offset from UTC, and there is no time_zone";
        entry.error(keys::TIME_FORMAT.key(), message, ZONE_HINT, found);
    }
    TimeRule {
        unit: unit.unwrap_or(TimeUnit::BySize),
        zone,
        format,
    }
}

pub(super) fn range(
    entry: &Entry<'_>,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> TimeRange {
    for key in [keys::TIME_MIN.key(), keys::TIME_MAX_AHEAD.key()] {
        let has_time = entry.raw(keys::TIME.key()).is_some() || format.has_own_time();
        if entry.raw(key).is_some() && !has_time {
            let hint = "add time = \"/time\", or remove it";
            entry.error(key, "means nothing without time", hint, found);
        }
    }
    let min_ns = entry.raw(keys::TIME_MIN.key()).and_then(|value| {
        let written = match value.get_ref() {
            // A date needs no quotes.
            DeValue::Datetime(date) => Some(date.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        let min_ns = written.and_then(|text| time_text::parse(&text, false));
        if min_ns.is_none() {
            let hint = format!("write {}", time_text::EXAMPLES);
            entry.error(keys::TIME_MIN.key(), "is no time", hint, found);
        }
        min_ns
    });
    TimeRange {
        min_ns: min_ns.unwrap_or(TimeRange::DEFAULT.min_ns),
        ahead_max: entry.get(&keys::TIME_MAX_AHEAD, found),
    }
}
