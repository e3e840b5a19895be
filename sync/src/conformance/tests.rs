#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
    upstream::{Description, Upstream, UpstreamError, WriteReport},
};

/// What is wrong with an upstream.
#[derive(Clone, Copy)]
enum Fault {
    Forgets,
    Panics,
    Miscounts,
    Refuses,
}

struct Faulty(Fault);

#[async_trait]
impl Upstream for Faulty {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        let rows_written = match self.0 {
            Fault::Forgets => batch.rows() as u64,
            Fault::Panics => panic!("a bug"),
            Fault::Miscounts => batch.rows() as u64 + 1,
            Fault::Refuses => return Err(UpstreamError::Rejected("no rights".into())),
        };
        Ok(WriteReport {
            rows_written,
            ..WriteReport::default()
        })
    }

    async fn count(&self, _: &Stream, _: &Schema, _: TimeRange) -> Result<u64, UpstreamError> {
        Ok(0)
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let (product, database) = ("a double".into(), None);
        Ok(Description { product, database })
    }

    fn location(&self) -> String {
        "nowhere".into()
    }
}

#[async_trait]
impl Target for Fault {
    async fn begin(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
        Ok(Arc::new(Faulty(*self)))
    }
}

#[tokio::test]
async fn every_scenario_that_fails_is_told_with_what_was_expected_and_found() {
    for (mut fault, found) in [
        (Fault::Forgets, "  found:    0"),
        (Fault::Panics, "expected: no panic\n  found:    a bug"),
        (Fault::Miscounts, "rows_written: 4"),
        (Fault::Refuses, "upstream refused: no rights"),
    ] {
        let report = upstream(&mut fault).await;
        assert!(!report.is_passed());
        assert_eq!(
            report.passed.len() + report.failures.len(),
            SCENARIOS.len(),
            "none ends the others"
        );
        let text = report.to_string();
        assert!(text.contains(found), "{text}");
        assert!(text.contains("every_type_comes_back: "), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_told() {
    let report = upstream(&mut Fault::Forgets).await;
    let reading = ("split_and_source_time_are_kept", "rows are not read back");
    assert!(report.unseen.contains(&reading), "{report}");
}
