//! `[buffer]`: bounds of the buffer.

use super::{DAY_S, MIB, TIB};
use crate::config::{
    schema::{
        key::{Key, OptionalKey},
        kind::{bytes, choice, count_of_millis, count_of_seconds},
        setting::DefaultValue::{Derived, Unset},
    },
    settings::WhenFull,
};

pub(in crate::config) const BYTES_MAX: Key<u64> = Key::new(
    "buffer.bytes_max",
    bytes(MIB, 1024 * TIB),
    "1 GiB",
    "Most disk the buffer may take",
);

pub(in crate::config) const DISK_FREE_BYTES_MIN: Key<u64> = Key::new(
    "buffer.disk_free_bytes_min",
    bytes(0, 1024 * TIB),
    "64 MiB",
    "Disk left free for others; below it the buffer counts as full",
);

pub(in crate::config) const WHEN_FULL: Key<WhenFull> = Key::new(
    "buffer.when_full",
    choice(),
    "block",
    "block: stop acknowledging, the broker keeps the rest; drop_oldest: counted and logged",
);

pub(in crate::config) const COMMIT_GAP_MS_MIN: Key<u64> = Key::new(
    "buffer.commit_gap_ms_min",
    count_of_millis(0, 60_000),
    "250",
    "Smallest gap between two commits, for the flash's sake",
);

pub(in crate::config) const REPLAY_BYTES_MAX: OptionalKey<u64> = OptionalKey::new(
    "buffer.replay_bytes_max",
    bytes(0, 512 * TIB),
    Derived {
        how: "half of buffer.bytes_max",
        example: "512 MiB",
    },
    "Uploaded records kept for training, at most half of bytes_max",
);

pub(in crate::config) const REPLAY_AGE_S_MAX: OptionalKey<u64> = OptionalKey::new(
    "buffer.replay_age_s_max",
    count_of_seconds(0, 36_500 * DAY_S),
    Unset("30 d"),
    "Uploaded records older than this are not kept; without it bytes decide alone",
);

pub(in crate::config) const STREAMS_IDLE_S_MAX: Key<u64> = Key::new(
    "buffer.streams_idle_s_max",
    count_of_seconds(1, 36_500 * DAY_S),
    "30 d",
    "A stream without a record for so long, and with nothing in the buffer, is forgotten",
);
