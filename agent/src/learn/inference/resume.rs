//! Where each line goes on after a restart.
//!
//! Promises: behind its last durable prediction, which tells by its source time which record it
//! answers; so none is skipped and none answered twice.

use dunlin_models::registry::{ModelKey, Version};

use crate::learn::{
    inference::{Answering, rows::parts, state},
    tables::{PREDICTIONS, own_stream},
};

/// Newest blocks searched for the last predictions before a restart.
const RESUME_BLOCKS_MAX: u64 = 2_048;

impl Answering<'_> {
    /// Finds the last predictions, behind which each line goes on, and what lines have taken along.
    pub(in crate::learn) fn resume(&mut self) {
        let buffer = &self.shared.buffer;
        let shape = buffer.shape();
        if let Some(kept) = state::load(&self.shared.state_dir.join(state::FILE)) {
            let lines = kept.lines.into_iter();
            self.kept = lines.map(|line| (line.key.clone(), line)).collect();
            if !self.kept.is_empty() {
                self.miss(kept.rows, buffer.rows_before(shape.oldest_seq));
            }
        }
        self.next_seq = shape.next_seq;
        self.next_row = buffer.rows_before(shape.next_seq);
        self.read_to = shape.newest_ts.unwrap_or(i64::MIN);
        let catalog = buffer.catalog();
        let mut seq = shape.next_seq;
        for _ in 0..RESUME_BLOCKS_MAX {
            if seq <= shape.oldest_seq {
                self.searched_from = i64::MIN;
                break;
            }
            seq = buffer.previous_stored(seq);
            let Ok(Some(block)) = buffer.read_block(seq) else {
                continue;
            };
            self.searched_from = block.first_ts;
            for (stream, section, rows) in parts(&block) {
                let own = catalog.resolve(stream);
                let own = own.filter(|(_, schema)| schema.name == PREDICTIONS);
                let Some((stream, _)) = own.filter(|(stream, _)| catalog.is_here(stream)) else {
                    continue;
                };
                let times = &section.rows.source_ts[rows];
                if let Some(last) = times.iter().flatten().max() {
                    let known = self
                        .resume
                        .entry(stream.plain_name().to_owned())
                        .or_insert(i64::MIN);
                    *known = (*known).max(*last);
                }
            }
        }
    }

    /// Reads again what is later than `ts`, for a line that has not answered it; lines that have are
    /// not disturbed.
    pub(super) fn rewind(&mut self, ts: i64) -> Result<(), String> {
        let buffer = &self.shared.buffer;
        let oldest = buffer.oldest_seq();
        let seq = buffer.locate(ts, oldest)?;
        // The block before may reach beyond.
        let seq = buffer.previous_stored(seq).max(oldest);
        if seq < self.next_seq {
            self.next_seq = seq;
            self.next_row = buffer.rows_before(seq);
        }
        Ok(())
    }

    /// After which record a new line of `key` begins to answer, nanoseconds UTC.
    pub(super) fn start_of(&self, key: &ModelKey, version: &Version) -> i64 {
        let answered_to = self.resume.get(&own_stream(PREDICTIONS, key)).copied();
        let kept_to = self.kept.get(key).map(|kept| kept.answered_to);
        match answered_to.max(kept_to) {
            Some(answered_to) => answered_to,
            // The gate let it serve just before the agent ended, and it has answered nothing since.
            None if self.registry_seen.is_none()
                && version.decision.as_ref().is_some_and(|gate| gate.promoted)
                && version.created_ns >= self.searched_from =>
            {
                version.created_ns.min(self.read_to)
            }
            None => self.read_to,
        }
    }
}
