#![allow(clippy::unwrap_used)]

use super::*;

/// Never answers.
struct Silent;

#[async_trait]
impl Upstream for Silent {
    async fn write(&self, _: &Batch) -> Result<WriteReport, UpstreamError> {
        std::future::pending().await
    }

    async fn count(&self, _: &Stream, _: &Schema, _: TimeRange) -> Result<u64, UpstreamError> {
        std::future::pending().await
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        std::future::pending().await
    }

    fn location(&self) -> String {
        "a silent place".into()
    }
}

#[tokio::test]
async fn what_never_answers_is_unavailable_after_the_time_out() {
    let upstream = Bounded {
        upstream: Arc::new(Silent),
        timeout: Duration::from_millis(20),
    };
    let error = upstream.write(&Batch::default()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unavailable(_)), "{error}");
    let words = "a silent place did not answer within 20ms";
    assert!(error.to_string().contains(words), "{error}");
    assert!(upstream.describe().await.is_err());
    assert!(upstream.close().await.is_ok());
}
