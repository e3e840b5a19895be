//! Where a command works: a running agent, or a data directory that it opens itself.

use std::{io, path::PathBuf, sync::Arc};

use clap::Args;

use super::{Exit, terminal::Show};
use crate::{
    admin::{
        client,
        offline::Offline,
        operations::{Listener, Need, Operation, OperationError},
        protocol::{ControlError, socket_path},
    },
    base::owner,
    config::{self, Diagnostic, Overrides, settings::Settings},
    observe::status::Status,
    store::unusable,
};

/// Most bytes of a status.
const STATUS_BYTES_MAX: usize = 1 << 20;

/// Which agent, by its configuration or its data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// Configuration file of the agent
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings that override the file
    #[command(flatten)]
    pub overrides: Overrides,
}

/// To a running agent, or to its directory where none runs.
pub struct Connection {
    args: ConnectionArgs,
    data_dir: PathBuf,
    status: Option<Status>,
    offline: Option<(Need, Arc<Offline>)>,
}

impl From<OperationError> for Exit {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Asked(text) => Self::Usage(text),
            OperationError::Failed(text) => Self::Failed(text),
        }
    }
}

/// One mistake a line.
fn lines(mistakes: &[Diagnostic]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Connection {
    /// Finds out whether an agent runs there.
    ///
    /// # Errors
    /// [`Exit`], if the directory is not known or the agent does not answer.
    pub async fn open(args: &ConnectionArgs) -> Result<Self, Exit> {
        let data_dir = config::data_dir(args.config.as_deref(), &args.overrides);
        let data_dir = data_dir?;
        owner::take_on(&data_dir).map_err(Exit::Usage)?;
        let failed = |error: ControlError| match error {
            ControlError::Socket { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                OperationError::from(unusable(&path, source)).into()
            }
            error => Exit::Failed(error.to_string()),
        };
        let socket = socket_path(&data_dir);
        let status = match client::get(&socket, "/status").await {
            Ok(reply) => {
                let bytes = reply.bytes(STATUS_BYTES_MAX).await.map_err(failed)?;
                let status = serde_json::from_slice(&bytes).map_err(|error| {
                    Exit::Failed(format!(
                        "the agent's status is not understood ({error}): is it another version?"
                    ))
                })?;
                Some(status)
            }
            Err(ControlError::NotRunning(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            args: args.clone(),
            data_dir,
            status,
            offline: None,
        })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// What the agent said when it was found; `None` if none runs.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Has an operation done, without a word about how far it is.
    ///
    /// # Errors
    /// [`Exit`], with what is in the way.
    pub async fn request<O: Operation>(&mut self, operation: O) -> Result<O::Answer, Exit> {
        let (answer, _) = self.request_with(operation, Show::nothing()).await?;
        Ok(answer)
    }

    /// Has an operation done while `listener`, which comes back, hears how it goes.
    ///
    /// # Errors
    /// [`Exit`], with what is in the way.
    pub async fn request_with<O: Operation, L: Listener + 'static>(
        &mut self,
        operation: O,
        mut listener: L,
    ) -> Result<(O::Answer, L), Exit> {
        if self.status.is_some() {
            let socket = socket_path(&self.data_dir);
            let answer = client::request(&socket, operation, &mut listener).await?;
            return Ok((answer, listener));
        }
        let offline = self.open_offline(O::NEED).await?;
        blocking(move || {
            let answer = offline.request(operation, &mut listener)?;
            Ok((answer, listener))
        })
        .await
    }

    /// The directory, open as deep as needed.
    ///
    /// # Errors
    /// [`Exit`], with what is in the way.
    pub async fn open_offline(&mut self, need: Need) -> Result<Arc<Offline>, Exit> {
        if let Some((open, offline)) = &self.offline
            && *open >= need
        {
            return Ok(Arc::clone(offline));
        }
        self.close_offline().await?;
        let data_dir = self.data_dir.clone();
        let offline = match need {
            Need::Directory => blocking(move || Offline::open_directory(&data_dir)).await,
            Need::Upstream => {
                let settings = self.settings()?;
                blocking(move || Offline::open_with_upstream(&settings)).await
            }
            Need::Writer => {
                let settings = self.settings()?;
                blocking(move || Offline::open_with_writer(settings)).await
            }
        }?;
        let offline = Arc::new(offline);
        self.offline = Some((need, Arc::clone(&offline)));
        Ok(offline)
    }

    fn settings(&self) -> Result<Settings, Exit> {
        let load = || config::load(self.args.config.as_deref(), &self.args.overrides);
        let settings = owner::as_caller(load);
        settings.map_err(|mistakes| {
            Exit::Usage(format!(
                "no agent is running on {}, so this needs its whole configuration (-c FILE):\n{}",
                self.data_dir.display(),
                lines(&mistakes)
            ))
        })
    }

    /// Lets go of the directory, with everything durable.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the last records could not be committed.
    pub async fn close(mut self) -> Result<(), Exit> {
        self.close_offline().await
    }

    async fn close_offline(&mut self) -> Result<(), Exit> {
        match self
            .offline
            .take()
            .and_then(|(_, offline)| Arc::into_inner(offline))
        {
            Some(offline) => blocking(move || offline.close()).await,
            None => Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OperationError> + Send + 'static,
) -> Result<T, Exit> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Exit::from),
        Err(panic) => Err(Exit::Failed(panic.to_string())),
    }
}
