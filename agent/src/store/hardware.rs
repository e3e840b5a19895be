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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_machine_is_known_by_what_lasts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert!(Hardware::read(root).is_unknown());
        write(root, "etc/machine-id", "0123\n");
        write(
            root,
            "sys/class/dmi/id/product_serial",
            "To be filled by O.E.M.\n",
        );
        write(root, "proc/device-tree/serial-number", "10000000abcd\0");
        for (card, kind, address, is_physical) in [
            ("eth0", "0", "B8:27:EB:00:00:01", true),
            ("docker0", "3", "02:42:00:00:00:01", false),
            ("wlan0", "1", "12:34:56:00:00:01", true),
            ("lo", "0", "00:00:00:00:00:00", false),
            ("veth1", "0", "aa:bb:cc:00:00:01", false),
        ] {
            let of = |file: &str| format!("sys/class/net/{card}/{file}");
            write(root, &of("addr_assign_type"), &format!("{kind}\n"));
            write(root, &of("address"), &format!("{address}\n"));
            if is_physical {
                write(root, &of("device/uevent"), "");
            }
        }
        let read = Hardware::read(root);
        assert_eq!(read.machine_id.as_deref(), Some("0123"));
        assert_eq!(read.board_serial.as_deref(), Some("10000000abcd"));
        assert_eq!(Vec::from_iter(&read.macs), ["b8:27:eb:00:00:01"]);
        assert!(!read.is_container);
        write(root, ".dockerenv", "");
        assert!(Hardware::read(root).is_container);
    }

    #[test]
    fn it_is_another_machine_only_if_every_one_of_several_things_differs() {
        let machine = |id: &str, serial: &str, macs: &[&str]| Hardware {
            machine_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            board_serial: Some(serial.to_owned()).filter(|serial| !serial.is_empty()),
            macs: macs.iter().map(ToString::to_string).collect(),
            is_container: false,
        };
        let here = machine("i", "s", &["m", "n"]);
        for (other, likeness) in [
            (machine("i", "s", &["n"]), Likeness::Same),
            (machine("", "s", &[]), Likeness::Same),
            (machine("i", "S", &["M"]), Likeness::Partly),
            (machine("I", "s", &["M"]), Likeness::Partly),
            (machine("I", "S", &["m"]), Likeness::Partly),
            (machine("I", "S", &["M"]), Likeness::Other),
            // Made anew at every start, or not there yet: nobody knows.
            (machine("I", "", &[]), Likeness::Partly),
            (machine("I", "S", &[]), Likeness::Partly),
            (machine("", "", &["M"]), Likeness::Partly),
            (machine("", "", &[]), Likeness::Unknown),
        ] {
            assert_eq!(here.likeness(&other), likeness, "{other:?}");
            assert_eq!(other.likeness(&here), likeness, "{other:?}");
        }
        let (one, other) = (machine("i", "", &[]), machine("I", "", &[]));
        assert_eq!(one.likeness(&other), Likeness::Partly);
        let (one, other) = (machine("i", "", &["m"]), machine("I", "", &["M"]));
        assert_eq!(one.likeness(&other), Likeness::Other);
        assert_eq!(
            machine("I", "", &[]).or(&here),
            machine("I", "s", &["m", "n"])
        );
    }
}
