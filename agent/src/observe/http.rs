//! HTTP with every bound set: `/metrics` and `/healthz` for the network, and the serving itself,
//! which `control` shares.
//!
//! Promises: a bounded number of connections, of header bytes, of waiting and of connection time;
//! one request a connection; nobody who connects can stop the agent or keep it from stopping, and
//! neither can an address that is taken; no web page that somebody else's name server sends here
//! reads the metrics.

mod endpoint;
mod hosts;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use self::endpoint::Waiting;
pub use self::{
    endpoint::{Endpoint, EndpointState},
    hosts::Hosts,
};
use crate::observe::metrics::{self, Metrics};

/// Whether the agent is well; `Err` holds the reason why not, without secrets.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Bounds on serving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections open at once; the next waits to be accepted.
    pub(crate) connections_max: usize,
    /// Wait for the whole request header.
    pub(crate) header_wait: Duration,
    /// A connection's whole life; `None`: as long as its answer takes.
    pub(crate) connection: Option<Duration>,
    /// What open connections are given to end when the server stops.
    pub(crate) grace: Duration,
}

const NETWORK: Limits = Limits {
    connections_max: 32,
    header_wait: Duration::from_secs(5),
    connection: Some(Duration::from_secs(10)),
    grace: Duration::from_secs(1),
};

/// Request header, bytes; hyper's own buffer is no smaller.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// A running server; dropped, it stops by itself, without anybody waiting for it.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
}

impl Server {
    /// Starts serving `router` to whoever connects to `listener`.
    pub(crate) fn start(listener: impl Listener, router: Router, limits: Limits) -> Self {
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn(accept(listener, router, limits, stopped));
        Self { stop, worker }
    }

    /// Resolves when the server has died by itself, which it never should.
    pub async fn died(&mut self) {
        // A handle that has said its outcome must not be asked again.
        if !self.worker.is_finished() {
            let _outcome = (&mut self.worker).await;
        }
    }

    /// Takes no new connection, gives open ones a moment, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.died().await;
    }
}

/// Serves `GET /metrics` and `GET /healthz` on `listen`, at once or as soon as the address is free;
/// `Endpoint` tells where, or why not yet. Metrics are for `hosts` alone.
pub async fn serve(
    listen: SocketAddr,
    hosts: Hosts,
    metrics: Metrics,
    health: Health,
) -> (Server, Arc<Endpoint>) {
    let listener = Waiting::begin(listen).await;
    let endpoint = listener.endpoint();
    let server = Server::start(listener, router(hosts, metrics, health), NETWORK);
    (server, endpoint)
}

fn router(hosts: Hosts, metrics: Metrics, health: Health) -> Router {
    let exposition = async move |headers: HeaderMap| -> Response {
        if let Err(why) = hosts.check(&headers) {
            return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
        }
        let text = metrics::render(&metrics());
        ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
    };
    let healthz = async move || match health() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    Router::new()
        .route("/metrics", get(exposition))
        .route("/healthz", get(healthz))
}

async fn accept(
    mut listener: impl Listener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let (io, _peer) = listener.accept().await;
            (slot, io)
        };
        let (slot, io) = tokio::select! {
            next = next => next,
            // The sender gone counts as a stop too.
            _ = stopped.changed() => break,
        };
        let (router, stopped) = (router.clone(), stopped.clone());
        connections.spawn(async move {
            let _slot = slot;
            connection(io, router, limits, stopped).await;
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Those that have not ended by then are aborted with the set.
    let _in_time = timeout(limits.grace, all_ended).await;
}

async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let until_served = async {
        let mut serving = pin!(serving);
        tokio::select! {
            outcome = serving.as_mut() => outcome,
            _ = stopped.changed() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    };
    let outcome = match limits.connection {
        Some(most) => timeout(most, until_served).await.ok(),
        None => Some(until_served.await),
    };
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "an HTTP connection ended badly"),
        None => tracing::debug!("an HTTP connection took too long"),
    }
}

#[cfg(test)]
mod tests;
