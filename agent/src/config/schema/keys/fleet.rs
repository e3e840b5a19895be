//! `[fleet]`: models that are released to this device, and what it says of itself.

use std::{path::PathBuf, time::Duration};

use super::{DAY_S, MIB};
use crate::config::schema::{
    key::{Key, OptionalKey},
    kind::{bytes, path, seconds, text, url},
    setting::DefaultValue::Unset,
};

pub(in crate::config) const CENTRE: OptionalKey<String> = OptionalKey::new(
    "fleet.centre",
    url(&["postgres", "postgresql", "sqlite"]),
    Unset("postgres://dunlin@db.plant:5432/fleet?sslmode=verify-full"),
    "Where models are released: postgres://USER@HOST:5432/DATABASE or sqlite:FILE",
);

pub(in crate::config) const PASSWORD_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "fleet.password_file",
    path(),
    Unset("/etc/dunlin/fleet.password"),
    "File that holds the centre's password and nothing else",
);

pub(in crate::config) const CA_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "fleet.ca_file",
    path(),
    Unset("/etc/dunlin/ca.pem"),
    "Private CA of the centre in PEM; the system's certificates otherwise",
);

pub(in crate::config) const FOLLOW: Key<String> = Key::new(
    "fleet.follow",
    text(0, 8_192),
    "",
    "Recipes for which released models are tried here, with commas",
);

pub(in crate::config) const KEYS: Key<String> = Key::new(
    "fleet.keys",
    text(0, 2_048),
    "",
    "Public minisign keys that may sign releases, with commas; without one nothing is followed",
);

pub(in crate::config) const CHECK_S: Key<Duration> = Key::new(
    "fleet.check_s",
    seconds(1, 7 * DAY_S),
    "60",
    "Longest between two looks for a release; the shortest is half of it",
);

pub(in crate::config) const BYTES_PER_S_MAX: Key<u64> = Key::new(
    "fleet.bytes_per_s_max",
    bytes(1_000, 1_024 * MIB),
    "1 MiB",
    "Bandwidth that fetching a model may take, bytes a second",
);

pub(in crate::config) const HEARTBEAT_S: OptionalKey<Duration> = OptionalKey::new(
    "fleet.heartbeat_s",
    seconds(0, DAY_S),
    Unset("60"),
    "How often a row goes upstream that says how this device is, for `dunlin fleet`; 0: never; 60 with a centre",
);
