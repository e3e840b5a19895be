//! What is remembered of one edge node and its devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Sequence,
    table::{Size, Table},
};

/// Sequence numbers go from 0 to one below this, and round again.
const SEQUENCE_END: u64 = 256;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    /// Since its last death, if any.
    pub(super) is_born: bool,
    pub(super) birth_ms: Option<u64>,
    pub(super) bd_seq: Option<u64>,
    pub(super) last_seq: Option<u64>,
    pub(super) counters: Counters,
    pub(super) table: Table,
    pub(super) devices: BTreeMap<String, Device>,
    /// With its devices, without its own name.
    pub(super) size: Size,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) is_born: bool,
    pub(super) table: Table,
}

/// What went wrong with the messages of an edge node and its devices, since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Times that messages were missing.
    pub(crate) sequence_gaps: u64,
    /// Values left out because nobody had announced their alias.
    pub(crate) unknown_aliases: u64,
}

impl Node {
    /// What the node itself (`None`) or a device has announced.
    pub(super) fn table_of(&self, device: Option<&str>) -> Option<&Table> {
        match device {
            None => Some(&self.table),
            Some(device) => self.devices.get(device).map(|device| &device.table),
        }
    }

    /// Whether the node, and the device if there is one, have been born and not died since.
    pub(super) fn is_complete(&self, device: Option<&str>) -> bool {
        self.is_born
            && device.is_none_or(|device| {
                self.devices
                    .get(device)
                    .is_some_and(|device| device.is_born)
            })
    }

    /// Whether aliases stand for what they did at the last birth, in a message that comes in this order.
    pub(super) fn aliases_hold(&self, device: Option<&str>, sequence: Sequence) -> bool {
        let is_gapless = matches!(sequence, Sequence::InOrder | Sequence::Repeated);
        // What a device has announced since the last death it has announced, whether its node's birth was seen or
        // not: whoever subscribes late may have missed that one alone.
        let born = device.and_then(|device| self.devices.get(device));
        born.is_some_and(|device| device.is_born)
            || self.is_born && (is_gapless || device.is_none())
    }

    /// Whether this birth is the one known already. Asked for again, it would come with another time.
    pub(super) fn is_birth(&self, birth_ms: Option<u64>, bd_seq: Option<u64>) -> bool {
        self.is_born && birth_ms.is_some() && self.birth_ms == birth_ms && self.bd_seq == bd_seq
    }

    /// The node with all its devices, or one device, is gone.
    pub(super) fn die(&mut self, device: Option<&str>) {
        if let Some(device) = device {
            if let Some(device) = self.devices.get_mut(device) {
                device.is_born = false;
            }
        } else {
            self.is_born = false;
            self.last_seq = None;
            for device in self.devices.values_mut() {
                device.is_born = false;
            }
        }
    }

    pub(super) fn sequence(&self, came: Option<u64>) -> Sequence {
        let (Some(last), Some(came)) = (self.last_seq, came) else {
            return Sequence::Unknown;
        };
        let expected = last.wrapping_add(1) % SEQUENCE_END;
        if came == expected {
            Sequence::InOrder
        } else if came == last {
            Sequence::Repeated
        } else {
            Sequence::Gap { expected, came }
        }
    }
}

impl Device {
    pub(super) fn size(&self, name: &str) -> Size {
        Size::of_name(name).plus(self.table.size())
    }
}
