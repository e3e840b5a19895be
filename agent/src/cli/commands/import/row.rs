//! A row, whatever the kind of its file.

use crate::record::decode::{Record, Reject, infer::OwnRow};

/// A row of the file.
pub(super) struct Row {
    /// Lines of the file that it takes; what cannot be read may take several.
    pub(super) span: u64,
    /// What one of our own exports says of it.
    pub(super) own: Option<OwnRow>,
    /// Tags of its stream, in one of our own exports.
    pub(super) tags: Vec<(String, String)>,
    pub(super) record: Result<Record, Reject>,
}
