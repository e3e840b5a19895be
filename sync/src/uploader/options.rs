//! How to upload, and what may be left at the end.

use std::{path::PathBuf, time::Duration};

/// Which blocks go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOrder {
    /// In the order of commit.
    OldestFirst,
    /// What happens now is seen now; the backlog follows, newest first.
    LiveFirst,
}

/// How to upload.
#[derive(Clone, Debug)]
pub struct UploaderOptions {
    /// Where the cursor is kept, `<data>/state/cursor.uploader`.
    pub cursor_path: PathBuf,
    /// Most rows in one write; a single block that has more is still sent whole.
    pub batch_rows_max: usize,
    /// Batches under way at once.
    pub in_flight_max: usize,
    /// Which blocks go first.
    pub order: UploadOrder,
    /// Smallest gap between writes that do not fill a batch; spares the upstream's flash.
    pub upload_gap_min: Duration,
    /// Smallest gap between two saves of the cursor; what a crash may send twice.
    pub save_gap_min: Duration,
    /// First wait after a failure.
    pub backoff_min: Duration,
    /// Longest wait between attempts; held streams are tried again after 10 s at most, where few are held.
    pub backoff_max: Duration,
    /// Decides the jitter.
    pub seed: u64,
}

/// What was not uploaded when the uploader stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Blocks not done.
    pub blocks: u64,
    /// Rows in them, and rows of held streams in blocks that are otherwise done.
    pub rows: u64,
    /// Streams that the upstream refuses; they hold back blocks that are otherwise done.
    pub streams_held: usize,
    /// Rows of these.
    pub rows_held: u64,
}
