//! `TDengine` over WebSocket.

use async_trait::async_trait;

use super::{Upstream, UpstreamError, UpstreamOptions, WriteReport};
use crate::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
};

/// A `TDengine` database as upstream.
pub struct TDengine;

impl TDengine {
    /// # Errors
    /// If the URL is wrong.
    pub fn new(_options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        Ok(Self)
    }
}

#[async_trait]
impl Upstream for TDengine {
    async fn write(&self, _batch: &Batch) -> Result<WriteReport, UpstreamError> {
        Err(UpstreamError::Rejected("not built yet".into()))
    }
    async fn count(&self, _: &Stream, _: &Schema, _: TimeRange) -> Result<u64, UpstreamError> {
        Err(UpstreamError::Rejected("not built yet".into()))
    }
    fn location(&self) -> String {
        "tdengine".into()
    }
}
