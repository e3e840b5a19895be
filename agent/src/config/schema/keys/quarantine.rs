//! `[quarantine]`: what could not be decoded or delivered.

use super::TIB;
use crate::config::schema::{key::Key, kind::bytes};

pub(in crate::config) const BYTES_MAX: Key<u64> = Key::new(
    "quarantine.bytes_max",
    bytes(0, TIB),
    "16 MiB",
    "Most disk for what could not be decoded or delivered, 4 MiB at least; the oldest goes first, counted",
);
