//! An address to listen on, that may be taken at present.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::serve::Listener;
use dunlin_sync::lock::unpoisoned;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

/// Wait between two attempts.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is said that it still does not work.
const TELL_GAP: Duration = Duration::from_mins(1);

/// Where the server listens, or why it does not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// Here.
    Listens(SocketAddr),
    /// Not yet, for this reason; it is tried again.
    Waits(String),
}

/// [`EndpointState`], as it is now.
#[derive(Debug)]
pub struct Endpoint(Mutex<EndpointState>);

impl Endpoint {
    /// As it is now.
    pub fn state(&self) -> EndpointState {
        unpoisoned(self.0.lock()).clone()
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.state() {
            EndpointState::Listens(address) => Some(address),
            EndpointState::Waits(_) => None,
        }
    }

    fn set(&self, state: EndpointState) {
        *unpoisoned(self.0.lock()) = state;
    }
}

/// Listens as soon as its address can be had.
pub(super) struct Waiting {
    listen: SocketAddr,
    listener: Option<TcpListener>,
    endpoint: Arc<Endpoint>,
    told: Option<Instant>,
    retry: Duration,
}

impl Waiting {
    /// Tries once; what does not work is tried again by `accept`.
    pub(super) async fn begin(listen: SocketAddr) -> Self {
        let untried = EndpointState::Waits(String::new());
        let mut waiting = Self {
            listen,
            listener: None,
            endpoint: Arc::new(Endpoint(Mutex::new(untried))),
            told: None,
            retry: RETRY,
        };
        waiting.attempt().await;
        waiting
    }

    /// With another wait between attempts.
    #[cfg(test)]
    pub(super) fn every(self, retry: Duration) -> Self {
        Self { retry, ..self }
    }

    pub(super) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint)
    }

    async fn attempt(&mut self) {
        let bound = TcpListener::bind(self.listen).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => {
                tracing::info!("metrics on http://{address}/metrics");
                self.listener = Some(listener);
                self.endpoint.set(EndpointState::Listens(address));
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &io::Error) {
        let why = format!(
            "cannot listen on {}: {error}; set http.listen (--http-listen) to another address, or \
             to \"\" for no metrics",
            self.listen
        );
        if self.told.is_none_or(|told| told.elapsed() >= TELL_GAP) {
            self.told = Some(Instant::now());
            tracing::warn!("no metrics: {why}; trying again");
        }
        self.endpoint.set(EndpointState::Waits(why));
    }
}

impl Listener for Waiting {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(listener) = &mut self.listener {
                return Listener::accept(listener).await;
            }
            sleep(self.retry).await;
            self.attempt().await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint
            .address()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
