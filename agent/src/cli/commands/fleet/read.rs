//! What devices have said of themselves, read at a centre.

use std::collections::BTreeMap;

use dunlin_sync::{
    centre::{
        Centre, CentreError,
        rows::{RowsQuery, STREAMS_AT_ONCE_MAX},
    },
    sample::TimeRange,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::seen::Seen;
use crate::observe::heartbeat::{DEVICES, Heartbeat};

/// Most devices that are listed.
pub(super) const DEVICES_MAX: usize = 100_000;
/// Devices that are looked up at once.
const AT_ONCE_MAX: usize = 16;
/// Heartbeats of a device that are looked at: enough to see two devices take turns.
const HEARTBEATS: usize = 6;

/// The devices of a centre.
pub(super) struct Found {
    /// Those in trouble first.
    pub(super) devices: Vec<Seen>,
    /// There are more of them.
    pub(super) is_cut: bool,
}

/// All devices that have said how they are.
///
/// # Errors
/// The centre's.
pub(super) async fn all(centre: &dyn Centre, now_ns: i64) -> Result<Found, CentreError> {
    let (mut devices, mut after) = (Vec::new(), String::new());
    let mut is_cut = false;
    while !is_cut {
        let names = centre.streams(&after, STREAMS_AT_ONCE_MAX).await?;
        let Some(last) = names.last() else {
            break;
        };
        after.clone_from(last);
        let mut here: Vec<&str> = names.iter().filter_map(|name| device_of(name)).collect();
        let room = DEVICES_MAX - devices.len();
        is_cut = here.len() > room;
        here.truncate(room);
        let found = stream::iter(here).map(|device| one(centre, device, now_ns));
        let found: Vec<Option<Seen>> = found.buffered(AT_ONCE_MAX).try_collect().await?;
        devices.extend(found.into_iter().flatten());
    }
    devices.sort_by(|a, b| a.rank().cmp(&b.rank()));
    Ok(Found { devices, is_cut })
}

/// One of them; `None` if it has said nothing.
///
/// # Errors
/// The centre's.
pub(super) async fn one(
    centre: &dyn Centre,
    device: &str,
    now_ns: i64,
) -> Result<Option<Seen>, CentreError> {
    let name = format!("{device}/{DEVICES}");
    let stored = centre.stream(&name).await?;
    let Some(stored) = stored.filter(|stored| stored.schema == DEVICES) else {
        return Ok(None);
    };
    let fields: Vec<String> = stored.fields.into_iter().map(|field| field.name).collect();
    let query = RowsQuery {
        stream: name,
        fields: fields.clone(),
        range: TimeRange::ALL,
        is_newest_first: true,
        most: HEARTBEATS,
    };
    let rows = centre.rows(&query).await?;
    let said = rows.ts.iter().enumerate().map(|(row, ts)| {
        // Columns are in the order of the fields that were asked for.
        let cells = rows.columns.iter().filter_map(|(at, column)| {
            let value = column.get(row)?;
            Some((fields.get(at)?.clone(), value))
        });
        (*ts, Heartbeat::read(&cells.collect::<BTreeMap<_, _>>()))
    });
    Ok(Seen::new(device, &said.collect::<Vec<_>>(), now_ns))
}

/// The device that says here how it is.
fn device_of(stream: &str) -> Option<&str> {
    let (device, stream) = stream.split_once('/')?;
    (stream == DEVICES).then_some(device)
}
