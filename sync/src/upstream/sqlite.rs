//! The embedded default upstream: one `SQLite` file.

use async_trait::async_trait;

use super::{Upstream, UpstreamError, UpstreamOptions, WriteReport};
use crate::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
};

/// A `SQLite` file as upstream.
pub struct Sqlite;

impl Sqlite {
    /// # Errors
    /// If the URL is wrong.
    pub fn new(_options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        Ok(Self)
    }
}

#[async_trait]
impl Upstream for Sqlite {
    async fn write(&self, _batch: &Batch) -> Result<WriteReport, UpstreamError> {
        Err(UpstreamError::Rejected("not built yet".into()))
    }
    async fn count(&self, _: &Stream, _: &Schema, _: TimeRange) -> Result<u64, UpstreamError> {
        Err(UpstreamError::Rejected("not built yet".into()))
    }
    fn location(&self) -> String {
        "sqlite".into()
    }
}
