use super::*;
use crate::config::{self, Overrides};

/// An agent whose broker is away.
async fn agent(dir: &tempfile::TempDir) -> Agent {
    let overrides = Overrides::default()
        .set("data_dir", dir.path().join("data").to_str().unwrap())
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("http.listen", "")
        .set(
            "upstream.url",
            format!("sqlite:{}", dir.path().join("up.db").display()),
        )
        .topic("plant/#");
    Agent::start(config::load(None, &overrides).unwrap())
        .await
        .unwrap()
}

fn in_words(error: &AgentError) -> String {
    error.to_string()
}

#[tokio::test]
async fn health_names_a_worker_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(&dir).await;
    let view = Arc::clone(agent.view());
    let health = view.health().unwrap_err();
    assert!(health.contains("not connected"), "{health}");
    let end = spawn_worker(&view, "the juggler", "juggler", || panic!("on purpose")).unwrap();
    assert!(end.await.is_err());
    while view.ended.get().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(view.health().unwrap_err(), "the juggler has ended");
    assert_eq!(agent.stop().await.unwrap().rows, 0);
}

#[tokio::test]
async fn health_names_refused_subscriptions() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(&dir).await;
    let ingest = &agent.view().ingest;
    ingest
        .connected
        .store(true, std::sync::atomic::Ordering::Relaxed);
    ingest
        .filters_refused
        .store(1, std::sync::atomic::Ordering::Relaxed);
    let health = agent.view().health().unwrap_err();
    assert!(health.contains("1 of the subscriptions"), "{health}");
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_mqtt_side_is_not_blamed_on_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(&dir).await;
    // The writer is seen first.
    let (said, end) = oneshot::channel();
    agent.ingest = end;
    let (done, writer) = oneshot::channel();
    agent.writer = writer;
    done.send(Ok(())).unwrap();
    said.send(Err("no sockets left".into())).unwrap();
    assert_eq!(
        in_words(&agent.failed().await),
        "the MQTT side stopped: no sockets left"
    );
}

#[tokio::test]
async fn an_uploader_that_panicked_does_not_count_as_drained() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(&dir).await;
    agent.uploader.abort();
    agent.uploader = tokio::spawn(async { panic!("on purpose") });
    let error = agent.stop().await.unwrap_err();
    assert!(
        in_words(&error).starts_with("the uploader stopped: "),
        "{error}"
    );
}
