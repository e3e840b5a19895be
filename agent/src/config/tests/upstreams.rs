//! Upstreams of a program's own.

use async_trait::async_trait;
use dunlin_sync::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange as Range},
    upstream::{Description, Upstream, UpstreamError, WriteReport},
};

use super::*;

struct Mine;

#[async_trait]
impl Upstream for Mine {
    async fn write(&self, _: &Batch) -> Result<WriteReport, UpstreamError> {
        Ok(WriteReport::default())
    }

    async fn count(&self, _: &Stream, _: &Schema, _: Range) -> Result<u64, UpstreamError> {
        Ok(0)
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        Err(UpstreamError::Rejected("not me".into()))
    }

    fn location(&self) -> String {
        "mine".into()
    }
}

fn found(url: &str, own: &Own) -> Result<Settings, String> {
    let (_dir, path) = file_with(&format!("{MINIMAL}[upstream]\nurl = \"{url}\"\n"));
    load_with(Some(&path), &Overrides::default(), own).map_err(|mistakes| shown(&mistakes))
}

#[test]
fn an_upstream_of_a_programs_own_is_found_by_its_name() {
    let own = Own::default().with_upstream("mine", Mine);
    let settings = found("custom:mine", &own).unwrap();
    let upstream = crate::upstream::connect(&settings).unwrap();
    assert_eq!(upstream.location(), "mine");
    assert_eq!(settings.upstream.url.reveal(), "custom:mine");
    // The same one again: nothing has to be started anew after a reload.
    assert_eq!(
        settings.upstream,
        found("custom:mine", &own).unwrap().upstream
    );
    let other = Own::default().with_upstream("mine", Mine);
    assert_ne!(
        settings.upstream,
        found("custom:mine", &other).unwrap().upstream
    );
}

#[test]
fn an_upstream_that_nobody_has_is_refused_and_never_replaced_by_a_file() {
    let own = Own::default().with_upstream("mine", Mine);
    let told = |url: &str, own: &Own| found(url, own).unwrap_err();
    let none = told("custom:mine", &Own::default());
    assert!(none.contains("`custom:mine` is not known here"), "{none}");
    assert!(none.contains("start the program that has it"), "{none}");
    let other = told("custom:yours", &own);
    assert!(other.contains("use one of: custom:mine"), "{other}");
    let bad = told("custom:me:secret@host", &own);
    assert!(bad.contains("names no upstream"), "{bad}");
    assert!(!bad.contains("secret"), "{bad}");
}
