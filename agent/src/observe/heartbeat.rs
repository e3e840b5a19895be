//! How a device is, on one row that goes upstream like any record: what `dunlin fleet` shows of it there.

use std::time::Duration;
#[cfg(feature = "learning")]
use std::{collections::BTreeMap, fmt::Write as _};

use dunlin_sync::sample::FieldType;
#[cfg(feature = "learning")]
use dunlin_sync::sample::Value;
use serde::Serialize;

use super::status::{Status, View};
use crate::record::own_rows::{Cell, clipped, flag, integer, real, text};

/// The table and, on each device, the stream.
pub(crate) const DEVICES: &str = "dunlin_devices";

/// Longest list of what serves, bytes.
#[cfg(feature = "learning")]
const SERVING_BYTES_MAX: usize = 500;

/// Most that is taken of a text of another device, bytes.
#[cfg(feature = "learning")]
const TEXT_BYTES_MAX: usize = 600;

/// How a device is. Counts are records, and since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Heartbeat {
    /// Version of Dunlin.
    pub(crate) version: String,
    /// Tells data directories apart that send under one name; `None`: nothing does.
    pub(crate) instance: Option<String>,
    /// Until the next of these, seconds.
    pub(crate) every_s: u64,
    /// Since the start, seconds.
    pub(crate) uptime_s: u64,
    /// Durable in the buffer.
    pub(crate) committed: u64,
    /// In publishes that went to quarantine.
    pub(crate) quarantined: u64,
    /// Lost for want of room.
    pub(crate) dropped: u64,
    /// Committed and not upstream yet.
    pub(crate) lag_rows: u64,
    /// Age of the oldest of these, seconds.
    pub(crate) lag_s: f64,
    /// Streams the upstream refuses.
    pub(crate) streams_held: u64,
    /// Disk taken by the buffer.
    pub(crate) buffer_bytes: u64,
    /// Connected to the broker.
    pub(crate) broker_connected: bool,
    /// Whether the last call to the upstream had succeeded; this row has arrived since.
    pub(crate) upstream_connected: bool,
    /// The clock can be believed.
    pub(crate) clock_synchronised: bool,
    /// Versions of models that serve, by recipe: `health 3 on 2 streams, ...`.
    pub(crate) serving: String,
    /// Why the device is not healthy, in words.
    pub(crate) problem: Option<String>,
}

impl Heartbeat {
    fn new(status: &Status, every: Duration) -> Self {
        let (records, upstream) = (&status.records, &status.upstream);
        Self {
            version: status.version.clone(),
            every_s: every.as_secs(),
            uptime_s: status.uptime_s,
            committed: records.committed,
            quarantined: records.quarantined,
            dropped: records.dropped,
            lag_rows: upstream.lag_rows,
            lag_s: upstream.lag_s,
            streams_held: upstream.streams_held,
            buffer_bytes: status.buffer.shape.bytes,
            broker_connected: status.mqtt.connected,
            upstream_connected: upstream.connected,
            clock_synchronised: !status.clock.unsynchronised,
            ..Self::default()
        }
    }

    /// As a row of [`DEVICES`].
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let maybe = |text: &Option<String>| text.as_deref().map(clipped);
        vec![
            text("version", &self.version),
            ("instance", FieldType::Text, maybe(&self.instance)),
            integer("every_s", self.every_s),
            integer("uptime_s", self.uptime_s),
            integer("committed", self.committed),
            integer("quarantined", self.quarantined),
            integer("dropped", self.dropped),
            integer("lag_rows", self.lag_rows),
            real("lag_s", self.lag_s),
            integer("streams_held", self.streams_held),
            integer("buffer_bytes", self.buffer_bytes),
            flag("broker_connected", self.broker_connected),
            flag("upstream_connected", self.upstream_connected),
            flag("clock_synchronised", self.clock_synchronised),
            text("serving", &self.serving),
            ("problem", FieldType::Text, maybe(&self.problem)),
        ]
    }

    /// Out of such a row of another device, perhaps of another version: what is missing or of another type is
    /// what it is by default, and texts are cut to what a list can hold.
    #[cfg(feature = "learning")]
    pub(crate) fn read(row: &BTreeMap<String, Value>) -> Self {
        let whole = |name: &str| match row.get(name) {
            Some(Value::I64(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let words = |name: &str| match row.get(name) {
            Some(Value::Text(text)) => {
                Some(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned())
            }
            _ => None,
        };
        let is = |name: &str| matches!(row.get(name), Some(Value::Bool(true)));
        Self {
            version: words("version").unwrap_or_default(),
            instance: words("instance"),
            every_s: whole("every_s"),
            uptime_s: whole("uptime_s"),
            committed: whole("committed"),
            quarantined: whole("quarantined"),
            dropped: whole("dropped"),
            lag_rows: whole("lag_rows"),
            lag_s: match row.get("lag_s") {
                Some(Value::F64(seconds)) => *seconds,
                _ => 0.0,
            },
            streams_held: whole("streams_held"),
            buffer_bytes: whole("buffer_bytes"),
            broker_connected: is("broker_connected"),
            upstream_connected: is("upstream_connected"),
            clock_synchronised: is("clock_synchronised"),
            serving: words("serving").unwrap_or_default(),
            problem: words("problem"),
        }
    }
}

impl View {
    /// How this device is, to be said again after `every`.
    pub(crate) fn heartbeat(&self, every: Duration) -> Heartbeat {
        Heartbeat {
            instance: self.identity.instance(),
            #[cfg(feature = "learning")]
            serving: self.serving(),
            problem: self.health().err(),
            ..Heartbeat::new(&self.status(), every)
        }
    }

    /// What serves here, by recipe and version.
    #[cfg(feature = "learning")]
    fn serving(&self) -> String {
        let settings = self.settings();
        let mut streams: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for key in self.models.keys() {
            let mut recipes = settings.learn.recipes.iter();
            let Some(recipe) = recipes.find(|recipe| recipe.name == key.recipe) else {
                continue;
            };
            if let Some(version) = self.models.number_among(&key, &recipe.available_status) {
                *streams.entry((key.recipe, version)).or_default() += 1;
            }
        }
        in_words(&streams)
    }
}

/// Recipes and their versions, each with its number of streams.
#[cfg(feature = "learning")]
fn in_words(streams: &BTreeMap<(String, u64), u64>) -> String {
    let mut words = String::new();
    for (shown, ((recipe, version), count)) in streams.iter().enumerate() {
        let mut next = format!("{recipe} {version}");
        if *count > 1 {
            // Writing to a String cannot fail.
            let _ok = write!(next, " on {count} streams");
        }
        let between = if shown == 0 { "" } else { ", " };
        if words.len() + between.len() + next.len() > SERVING_BYTES_MAX {
            let _ok = write!(words, "{between}{} more", streams.len() - shown);
            break;
        }
        words.push_str(between);
        words.push_str(&next);
    }
    words
}

#[cfg(test)]
mod tests;
