//! What lines have learnt while they answered, over a restart.
//!
//! Promises: stored at most once in [`GAP`], and at the ordered end; only what durable answers have
//! shown. Every line names the last record that it has seen: what came later is looked at again, once.
//! A file that is damaged or of another format is as none, which is told.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use dunlin_sync::files::state_file;
use serde::{Deserialize, Serialize};

use crate::learn::inference::{Answering, predictor::Line, snapshot::KeptLine};

/// Of the file; another is as none.
const FORMAT: u32 = 1;
/// Between two times of storing: a thousand lines are some megabytes.
pub(super) const GAP: Duration = Duration::from_mins(1);
/// Name of the file.
pub(super) const FILE: &str = "answering";

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    format: u32,
    /// Rows of the buffer, of whatever streams, that all lines have passed.
    pub(super) rows: u64,
    pub(super) lines: Vec<KeptLine>,
}

/// What was stored at `path`; `None` if that cannot be used.
pub(super) fn load(path: &Path) -> Option<Kept> {
    let why = match state_file::read::<Kept>(path) {
        Ok(None) => return None,
        Ok(Some(kept)) if kept.format == FORMAT => return Some(kept),
        Ok(Some(kept)) => format!("{} has format {}", path.display(), kept.format),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        why,
        "detectors of drift begin anew, and no version is on trial"
    );
    None
}

impl Answering<'_> {
    /// Stores what the lines know, if it is time or the agent `is_ending`.
    pub(super) fn store(&mut self, is_ending: bool) {
        if !self.has_news || !is_ending && Instant::now() < self.next_store {
            return;
        }
        self.next_store = Instant::now() + GAP;
        self.has_news = false;
        let kept = Kept {
            format: FORMAT,
            rows: self.next_row,
            lines: self.lines.values().flatten().map(Line::kept).collect(),
        };
        let path = self.shared.state_dir.join(FILE);
        let stored = state_file::write(&path, &kept);
        if let Err(error) = &stored
            && !self.is_store_failing
        {
            let path = path.display();
            tracing::warn!(%path, %error, "what was learnt while answering is not stored");
        }
        self.is_store_failing = stored.is_err();
    }
}
