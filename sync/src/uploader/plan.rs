//! How much goes into one batch.

use std::ops::Range;

use super::{options::UploadOrder, ports::BlockSource};

/// Most blocks in one batch, however few rows they hold: bounds one read.
pub(super) const BATCH_BLOCKS_MAX: u64 = 8_192;

/// As much of `gap` as fits into a batch: from its start, or from its end if newest go first.
pub(super) fn plan(
    source: &dyn BlockSource,
    order: UploadOrder,
    rows_max: u64,
    gap: Range<u64>,
) -> Range<u64> {
    let blocks_max = (gap.end - gap.start).min(BATCH_BLOCKS_MAX);
    let part = |blocks: u64| match order {
        UploadOrder::OldestFirst => gap.start..gap.start + blocks,
        UploadOrder::LiveFirst => gap.end - blocks..gap.end,
    };
    let fits = |blocks: u64| {
        let part = part(blocks);
        let rows = source.rows_before(part.end);
        rows.saturating_sub(source.rows_before(part.start)) <= rows_max
    };
    let mut fitting = 1;
    while fitting < blocks_max && fits((fitting * 2).min(blocks_max)) {
        fitting = (fitting * 2).min(blocks_max);
    }
    let mut too_many = (fitting * 2).min(blocks_max + 1);
    while fitting + 1 < too_many {
        let middle = fitting.midpoint(too_many);
        if fits(middle) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    part(fitting)
}
