//! What a job came to, and what follows from it.

use std::sync::atomic::Ordering::Relaxed;

use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{
    Uploader,
    held::HoldChange,
    job::{Delivered, Failure, Share, UploadJob},
    stretch::RowKey,
};
use crate::sample::StreamId;

impl Uploader {
    pub(super) fn settle(&mut self, ended: Result<(Id, Result<Delivered, Failure>), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (
                error.id(),
                Err(Failure::of(format!("a worker failed: {error}"))),
            ),
        };
        let Some(job) = self.job_of.remove(&id) else {
            return;
        };
        match result {
            Ok(delivered) => self.delivered(&job, &delivered),
            Err(failure) => self.failed(&job, &failure),
        }
    }

    /// Writes were answered, and perhaps some that were not before.
    fn answered(&mut self, writes: &[usize], mended: &[RowKey]) {
        self.broken.mended(mended);
        if !writes.is_empty() {
            self.backoff.reset();
            self.answered_at = Some(Instant::now());
        }
        for rows in writes {
            self.batch_rows.answered(*rows);
        }
    }

    fn delivered(&mut self, job: &UploadJob, delivered: &Delivered) {
        self.answered(&delivered.answered, &delivered.mended);
        self.broken.taken_out(&delivered.taken_out);
        self.from_other_end = false;
        for (stream, rows) in &delivered.rejected_in_a_row {
            match rows {
                0 => self.rejected_in_a_row.remove(stream),
                rows => self.rejected_in_a_row.insert(*stream, *rows),
            };
        }
        self.stats.count_delivered(delivered);
        if job.scope.is_held() {
            self.delivered_held(job, delivered);
        } else {
            let rows = delivered.rows_written + delivered.rows_rejected;
            let read_to = delivered.read_to;
            let read = job.blocks.start..read_to;
            self.cursor.change().advance(read, rows);
            // What a full batch has left is anybody's again.
            self.claimed.remove(read_to..job.blocks.end);
            for (stream, share) in &delivered.skipped {
                self.cursor.change().hold(*stream, share.seq, share.rows);
            }
            self.hold(job, delivered);
        }
    }

    /// Holds the streams of `job` that are, or may be, refused.
    fn hold(&mut self, job: &UploadJob, delivered: &Delivered) {
        let bad = delivered.refused.keys().chain(delivered.suspected.keys());
        for stream in bad {
            let seq = job.blocks.start;
            let share = delivered.sent.get(stream).copied();
            let share = share.unwrap_or(Share { seq, rows: 0 });
            self.cursor.change().hold(*stream, share.seq, share.rows);
        }
        for (stream, reason) in &delivered.refused {
            let held = self.cursor.held().len();
            self.held.refused(*stream, held, Instant::now());
            self.tell_refused(*stream, reason);
        }
        let suspected = delivered.suspected.len();
        if suspected > 0 {
            self.held.suspect(suspected);
        }
    }

    fn delivered_held(&mut self, job: &UploadJob, delivered: &Delivered) {
        let end = self.claimed.end();
        let settled = (job, delivered);
        let now = Instant::now();
        let changes = self.held.settle(settled, self.cursor.change(), end, now);
        for (stream, change) in changes {
            match change {
                HoldChange::Open => {}
                HoldChange::Released => {
                    let name = self.stream_name(stream);
                    self.held_log.released(stream, &name);
                    self.stats.forget_held(&name);
                }
                HoldChange::Refused => {
                    if let Some(reason) = delivered.refused.get(&stream) {
                        self.tell_refused(stream, reason);
                    }
                }
            }
        }
    }

    fn tell_refused(&mut self, stream: StreamId, reason: &str) {
        let name = self.stream_name(stream);
        self.held_log.refused(stream, &name, reason);
        self.stats.set_held(name, reason.to_owned());
    }

    fn failed(&mut self, job: &UploadJob, failure: &Failure) {
        let error = &failure.text;
        if !job.scope.is_held() {
            self.claimed.remove(job.blocks.clone());
        }
        let said =
            self.stats.last_error().as_ref() == Some(error) && !self.stats.connected.load(Relaxed);
        self.stats.count_failure(error.clone());
        let is_first = Instant::now() >= self.resume_at;
        let taken_at = self.answered_at;
        self.answered(&failure.answered, &failure.mended);
        if let Some(broke) = failure.broke.as_deref().copied() {
            if broke.rows == 1 {
                self.from_other_end = !self.from_other_end;
            }
            if is_first {
                self.batch_rows.broke(broke.rows);
            }
            self.broken.broke(broke, error, taken_at);
        }
        // Several batches that fail together are one failure.
        if is_first {
            let wait = self.backoff.after_failure();
            self.resume_at = Instant::now() + wait;
            if said {
                tracing::debug!(error, ?wait, "upload failed again");
            } else {
                tracing::warn!(error, "upload failed; trying again until it works");
            }
        }
    }
}
