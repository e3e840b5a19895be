//! The agent as a whole: build, spawn, watch, drain.
//!
//! A worker that ends by itself ends the agent with an error. Stopping follows the data: no new
//! publishes, the last commit and its PUBACKs, then uploads until the deadline; what is left stays in
//! the buffer for the next start.

#[cfg(feature = "learning")]
mod following;
mod heartbeats;
#[cfg(feature = "learning")]
mod learning;
pub mod logging;
pub(crate) mod memory;
pub mod notify;
mod reload;
pub mod stall;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use dunlin_sync::{
    tls::TlsError,
    uploader::{Left, Uploader},
    upstream::UpstreamError,
};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinError, JoinHandle},
    time::{timeout, timeout_at},
};

use self::heartbeats::Heartbeats;
#[cfg(feature = "learning")]
use self::{following::Following, learning::Learning};
use crate::{
    admin::{
        protocol::{self, ControlError},
        server::{self, ControlServer},
    },
    config::settings::Settings,
    ingest::{Acker, Inbox, Ingest, Stopper, Subscriber},
    observe::{
        http::{self, Endpoint, Hosts, Server},
        status::{Configuration, View},
    },
    record::{held, writer::Requests},
    stack::Stack,
    store::{Store, StoreError},
};

/// The MQTT side's end takes the writer with it; which of both is seen first is chance.
const CAUSE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long the upstream may take to be closed beyond the time to stop in.
const CLOSE_MAX: Duration = Duration::from_secs(2);

const WRITER: &str = "the writer";
const MQTT_SIDE: &str = "the MQTT side";
const UPLOADER: &str = "the uploader";

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A TLS file of the MQTT side.
    #[error("mqtt: {0}")]
    Tls(#[from] TlsError),
    /// The upstream's settings.
    #[error("upstream: {0}")]
    Upstream(#[from] UpstreamError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A worker ended by itself.
    #[error("{worker} stopped: {why}")]
    Worker {
        /// Which.
        worker: &'static str,
        /// Why.
        why: String,
    },
}

impl AgentError {
    /// Trying again does not help until somebody changes something.
    pub const fn needs_operator(&self) -> bool {
        matches!(self, Self::Store(error) if error.needs_operator())
    }
}

/// A running agent.
pub struct Agent {
    view: Arc<View>,
    requests: Requests,
    stopper: Stopper,
    subscriber: Subscriber,
    give_up: watch::Sender<bool>,
    upload_stop: watch::Sender<Option<tokio::time::Instant>>,
    ingest: oneshot::Receiver<Result<(), String>>,
    writer: oneshot::Receiver<Result<(), String>>,
    uploader: JoinHandle<Left>,
    #[cfg(feature = "learning")]
    learning: Option<Learning>,
    #[cfg(feature = "learning")]
    following: Option<Following>,
    heartbeats: Option<Heartbeats>,
    http: Option<(Server, Arc<Endpoint>)>,
    control: Option<ControlServer>,
}

/// Says what the configuration alone does not tell of what is held.
fn tell_held(view: &View) {
    let catalog = view.buffer.catalog();
    for what in held::told(catalog.schemas(), &view.settings().streams) {
        tracing::info!("{what}");
    }
}

/// What to subscribe to.
fn mqtt_filters(settings: &Settings) -> Vec<String> {
    let rules = settings.streams.iter();
    rules.map(|rule| rule.filter.mqtt_filter()).collect()
}

impl Agent {
    /// Opens the data directory and starts every worker. Broker and upstream need not be there.
    ///
    /// # Errors
    /// [`AgentError`] if something on this device is in the way.
    pub async fn start(mut settings: Settings) -> Result<Self, AgentError> {
        let upstream = crate::upstream::connect(&settings)?;
        let store = Store::open(&settings)?;
        settings.mqtt.client_id = store.identity.client_id_for(&settings).to_owned();
        let (ingest, inbox, acker, stopper) = open_ingest(&settings)?;
        let stack = Stack::new(
            &settings,
            store,
            upstream,
            (inbox, acker, ingest.publisher()),
        );
        let view = view(settings, &stack, &ingest);
        let http = serve_http(&view).await;
        // Before any record is taken: two agents on one directory must not both begin.
        let control = serve_control(&view, &stack.requests).await?;

        let (give_up, gave_up) = watch::channel(false);
        let writer = spawn_worker(&view, WRITER, "dunlin-writer", move || {
            stack.writer.run(&gave_up)
        })?;
        let subscriber = ingest.subscriber();
        let ingest = spawn_worker(&view, MQTT_SIDE, "dunlin-mqtt", move || {
            ingest.run().map_err(|error| error.to_string())
        })?;
        #[cfg(feature = "learning")]
        let learning = Learning::start(&view, &stack.requests)?;
        #[cfg(feature = "learning")]
        let following = Following::start(&view);
        let heartbeats = Heartbeats::start(&view, &stack.requests);
        let heartbeats = heartbeats.map_err(|error| AgentError::Worker {
            worker: "the heartbeat",
            why: error.to_string(),
        })?;
        let (upload_stop, uploader) = spawn_uploader(&view, stack.uploader);
        let settings = view.settings();
        tracing::info!(
            device = settings.device,
            client_id = settings.mqtt.client_id,
            upstream = view.upstream.location(),
            streams = settings.streams.len(),
            "started"
        );
        tell_held(&view);
        Ok(Self {
            view,
            requests: stack.requests,
            stopper,
            subscriber,
            give_up,
            upload_stop,
            ingest,
            writer,
            uploader,
            #[cfg(feature = "learning")]
            learning,
            #[cfg(feature = "learning")]
            following,
            heartbeats,
            http,
            control: Some(control),
        })
    }

    /// What it is doing.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Where metrics are served, if they are at present.
    pub fn http_address(&self) -> Option<SocketAddr> {
        let (_, endpoint) = self.http.as_ref()?;
        endpoint.address()
    }

    /// Hands records or publishes to the writer from inside.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Resolves when a worker has ended by itself, which ends the agent: it cannot be stopped in
    /// order any more.
    pub async fn failed(&mut self) -> AgentError {
        let (mut no_http, mut no_control) = (std::future::pending(), std::future::pending());
        let http = async {
            match &mut self.http {
                Some((server, _)) => server.died().await,
                None => (&mut no_http).await,
            }
        };
        let control = async {
            match &mut self.control {
                Some(server) => server.died().await,
                None => (&mut no_control).await,
            }
        };
        tokio::select! {
            end = &mut self.writer => match end {
                // Its inbox was closed, by an MQTT side that has ended and is about to say why.
                Ok(Ok(())) => match timeout(CAUSE_WAIT_MAX, &mut self.ingest).await {
                    Ok(cause) => ended(MQTT_SIDE, cause),
                    Err(_) => ended(WRITER, end),
                },
                end => ended(WRITER, end),
            },
            end = &mut self.ingest => ended(MQTT_SIDE, end),
            end = &mut self.uploader => uploader_ended(end.err().as_ref()),
            error = async {
                #[cfg(feature = "learning")]
                if let Some(learning) = &mut self.learning {
                    return learning.failed().await;
                }
                std::future::pending().await
            } => error,
            error = async {
                #[cfg(feature = "learning")]
                if let Some(following) = &mut self.following {
                    return following.failed().await;
                }
                std::future::pending().await
            } => error,
            () = http => ended("the metrics server", Ok(Ok(()))),
            () = control => ended("the control socket", Ok(Ok(()))),
        }
    }

    /// Stops in the order of the data, within the configured time; tells what is left to upload.
    ///
    /// # Errors
    /// [`AgentError::Worker`] if the last records could not be committed, so that the broker still has
    /// them, or if the uploader cannot say what is left.
    pub async fn stop(self) -> Result<Left, AgentError> {
        let shutdown_max = Duration::from_millis(self.view.settings().shutdown_ms_max);
        let deadline = tokio::time::Instant::now() + shutdown_max;
        drop(self.heartbeats);
        #[cfg(feature = "learning")]
        if let Some(following) = self.following {
            following.stop(shutdown_max / 4).await;
        }
        #[cfg(feature = "learning")]
        if let Some(learning) = self.learning {
            learning.stop(shutdown_max / 4).await;
        }
        self.stopper.stop(shutdown_max / 2);
        let mut writer = self.writer;
        let written = if let Ok(end) = timeout(shutdown_max / 2, &mut writer).await {
            end
        } else {
            self.give_up.send_replace(true);
            writer.await
        };
        if timeout(shutdown_max / 2, self.ingest).await.is_err() {
            tracing::warn!("the broker did not take the last PUBACKs; it will send those again");
        }
        self.upload_stop.send_replace(Some(deadline));
        let left = self.uploader.await;
        if let Some((server, _)) = self.http {
            server.stop().await;
        }
        if let Some(server) = self.control {
            server.stop().await;
        }
        let closed = timeout_at(deadline + CLOSE_MAX, self.view.upstream.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the upstream was not closed in order; nothing is lost");
        }
        match written {
            Ok(Ok(())) => left.map_err(|error| uploader_ended(Some(&error))),
            end => Err(ended(WRITER, end)),
        }
    }
}

/// The MQTT side, not connected yet.
fn open_ingest(settings: &Settings) -> Result<(Ingest, Inbox, Acker, Stopper), TlsError> {
    let filters = mqtt_filters(settings);
    let seed = rand::random();
    let mut opened = Ingest::new(&settings.mqtt, filters, &settings.device, seed)?;
    // A trial leaves nothing behind, nor what it has seen of a broker in place of what the service has.
    if settings.mqtt.keeps_session {
        opened.0.remember_in(&settings.data_dir);
    }
    Ok(opened)
}

fn view(settings: Settings, stack: &Stack, ingest: &Ingest) -> Arc<View> {
    #[cfg(feature = "learning")]
    let state_dir = settings.data_dir.join("state");
    Arc::new(View {
        started: Instant::now(),
        configuration: Configuration::new(settings),
        identity: stack.identity.clone(),
        buffer: Arc::clone(&stack.buffer),
        quarantine: Arc::clone(&stack.quarantine),
        #[cfg(feature = "learning")]
        models: Arc::clone(&stack.models),
        #[cfg(feature = "learning")]
        released: Arc::new(crate::learn::released::Released::open(&state_dir)),
        upstream: Arc::clone(&stack.upstream),
        ingest: ingest.stats(),
        publisher: ingest.publisher(),
        writer: stack.writer.stats(),
        uploads: stack.uploader.stats(),
        #[cfg(feature = "learning")]
        learn: Arc::default(),
        endpoint: OnceLock::new(),
        ended: OnceLock::new(),
    })
}

/// Metrics and health, if they are to be served.
async fn serve_http(view: &Arc<View>) -> Option<(Server, Arc<Endpoint>)> {
    let settings = view.settings();
    let listen = settings.http_listen?;
    let (metrics, health) = (Arc::clone(view), Arc::clone(view));
    let serving = http::serve(
        listen,
        Hosts::new(&settings.device, &settings.http_hosts),
        Arc::new(move || metrics.metrics()),
        Arc::new(move || health.health()),
    );
    let (server, endpoint) = serving.await;
    // Set once, here.
    let _set = view.endpoint.set(Arc::clone(&endpoint));
    Some((server, endpoint))
}

async fn serve_control(
    view: &Arc<View>,
    requests: &Requests,
) -> Result<ControlServer, ControlError> {
    let router = server::router(Arc::clone(view), requests.clone());
    let socket = protocol::socket_path(&view.settings().data_dir);
    server::serve(&socket, router).await
}

/// Why a worker with a thread of its own has ended.
fn ended(
    worker: &'static str,
    end: Result<Result<(), String>, oneshot::error::RecvError>,
) -> AgentError {
    let why = match end {
        Ok(Ok(())) => "it ended".to_owned(),
        Ok(Err(why)) => why,
        Err(_) => "it panicked; see the log".to_owned(),
    };
    AgentError::Worker { worker, why }
}

fn uploader_ended(error: Option<&JoinError>) -> AgentError {
    AgentError::Worker {
        worker: UPLOADER,
        why: error.map_or_else(|| "it ended".to_owned(), ToString::to_string),
    }
}

/// Tells the view when it is dropped, which a panic does too.
struct Working {
    view: Arc<View>,
    worker: &'static str,
}

impl Working {
    fn new(view: &Arc<View>, worker: &'static str) -> Self {
        let view = Arc::clone(view);
        Self { view, worker }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // The first to end is the cause.
        let _later = self.view.ended.set(self.worker);
    }
}

/// Runs `work` on a thread of its own, for what blocks; how it ends can be awaited.
fn spawn_worker(
    view: &Arc<View>,
    worker: &'static str,
    thread: &str,
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), String>>, AgentError> {
    let (ended, end) = oneshot::channel();
    let working = Working::new(view, worker);
    std::thread::Builder::new()
        .name(thread.into())
        .spawn(move || {
            let _working = working;
            // Nobody listens any more only when the agent is gone.
            let _gone = ended.send(work());
        })
        .map_err(|error| AgentError::Worker {
            worker,
            why: error.to_string(),
        })?;
    Ok(end)
}

/// Uploads until the deadline that is to be sent.
fn spawn_uploader(
    view: &Arc<View>,
    uploader: Uploader,
) -> (
    watch::Sender<Option<tokio::time::Instant>>,
    JoinHandle<Left>,
) {
    let (stop, deadline) = watch::channel(None);
    let working = Working::new(view, UPLOADER);
    let uploading = tokio::spawn(async move {
        let _working = working;
        uploader.run(deadline).await
    });
    (stop, uploading)
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used)]
mod tests;
