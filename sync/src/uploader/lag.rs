//! What is committed and not upstream.

use super::{BlockSource, Left};
use crate::cursor::Cursor;

/// What is not upstream, and the timestamp of the oldest row of it, nanoseconds UTC. Reads the disk.
pub fn lag(source: &dyn BlockSource, cursor: &Cursor) -> (Left, Option<i64>) {
    let mut left = Left {
        streams_held: cursor.held().len(),
        ..Left::default()
    };
    let next = source.next_seq();
    for gap in cursor.done().gaps(next) {
        left.blocks += gap.end - gap.start;
        let rows = source.rows_before(gap.end);
        left.rows += rows.saturating_sub(source.rows_before(gap.start));
    }
    let position = cursor.position();
    if left.streams_held > 0 {
        // Some may have been dropped meanwhile, whose streams nobody knows.
        let behind = source.rows_before(next);
        let behind = behind.saturating_sub(source.rows_before(position));
        left.rows_held = cursor.rows_held().min(behind.saturating_sub(left.rows));
        left.rows += left.rows_held;
    }
    let oldest = source.read_block(position);
    (left, oldest.ok().flatten().map(|block| block.first_ts))
}
