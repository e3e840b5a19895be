//! What goes into quarantine of a publish.

use dunlin_sync::quarantine::{Content, Item, PAYLOAD_BYTES_MAX};

use crate::record::decode::{Misfits, Reason, Reject};

/// A publish that is stored but for `misfits`, now (`at_ns`, nanoseconds UTC).
pub(super) fn partly_stored(misfits: Misfits, topic: &[u8], payload: &[u8], at_ns: i64) -> Item {
    let reason = misfits
        .kinds
        .first()
        .map_or(Reason::WrongType, |first| first.reason);
    Item {
        at_ns,
        reason: reason.as_str().to_owned(),
        detail: misfits.summary(),
        records: misfits.records,
        content: Content::Partly {
            topic: topic.to_vec(),
            payload: payload[..payload.len().min(PAYLOAD_BYTES_MAX)].to_vec(),
            payload_bytes: payload.len() as u64,
            missing: misfits.missing,
        },
    }
}

/// A publish that is refused, with the length that its payload had.
pub(super) fn refused(reject: &Reject, topic: &[u8], payload: (&[u8], usize), at_ns: i64) -> Item {
    let (payload, payload_bytes) = payload;
    Item {
        at_ns,
        reason: reject.reason.as_str().to_owned(),
        detail: reject.detail.clone(),
        records: reject.records,
        content: Content::Publish {
            topic: topic.to_vec(),
            payload: payload[..payload.len().min(PAYLOAD_BYTES_MAX)].to_vec(),
            payload_bytes: payload_bytes as u64,
        },
    }
}
