use super::*;

#[tokio::test]
async fn gives_up_after_one_unanswered_ping() {
    let start = Instant::now();
    let mut keep_alive = KeepAlive::every(Duration::from_millis(5));
    assert!(keep_alive.beat().await.is_ok());
    assert!(start.elapsed() >= Duration::from_millis(5));
    keep_alive.heard();
    keep_alive.wrote();
    assert!(keep_alive.beat().await.is_ok());
    keep_alive.wrote();
    assert!(matches!(keep_alive.beat().await, Err(LinkProblem::Silent)));
}
