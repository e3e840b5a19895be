//! A row, whatever the kind of its file.

use crate::record::decode::{Record, Reject, infer::OwnRow};

/// A row of the file.
pub(super) struct Row {
    /// The line on which it begins, or its number in a file without lines, from 0: however the file is read.
    pub(super) from: u64,
    /// One past its last line.
    pub(super) to: u64,
    /// As how many rows it counts: what cannot be read may take several.
    pub(super) span: u64,
    /// Its time is one that a clock shows twice or never.
    pub(super) is_time_doubtful: bool,
    /// What one of our own exports says of it.
    pub(super) own: Option<OwnRow>,
    /// Tags of its stream, in one of our own exports.
    pub(super) tags: Vec<(String, String)>,
    pub(super) record: Result<Record, Reject>,
}
