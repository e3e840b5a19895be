//! An upstream of the user's own, held to the time that the configuration gives it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dunlin_sync::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
    upstream::{Description, Upstream, UpstreamError, WriteReport},
};
use tokio::time::timeout;

/// Ours have the time-out built in; of another nobody knows.
pub(super) struct Bounded {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) timeout: Duration,
}

impl Bounded {
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, UpstreamError>> + Send,
    ) -> Result<T, UpstreamError> {
        timeout(self.timeout, call).await.unwrap_or_else(|_| {
            Err(UpstreamError::Unavailable(format!(
                "{} did not answer within {:?}",
                self.upstream.location(),
                self.timeout
            )))
        })
    }
}

#[async_trait]
impl Upstream for Bounded {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        self.in_time(self.upstream.write(batch)).await
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        self.in_time(self.upstream.count(stream, schema, range))
            .await
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        self.in_time(self.upstream.describe()).await
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        self.in_time(self.upstream.close()).await
    }

    fn times_replaced(&self) -> u64 {
        self.upstream.times_replaced()
    }

    fn location(&self) -> String {
        self.upstream.location()
    }
}

#[cfg(test)]
mod tests;
