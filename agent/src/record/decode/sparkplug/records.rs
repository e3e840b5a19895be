//! From the metrics of a publish to the records of its stream.
//!
//! - the stream is that of group, edge node and device;
//! - metrics of one time make up one record; a data set is a record a row, with fields `METRIC.COLUMN`;
//! - those that are told to be of the past (`is_historical`) make up a record of their own, in which the field
//!   `sparkplug_historical` is set; elsewhere it is missing, and where nobody says so it is no field at all;
//! - a birth sets the field `sparkplug_online`, a death clears it, in a record of its own; the death of a
//!   node is that of its devices, too. Such a record may lack what is required;
//! - `bdSeq` and what stands below `Node Control/` and `Device Control/` is about the connection, and left
//!   out, as is what is not meant to be stored (transient);
//! - a value of bad or stale quality is missing, and counted; `records = { good = [..] }` says otherwise, as
//!   encoders exist that swap good and bad.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    payload::Message,
    session::{Change, Event, Reading, Resolution, Resolved},
    sessions::Sessions,
    topic::{EdgeTopic, MessageKind, Topic},
};
use crate::{
    base::own_names::HISTORICAL,
    record::decode::{
        RECORDS_MAX, Reason, Reject, builder::Builder, names::clean_tag, quoted, value::Cell,
    },
};

/// Field that says whether a node or device is there.
const ONLINE: &str = "sparkplug_online";
/// What is about the connection and not about the plant.
const CONTROL: [&str; 2] = ["Node Control/", "Device Control/"];

/// Group, edge node and device.
const PARTS: usize = 3;

/// Qualities of values that count for nothing.
const BAD: i32 = 0;
const STALE: i32 = 500;

/// What is to be remembered of a publish, and whether its records are in the builder.
type Taken<'t> = (Change<'t>, Result<(), Reject>);

/// What the session should remember of a publish on `topic` whose records are in `builder`; `None` of what
/// is of no interest.
pub(in crate::record::decode) fn decode<'t>(
    topic: &'t str,
    payload: &[u8],
    sessions: &Sessions,
    builder: &mut Builder<'_>,
) -> Result<Option<Taken<'t>>, Reject> {
    let Topic::Edge(topic) = Topic::parse(topic)? else {
        return Ok(None);
    };
    if topic.kind == MessageKind::Command {
        return Ok(None);
    }
    let message = Message::decode(Bytes::copy_from_slice(payload))?;
    let payload = message.payload()?;
    let sent_ms = payload.timestamp_ms;
    let (resolution, change) = sessions.current().resolve(topic, payload)?;
    builder.set_tags(tags(topic, builder));
    let online = match resolution.event {
        Event::Birth | Event::RepeatedBirth => Some(true),
        Event::Death => Some(false),
        Event::Data => None,
        Event::OldDeath | Event::Command => return Ok(None),
    };
    // A will is written when the connection begins: its time is not that of the death.
    let is_will = resolution.event == Event::Death && topic.device.is_none();
    let sent_ms = sent_ms.filter(|_| !is_will);
    let mut put = put_records(&resolution, online.map(|online| (online, sent_ms)), builder);
    if is_will && put.is_ok() {
        put = put_gone_devices(topic, &sessions.current().born_devices(topic), builder);
    }
    tell(sessions, topic, &resolution);
    Ok(Some((change, put)))
}

/// Group, edge node and device, as far as the rule has tags for them.
fn tags(topic: EdgeTopic<'_>, builder: &Builder<'_>) -> Vec<String> {
    let parts: [&str; PARTS] = [
        topic.group,
        topic.edge_node,
        topic.device.unwrap_or_default(),
    ];
    let tags = builder.rule().payload_tags.iter().zip(parts);
    tags.map(|(_, part)| clean_tag(part)).collect()
}

fn put_records(
    resolution: &Resolution<'_>,
    online: Option<(bool, Option<u64>)>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    // By time, and whether it is of the past.
    let mut by_time: BTreeMap<(Option<u64>, bool), Vec<&Resolved<'_>>> = BTreeMap::new();
    let kept = |metric: &&Resolved<'_>| {
        let name = &*metric.name;
        let is_control = name == "bdSeq" || CONTROL.iter().any(|start| name.starts_with(start));
        !is_control && !metric.is_transient
    };
    for metric in resolution.metrics.iter().filter(kept) {
        let key = (metric.timestamp_ms, metric.is_historical);
        by_time.entry(key).or_default().push(metric);
    }
    if let Some((_, sent_ms)) = online {
        by_time.entry((sent_ms, false)).or_default();
    }
    let good = builder
        .rule()
        .records
        .as_ref()
        .map_or(&[][..], |records| &records.good);
    let mut aliases = Some(&resolution.unknown_aliases).filter(|aliases| !aliases.is_empty());
    for ((time_ms, is_historical), metrics) in by_time {
        let (mut values, mut sets) = (Vec::new(), Vec::new());
        for metric in metrics {
            let quality = metric.quality;
            if quality.is_some_and(|quality| !is_kept(quality, good)) {
                builder.note_misfit(&metric.name, Reason::BadQuality, "a value of bad quality");
                continue;
            }
            match &metric.value {
                Reading::Cell(cell) => values.push((&*metric.name, cell)),
                Reading::DataSet(set) => sets.push((&*metric.name, set)),
            }
        }
        let online = online.filter(|(_, sent_ms)| *sent_ms == time_ms && !is_historical);
        // Data sets alone are records of their own.
        if sets.is_empty() || !values.is_empty() || online.is_some() || aliases.is_some() {
            builder.begin()?;
            builder.set_source_ts(source_ts(time_ms));
            if let Some((online, _)) = online {
                builder.put(ONLINE, &Cell::Bool(online))?;
                builder.note_presence();
            }
            if is_historical {
                builder.put(HISTORICAL, &Cell::Bool(true))?;
            }
            for (name, cell) in values {
                builder.put(name, cell)?;
            }
            for (alias, count) in aliases.take().into_iter().flatten() {
                builder.miss_alias(*alias, *count)?;
            }
            builder.note_any();
            builder.end()?;
        }
        for (name, set) in sets {
            for row in set.rows() {
                builder.begin()?;
                builder.set_source_ts(source_ts(time_ms));
                if is_historical {
                    builder.put(HISTORICAL, &Cell::Bool(true))?;
                }
                for (column, cell) in set.columns.iter().zip(row) {
                    builder.put(&format!("{name}.{}", column.name), cell)?;
                }
                builder.end()?;
            }
        }
    }
    if builder.begun() == 0 && !resolution.unknown_aliases.is_empty() {
        let detail = "metrics by aliases that no birth has announced: have the edge node announce itself \
                      again (rebirth), then retry";
        return Err(Reject::new(Reason::UnknownAlias, detail));
    }
    Ok(())
}

/// A node that is gone says nothing of its devices, which are gone with it.
fn put_gone_devices(
    topic: EdgeTopic<'_>,
    devices: &[String],
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    // Where devices have no streams of their own, nobody could tell whose records these are.
    if builder.rule().payload_tags.len() < PARTS {
        return Ok(());
    }
    builder.allow_records(RECORDS_MAX.max(devices.len() + 1));
    for device in devices {
        let of_device = EdgeTopic {
            device: Some(device),
            ..topic
        };
        builder.set_tags(tags(of_device, builder));
        builder.begin()?;
        builder.put(ONLINE, &Cell::Bool(false))?;
        builder.note_presence();
        builder.end()?;
    }
    Ok(())
}

/// Nanoseconds UTC, if that is a time.
fn source_ts(time_ms: Option<u64>) -> Option<i64> {
    i64::try_from(time_ms?).ok()?.checked_mul(1_000_000)
}

/// Whether a value of this quality counts: all but bad and stale ones, or those that the rule calls good.
fn is_kept(quality: i32, good: &[String]) -> bool {
    if good.is_empty() {
        return !matches!(quality, BAD | STALE);
    }
    good.iter().any(|word| word.parse() == Ok(quality))
}

/// Once for each edge node until its next birth.
fn tell(sessions: &Sessions, topic: EdgeTopic<'_>, resolution: &Resolution<'_>) {
    if resolution.event == Event::Birth && topic.device.is_none() {
        sessions.forget_told(topic);
    }
    let Some(why) = resolution.needs_rebirth.filter(|_| sessions.is_news(topic)) else {
        return;
    };
    let before = sessions.current().counters(topic).unwrap_or_default();
    tracing::warn!(
        group = quoted(topic.group),
        edge_node = quoted(topic.edge_node),
        ?why,
        sequence = ?resolution.sequence,
        gaps_before = before.sequence_gaps,
        aliases_unknown_before = before.unknown_aliases,
        "messages of an edge node are missing, or its births: have it announce itself again (rebirth)"
    );
}

#[cfg(test)]
mod tests;
