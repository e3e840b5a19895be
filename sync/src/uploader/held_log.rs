//! What is said of held streams: each once, then a summary a minute at most, bounded in names.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use crate::sample::StreamId;

/// Streams named one by one between two summaries, and names in a summary.
const NAMES_MAX: usize = 8;
/// Shortest time between two summaries.
const SUMMARY_GAP: Duration = Duration::from_mins(1);
/// Characters of a name or a reason.
const TEXT_CHARS_MAX: usize = 300;

/// Says what becomes of held streams.
#[derive(Default)]
pub(super) struct HeldLog {
    /// Streams said to be held.
    told: HashSet<StreamId>,
    /// Streams named one by one since the last summary.
    named: usize,
    held: Unsaid,
    released: Unsaid,
    /// Rows held when that was last said.
    rows: u64,
    next_summary: Option<Instant>,
}

/// Streams for the next summary.
#[derive(Default)]
struct Unsaid {
    streams: usize,
    names: Vec<String>,
}

impl Unsaid {
    fn add(&mut self, name: String) {
        self.streams += 1;
        if self.names.len() < NAMES_MAX {
            self.names.push(name);
        }
    }

    fn take(&mut self) -> (usize, String) {
        let mut names = self.names.join(", ");
        if self.streams > self.names.len() {
            names.push_str(", ...");
        }
        let streams = self.streams;
        *self = Self::default();
        (streams, names)
    }
}

impl HeldLog {
    pub(super) fn refused(&mut self, stream: StreamId, name: &str, reason: &str) {
        if !self.told.insert(stream) {
            return;
        }
        let (name, reason) = (shortened(name), shortened(reason));
        if self.may_name() {
            tracing::warn!(
                stream = name,
                reason,
                "held in the buffer: the upstream refuses this stream; repair it there"
            );
        } else {
            self.held.add(name);
        }
    }

    /// `stream` is taken again, and has caught up.
    pub(super) fn released(&mut self, stream: StreamId, name: &str) {
        // Nothing was said of one that was only suspected.
        if !self.told.remove(&stream) {
            return;
        }
        let name = shortened(name);
        if self.may_name() {
            tracing::info!(stream = name, "the upstream takes this stream again");
        } else {
            self.released.add(name);
        }
    }

    fn may_name(&mut self) -> bool {
        self.named += 1;
        self.named <= NAMES_MAX
    }

    /// Sums up, if it is time to and there is something to say; when the next one is due.
    pub(super) fn sum_up(
        &mut self,
        streams: usize,
        rows: u64,
        reason: Option<&str>,
    ) -> Option<Instant> {
        let now = Instant::now();
        let has_news = self.held.streams + self.released.streams > 0;
        if streams == 0 && !has_news {
            (self.rows, self.next_summary) = (0, None);
            self.named = 0;
            return None;
        }
        let due = *self.next_summary.get_or_insert(now + SUMMARY_GAP);
        if due > now {
            return Some(due);
        }
        if streams > 0 && (has_news || rows != self.rows) {
            let (more, names) = self.held.take();
            let reason = shortened(reason.unwrap_or_default());
            tracing::warn!(
                streams,
                rows,
                more,
                names,
                reason,
                "held in the buffer: the upstream refuses these streams; repair them there"
            );
        }
        if self.released.streams > 0 {
            let (streams, names) = self.released.take();
            tracing::info!(streams, names, "the upstream takes these streams again");
        }
        self.held = Unsaid::default();
        (self.rows, self.named) = (rows, 0);
        self.next_summary = Some(now + SUMMARY_GAP);
        self.next_summary
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
