//! The cursor and its file: found at the start, saved now and then.

use std::{ops::Deref, path::PathBuf, time::Duration};

use tokio::{task::spawn_blocking, time::Instant};

use super::{BlockSource, UploadStats};
use crate::cursor::Cursor;

/// Blocks reserved ahead on disk as taken, so that taking costs no write of its own.
const TAKEN_RESERVE: u64 = 1_024;

/// A cursor with its file. What is not saved when the power goes is sent twice, never lost.
pub(super) struct SavedCursor {
    path: PathBuf,
    save_gap_min: Duration,
    cursor: Cursor,
    changed_at: Option<Instant>,
    saved_at: Option<Instant>,
}

impl Deref for SavedCursor {
    type Target = Cursor;

    fn deref(&self) -> &Cursor {
        &self.cursor
    }
}

impl SavedCursor {
    /// The cursor to start from; what is wrong with the saved one goes to the log and to `stats`.
    pub(super) fn open(
        path: PathBuf,
        save_gap_min: Duration,
        source: &dyn BlockSource,
        stats: &UploadStats,
    ) -> Self {
        let next = source.next_seq();
        let report = |what: &str| {
            tracing::warn!(path = %path.display(), what, "uploading everything buffered again");
            stats.set_error(format!("{}: {what}", path.display()));
        };
        let saved = match Cursor::read(&path) {
            Ok(Some(cursor)) if cursor.done().end() > next => {
                report("the upload cursor is ahead of the buffer: it belongs to another one");
                None
            }
            Ok(Some(cursor)) => Some(cursor),
            Ok(None) => {
                if next > 0 {
                    report("the upload cursor is missing");
                }
                None
            }
            Err(error) => {
                report(&error.to_string());
                None
            }
        };
        // Without a cursor nobody knows what was taken. What is committed from now on certainly was
        // not, so the reserve ends here.
        let reserved = saved.as_ref().map_or(u64::MAX, Cursor::taken_below);
        let taken_below = reserved.min(next);
        let mut cursor = saved.unwrap_or_default();
        cursor.forget_below(source.oldest_seq());
        cursor.set_taken_below(taken_below);
        stats.take_below(taken_below);
        if reserved != taken_below
            && let Err(error) = cursor.write(&path)
        {
            report(&format!("cannot save: {error}"));
        }
        Self {
            path,
            save_gap_min,
            cursor,
            changed_at: None,
            saved_at: None,
        }
    }

    /// The cursor, to change it; it will be saved.
    pub(super) fn change(&mut self) -> &mut Cursor {
        self.changed_at.get_or_insert_with(Instant::now);
        &mut self.cursor
    }

    /// Notes on the disk that blocks with `seq < below` may be read from now on.
    pub(super) async fn reserve(&mut self, below: u64, stats: &UploadStats) {
        if below > self.cursor.taken_below() {
            self.change().set_taken_below(below + TAKEN_RESERVE);
            self.save(stats).await;
        }
    }

    /// When it should be saved next; `None` if nothing changed.
    pub(super) fn save_due_at(&self) -> Option<Instant> {
        let changed_at = self.changed_at?;
        let earliest = self.saved_at.map(|saved_at| saved_at + self.save_gap_min);
        Some(earliest.map_or(changed_at, |earliest| earliest.max(changed_at)))
    }

    /// Saves it if it changed. A failure is reported and tried again after the gap: a full disk must
    /// still drain.
    pub(super) async fn save(&mut self, stats: &UploadStats) {
        if self.changed_at.is_none() {
            return;
        }
        let (cursor, path) = (self.cursor.clone(), self.path.clone());
        let saved = spawn_blocking(move || cursor.write(&path)).await;
        let saved = saved.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        self.saved_at = Some(Instant::now());
        match saved {
            Ok(()) => self.changed_at = None,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "cannot save the upload cursor");
                stats.set_error(format!("cannot save {path}: {error}"));
            }
        }
    }
}
