//! What tells one machine from another: its installation, its board, its network cards.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Longest identity that is looked at, bytes.
const TEXT_BYTES_MAX: u64 = 256;
/// Network cards looked at.
const CARDS_MAX: usize = 64;
/// What boards without a serial number say instead, in lower case.
const NO_SERIALS: [&str; 8] = [
    "none",
    "not specified",
    "not applicable",
    "default string",
    "to be filled by o.e.m.",
    "system serial number",
    "unknown",
    "n/a",
];

/// A machine, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Of the installed system: goes with a copy of the disk.
    pub machine_id: Option<String>,
    /// Of the board.
    pub board_serial: Option<String>,
    /// Permanent addresses of its network cards.
    pub macs: BTreeSet<String>,
    /// What it says of itself may change at any start.
    #[serde(skip)]
    pub is_container: bool,
}

/// What two machines have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Nothing differs.
    Same,
    /// Something differs, but not everything, or so little is known that it may be the same: a machine id
    /// alone may be made anew at every start, and a network card may show up later.
    Partly,
    /// Everything differs, two things at least, and nothing is missing on one side.
    Other,
    /// They have nothing to compare.
    Unknown,
}

impl Hardware {
    /// Looks at the machine whose root directory is `root`.
    pub fn read(root: &Path) -> Self {
        let machine_id = ["etc/machine-id", "var/lib/dbus/machine-id"];
        let board_serial = [
            "proc/device-tree/serial-number",
            "sys/class/dmi/id/product_serial",
            "sys/class/dmi/id/board_serial",
        ];
        let first = |paths: &[&str]| paths.iter().find_map(|path| text(&root.join(path)));
        let containers = [".dockerenv", "run/.containerenv", "run/systemd/container"];
        Self {
            machine_id: first(&machine_id).filter(|id| id != "uninitialized"),
            board_serial: first(&board_serial).filter(|serial| is_serial(serial)),
            macs: macs(&root.join("sys/class/net")),
            is_container: containers.iter().any(|path| root.join(path).exists()),
        }
    }

    /// Whether there is nothing to know it by.
    pub fn is_unknown(&self) -> bool {
        self.machine_id.is_none() && self.board_serial.is_none() && self.macs.is_empty()
    }

    /// How like `other` it is.
    pub fn likeness(&self, other: &Self) -> Likeness {
        let of = |a: &Option<String>, b: &Option<String>| Some(a.as_ref()? == b.as_ref()?);
        let cards = [self, other].map(|machine| !machine.macs.is_empty());
        let compared = [
            of(&self.machine_id, &other.machine_id),
            of(&self.board_serial, &other.board_serial),
            (cards == [true, true]).then(|| !self.macs.is_disjoint(&other.macs)),
        ];
        let is_missing = self.machine_id.is_some() != other.machine_id.is_some()
            || self.board_serial.is_some() != other.board_serial.is_some()
            || cards[0] != cards[1];
        let compared: Vec<bool> = compared.into_iter().flatten().collect();
        match compared.iter().filter(|same| **same).count() {
            _ if compared.is_empty() => Likeness::Unknown,
            0 if compared.len() >= 2 && !is_missing => Likeness::Other,
            same if same == compared.len() => Likeness::Same,
            _ => Likeness::Partly,
        }
    }

    /// As it is now; what cannot be read at present is taken from `before`.
    pub fn or(self, before: &Self) -> Self {
        Self {
            machine_id: self.machine_id.or_else(|| before.machine_id.clone()),
            board_serial: self.board_serial.or_else(|| before.board_serial.clone()),
            macs: if self.macs.is_empty() {
                before.macs.clone()
            } else {
                self.macs
            },
            is_container: self.is_container,
        }
    }
}

/// The text in a file of the kernel's or the system's; device trees end theirs with NUL.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_serial(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !NO_SERIALS.contains(&lower.as_str()) && lower.chars().any(|c| !matches!(c, '0' | '-' | '.'))
}

/// Permanent addresses of physical cards: bridges, tunnels and containers make up theirs.
fn macs(net: &Path) -> BTreeSet<String> {
    let cards = fs::read_dir(net).into_iter().flatten().flatten();
    let permanent = cards.take(CARDS_MAX).filter_map(|card| {
        let card = card.path();
        let is_permanent = text(&card.join("addr_assign_type"))? == "0";
        let address = text(&card.join("address"))?.to_ascii_lowercase();
        let is_real = address.chars().any(|c| !matches!(c, '0' | ':'));
        (is_permanent && is_real && card.join("device").exists()).then_some(address)
    });
    permanent.collect()
}

#[cfg(test)]
mod tests;
