//! What lies in quarantine, and how it lies there.

use serde::{Deserialize, Serialize};

use crate::{files::frame, uploader::RejectedRow};

/// Bytes of a payload kept; a longer one is cut and cannot be sent again.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

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
    /// Records it held, at least 1.
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
