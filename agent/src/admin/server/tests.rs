#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use axum::{
    Router,
    http::StatusCode,
    routing::{get as route, post as route_post},
};

use super::{stream::stream, *};
use crate::admin::{
    client::{get, post},
    protocol::socket_path,
};

const ANSWER_BYTES_MAX: usize = 1 << 20;
/// More than both sides' buffers together.
const LINES: usize = 200_000;

fn router() -> Router {
    Router::new()
        .route("/status", route(async || "fine"))
        .route("/echo", route_post(async |body: String| body))
        .route("/no", route(async || (StatusCode::CONFLICT, "not now\n")))
        .route("/lines", route(async || stream(|out| lines(out))))
        .route(
            "/fails",
            route(async || stream(|out| lines(out).and(Err(io::Error::other("disk"))))),
        )
        .route(
            "/panics",
            route(async || {
                stream(|out| {
                    lines(out)?;
                    panic!("on purpose")
                })
            }),
        )
        .route("/never", route(std::future::pending::<()>))
}

fn lines(out: &mut dyn Write) -> io::Result<()> {
    for line in 0..LINES {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

async fn text(path: &Path, target: &str) -> Result<String, ControlError> {
    let bytes = get(path, target).await?.bytes(ANSWER_BYTES_MAX).await?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn asks_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let path = socket_path(dir.path());
    let server = serve(&path, router()).await.unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(text(&path, "/status").await.unwrap(), "fine");
    let echoed = post(&path, "/echo", b"body".to_vec()).await.unwrap();
    assert_eq!(echoed.bytes(10).await.unwrap(), b"body");
    let refused = text(&path, "/no").await.unwrap_err();
    assert!(
        matches!(&refused, ControlError::Refused { status: 409, reason } if reason == "not now"),
        "{refused:?}"
    );
    let unknown = text(&path, "/unknown").await.unwrap_err();
    assert!(matches!(unknown, ControlError::Refused { status: 404, .. }));
    assert!(text(&path, "no target\n").await.is_err());
    server.stop().await;
    assert!(!path.exists());
    let error = text(&path, "/status").await.unwrap_err();
    assert!(matches!(error, ControlError::NotRunning(_)));
    assert!(error.to_string().contains("dunlin run"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_streamed_and_a_broken_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = socket_path(dir.path());
    let server = serve(&path, router()).await.unwrap();
    let mut reply = get(&path, "/lines").await.unwrap();
    let (mut all, mut chunks) = (Vec::new(), 0);
    while let Some(chunk) = reply.chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
        chunks += 1;
    }
    let mut expected = Vec::new();
    lines(&mut expected).unwrap();
    assert!(
        all == expected && chunks > 10,
        "{} bytes in {chunks}",
        all.len()
    );
    let too_long = text(&path, "/lines").await.unwrap_err();
    assert!(matches!(too_long, ControlError::Broken(_)));
    for target in ["/fails", "/panics"] {
        let mut reply = get(&path, target).await.unwrap();
        let mut received = 0;
        let error = loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => received += chunk.len(),
                Ok(None) => panic!("{target} ended as if it were whole"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ControlError::Broken(_)), "{error:?}");
        assert!(received <= expected.len());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_stops_the_producer() {
    let (stopped, told) = tokio::sync::oneshot::channel();
    let told_once = std::sync::Mutex::new(Some(stopped));
    let endless = move |out: &mut (dyn Write + Send)| loop {
        if let Err(error) = lines(out) {
            let stopped = told_once.lock().unwrap().take().unwrap();
            stopped.send(error.kind()).unwrap();
            return Err(error);
        }
    };
    let endless = std::sync::Arc::new(std::sync::Mutex::new(Some(endless)));
    let handler = async move || {
        let produce = endless.lock().unwrap().take().unwrap();
        stream(produce)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = socket_path(dir.path());
    let router = Router::new().route("/", route(handler));
    let server = serve(&path, router).await.unwrap();
    let mut reply = get(&path, "/").await.unwrap();
    assert!(reply.chunk().await.unwrap().is_some());
    drop(reply);
    assert_eq!(told.await.unwrap(), io::ErrorKind::BrokenPipe);
    server.stop().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = socket_path(dir.path());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(
        get(&path, "/").await,
        Err(ControlError::NotRunning(_))
    ));
    let server = serve(&path, router()).await.unwrap();
    let error = serve(&path, router()).await.unwrap_err();
    assert!(matches!(error, ControlError::InUse(_)), "{error}");
    assert_eq!(text(&path, "/status").await.unwrap(), "fine");
    // What another agent has put there meanwhile is not ours to remove.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    server.stop().await;
    assert!(path.exists());
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = serve(&path, router()).await.unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let missing = socket_path(&dir.path().join("missing"));
    assert!(matches!(
        serve(&missing, router()).await,
        Err(ControlError::Socket { .. })
    ));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_beyond_the_limit_works() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(200));
    fs::create_dir(&deep).unwrap();
    let path = socket_path(&deep);
    let server = serve(&path, router()).await.unwrap();
    assert_eq!(text(&path, "/status").await.unwrap(), "fine");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        serve(&path, router()).await,
        Err(ControlError::InUse(_))
    ));
    server.stop().await;
    assert!(!path.exists());
}
