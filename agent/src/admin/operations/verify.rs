//! Comparing what was committed with what the upstream has.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use dunlin_sync::{
    quarantine::{Content, Quarantine, QuarantineError},
    sample::TimeRange,
    uploader::BlockSource,
    verify::{self, VerifyReport},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{Listener, Need, Operation, OperationError, OperationParts, Request};

/// How often it says that it is alive.
const ALIVE_GAP: Duration = Duration::from_millis(200);

/// Compares what was committed with what the upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify;

impl Operation for Verify {
    type Answer = VerifyReport;
    const NEED: Need = Need::Upstream;

    fn into_request(self) -> Request {
        Request::Verify(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<VerifyReport, OperationError> {
        verify(parts, listener)
    }
}

fn verify(
    parts: &OperationParts,
    listener: &mut dyn Listener,
) -> Result<VerifyReport, OperationError> {
    let upstream = Arc::clone(parts.upstream()?);
    let source = Arc::clone(&parts.buffer) as Arc<dyn BlockSource>;
    // The cursor first: a row rejected before it moved is in quarantine by then.
    let cursor = (parts.cursor)();
    let rejected = rejected_rows(&parts.quarantine).map_err(OperationError::failed)?;
    let (done, report) = mpsc::channel();
    let comparing = Handle::current().spawn(async move {
        let count = |stream: &str, range: TimeRange| {
            let times = rejected.get(stream).map_or(&[][..], Vec::as_slice);
            let before = times.partition_point(|ts| *ts < range.from.0);
            let up_to = times.partition_point(|ts| *ts <= range.to.0);
            up_to.saturating_sub(before) as u64
        };
        // Whoever asked may have left.
        let _left = done.send(verify::verify(&source, &upstream, &cursor, &count).await);
    });
    loop {
        match report.recv_timeout(ALIVE_GAP) {
            Ok(report) => return report.map_err(OperationError::failed),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(OperationError::Failed("the comparison panicked".into()));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if let Err(gone) = listener.progress(0, 0) {
            comparing.abort();
            return Err(OperationError::failed(gone));
        }
    }
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
