//! Comparing what was committed with what the upstream has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dunlin_sync::{
    quarantine::{Content, Quarantine, QuarantineError},
    sample::TimeRange,
    uploader::BlockSource,
    verify::{self, VerifyReport},
};
use tokio::{runtime::Handle, time::interval};

use super::{Listener, OperationError, Parts};

/// How often it says that it is alive.
const ALIVE_GAP: Duration = Duration::from_millis(200);

pub(super) fn verify(
    parts: &Parts,
    listener: &mut (dyn Listener + Send),
) -> Result<VerifyReport, OperationError> {
    let upstream = Arc::clone(parts.upstream()?);
    let source = Arc::clone(&parts.buffer) as Arc<dyn BlockSource>;
    // The cursor first: a row rejected before it moved is in quarantine by then.
    let cursor = (parts.cursor)();
    let rejected = rejected_rows(&parts.quarantine).map_err(OperationError::failed)?;
    let count = |stream: &str, range: TimeRange| {
        let times = rejected.get(stream).map_or(&[][..], Vec::as_slice);
        let before = times.partition_point(|ts| *ts < range.from.0);
        let up_to = times.partition_point(|ts| *ts <= range.to.0);
        up_to.saturating_sub(before) as u64
    };
    Handle::current().block_on(async {
        let mut comparing = std::pin::pin!(verify::verify(&source, &upstream, &cursor, &count));
        let mut alive = interval(ALIVE_GAP);
        loop {
            tokio::select! {
                report = &mut comparing => return report.map_err(OperationError::failed),
                _ = alive.tick() => listener.progress(0, 0).map_err(OperationError::failed)?,
            }
        }
    })
}

/// Timestamps of the rows in quarantine, sorted, each once, by stream.
fn rejected_rows(quarantine: &Quarantine) -> Result<BTreeMap<String, Vec<i64>>, QuarantineError> {
    let mut rows: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    quarantine.visit(|_, item| {
        if let Content::Row(row) = item.content {
            rows.entry(row.stream).or_default().push(row.ts.0);
        }
        true
    })?;
    for times in rows.values_mut() {
        times.sort_unstable();
        times.dedup();
    }
    Ok(rows)
}
