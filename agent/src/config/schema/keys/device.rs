//! What concerns the device as a whole: the keys at the top of the file.

use std::{path::PathBuf, time::Duration};

use crate::config::schema::{
    key::{Key, OptionalKey},
    kind::{count_of_millis, path, seconds, text},
    setting::DefaultValue::{Derived, Unset},
};

pub(in crate::config) const DEVICE: OptionalKey<String> = OptionalKey::new(
    "device",
    text(1, 64),
    Derived {
        how: "the host name",
        example: "press-7",
    },
    "Name of this device: the `device` tag of every stream; unique in the fleet",
);

pub(in crate::config) const DATA_DIR: Key<PathBuf> = Key::new(
    "data_dir",
    path(),
    "./dunlin-data",
    "Where buffer, state and quarantine live",
);

pub(in crate::config) const SHUTDOWN_MS_MAX: Key<u64> = Key::new(
    "shutdown_ms_max",
    count_of_millis(0, 600_000),
    "10000",
    "Longest wait for everything to drain when the agent is stopped",
);

pub(in crate::config) const STALL_S_MAX: OptionalKey<Duration> = OptionalKey::new(
    "stall_s_max",
    seconds(10, 86_400),
    Unset("120"),
    "The agent ends with 1 if the disk does not answer for so long; for whoever restarts it",
);
