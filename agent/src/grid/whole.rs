//! The rows of grids with all their fields, to be written out.

use std::sync::Arc;

use dunlin_sync::{
    buffer::{Buffer, Fields},
    rows::Rows,
    sample::{Stream, TimeRange},
};

use super::{GridReader, GridSpec, GridStore, GridStream, StoreWanted};

/// Gives the rows in `range` of the grids of `streams` to `each`: a stretch of
/// one stream at a time; how many records were too late for them. `tell` hears how many blocks of how many are done.
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
        for section in block.iter().flat_map(|block| &block.sections) {
            let run = section.runs.first();
            let stream = streams
                .iter()
                .find(|(stream, _)| run.is_some_and(|run| run.stream == stream.id));
            let ts = &section.rows.ts;
            let from = ts.partition_point(|ts| *ts < range.from.0);
            let to = ts.partition_point(|ts| *ts <= range.to.0);
            if let Some((stream, _)) = stream.filter(|_| from < to) {
                let mut rows = Rows::default();
                rows.extend_from(&section.rows, from..to);
                each(stream, &rows)?;
            }
        }
    }
    Ok(store.late())
}
