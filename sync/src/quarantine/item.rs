//! What lies in quarantine, and how it lies there.

use serde::{Deserialize, Serialize};

use crate::{files::frame, uploader::RejectedRow};

/// Bytes of a payload kept; a longer one is cut and cannot be sent again.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Values that are missing from the records of a publish which is stored but for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Paths of their fields.
    fields: Vec<String>,
    /// For each value the number of its record, from 1, and the place of its field in `fields`.
    values: Vec<(u32, u32)>,
}

impl Missing {
    /// Adds the value of the field at `path` in record number `record`, from 1. Records come in order.
    pub fn add(&mut self, record: usize, path: &str) {
        let known = self.fields.iter().position(|field| field == path);
        if known.is_none() {
            self.fields.push(path.to_owned());
        }
        let place = known.unwrap_or(self.fields.len() - 1);
        self.values.push((record as u32, place as u32));
    }

    /// Whether the value of the field at `path` in record number `record`, from 1, is missing.
    pub fn has(&self, record: usize, path: &str) -> bool {
        let Some(field) = self.fields.iter().position(|field| field == path) else {
            return false;
        };
        let of_record = |value: &(u32, u32)| value.0 as usize;
        let first = self
            .values
            .partition_point(|value| of_record(value) < record);
        let values = self.values[first..].iter();
        let mut values = values.take_while(|value| of_record(value) == record);
        values.any(|(_, place)| *place as usize == field)
    }

    /// Values listed.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// What is in quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// A publish as it came.
    Publish {
        /// Its topic.
        topic: Vec<u8>,
        /// Its payload, or the beginning of it.
        payload: Vec<u8>,
        /// Length of the payload as sent; more than there is: it was cut.
        payload_bytes: u64,
    },
    /// A committed row.
    Row(RejectedRow),
    /// A publish as it came that is stored but for some values.
    Partly {
        /// Its topic.
        topic: Vec<u8>,
        /// Its payload.
        payload: Vec<u8>,
        /// Length of the payload as sent; more than there is: it was cut.
        payload_bytes: u64,
        /// What is not stored.
        missing: Missing,
    },
}

/// A publish that lies in quarantine.
#[derive(Clone, Copy, Debug)]
pub struct KeptPublish<'a> {
    /// Its topic.
    pub topic: &'a [u8],
    /// Its payload, or the beginning of it.
    pub payload: &'a [u8],
    /// Length of the payload as sent; more than there is: it was cut.
    pub payload_bytes: u64,
    /// What of it is not stored; `None`: all of it.
    pub missing: Option<&'a Missing>,
}

impl Content {
    /// The publish, if it is one.
    pub fn publish(&self) -> Option<KeptPublish<'_>> {
        match self {
            Self::Publish {
                topic,
                payload,
                payload_bytes,
            } => Some(KeptPublish {
                topic,
                payload,
                payload_bytes: *payload_bytes,
                missing: None,
            }),
            Self::Partly {
                topic,
                payload,
                payload_bytes,
                missing,
            } => Some(KeptPublish {
                topic,
                payload,
                payload_bytes: *payload_bytes,
                missing: Some(missing),
            }),
            Self::Row(_) => None,
        }
    }
}

/// Something put into quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// When, nanoseconds UTC by the wall clock.
    pub at_ns: i64,
    /// Stable short name of the reason.
    pub reason: String,
    /// What exactly is wrong.
    pub detail: String,
    /// Records it held that are not stored; of what is stored in part, perhaps none.
    pub records: u64,
    /// The thing itself.
    pub content: Content,
}

pub(super) fn item_key(id: u64, part: u32) -> Vec<u8> {
    let mut key = vec![b'q'];
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn item_id(key: &[u8]) -> Option<u64> {
    key.get(1..9)
        .and_then(|id| id.try_into().ok())
        .map(u64::from_be_bytes)
}

pub(super) fn decoded(id: u64, bytes: &[u8]) -> Option<(u64, Item)> {
    let item = frame::from_bytes(bytes);
    item.inspect_err(|error| tracing::error!(id, %error, "an item in quarantine is damaged"))
        .ok()
        .map(|item| (id, item))
}
