//! The rows of grids with all their fields, to be written out.

use std::sync::Arc;

use dunlin_sync::{
    block::Block,
    buffer::{Buffer, Fields},
    rows::Rows,
    sample::{Stream, TimeRange, Timestamp},
};

use super::{GridReader, GridSpec, GridStore, GridStream, StoreWanted};

/// Gives the rows in `range` of the grids of `streams` to `each`, a stretch of one stream at a time; how many
/// records were too late for them. `tell` hears how many blocks of how many are done.
///
/// # Errors
/// A text for people if the buffer cannot be read now; what `tell` and `each` say.
pub(crate) fn each_grid_row<E: From<String>>(
    buffer: &Arc<Buffer>,
    spec: &GridSpec,
    streams: &[GridStream],
    range: TimeRange,
    tell: &dyn Fn(u64, u64) -> Result<(), E>,
    mut each: impl FnMut(&Stream, &Rows) -> Result<(), E>,
) -> Result<u64, E> {
    let all = streams.iter().map(|(_, schema)| {
        let kinds = (0..schema.fields.len()).map(|position| schema.kind_of(position));
        (schema.id, kinds.enumerate().collect())
    });
    let fields: Fields = all.collect();
    let wanted = StoreWanted {
        from: range.from.0,
        last: u64::MAX,
        to: range.to.0,
        arrived_to: i64::MAX,
    };
    let store = GridStore::new(buffer, spec, streams, fields.clone(), &wanted, tell)?;
    let reader = GridReader {
        store: &store,
        fields: &fields,
    };
    for seq in 1..store.end() {
        tell(seq, store.end())?;
        let block = reader.block(seq)?;
        for run in block.iter().flat_map(Block::runs) {
            let all = &run.section.rows;
            let mut rows = Rows::default();
            // Times may go back where a clock did.
            for row in run.rows {
                if range.contains(Timestamp(all.ts[row])) {
                    rows.extend_from(all, row..row + 1);
                }
            }
            let stream = streams.iter().find(|(stream, _)| stream.id == run.stream);
            if let Some((stream, _)) = stream.filter(|_| !rows.is_empty()) {
                each(stream, &rows)?;
            }
        }
    }
    Ok(store.late())
}
