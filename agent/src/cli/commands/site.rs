//! Where a command works: a running agent, or a data directory that it opens itself.

use std::{io, path::PathBuf, sync::Arc};

use clap::Args;
use dunlin_sync::files::frame;
use serde::de::DeserializeOwned;

use super::Exit;
use crate::{
    admin::{
        control::{self, ControlError},
        operations::{self, Ask, Listener, Local, Need, OperationError},
    },
    app::owner,
    config::{self, Diagnostic, Overrides, settings::Settings},
    observe::status::Status,
    store::unusable,
};

/// Most bytes of a status.
const STATUS_BYTES_MAX: usize = 1 << 20;

/// Which agent, by its configuration or its data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct SiteArgs {
    /// Configuration file of the agent
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings that override the file
    #[command(flatten)]
    pub overrides: Overrides,
}

/// An agent that runs, or its directory.
pub struct Site {
    args: SiteArgs,
    data_dir: PathBuf,
    status: Option<Status>,
    local: Option<(Need, Arc<Local>)>,
}

impl From<OperationError> for Exit {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Asked(text) => Self::Usage(text),
            OperationError::Failed(text) => Self::Failed(text),
        }
    }
}

fn usage(mistakes: &[Diagnostic]) -> Exit {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    Exit::Usage(lines.join("\n"))
}

impl Site {
    /// Finds out whether an agent runs there.
    ///
    /// # Errors
    /// [`Exit`], if the directory is not known or the agent does not answer.
    pub async fn find(args: &SiteArgs) -> Result<Self, Exit> {
        let data_dir = config::data_dir(args.config.as_deref(), &args.overrides);
        let data_dir = data_dir.map_err(|mistakes| usage(&mistakes))?;
        owner::take_on(&data_dir).map_err(Exit::Usage)?;
        let failed = |error: ControlError| match error {
            ControlError::Socket { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                OperationError::from(unusable(&path, source)).into()
            }
            error => Exit::Failed(error.to_string()),
        };
        let socket = control::socket_path(&data_dir);
        let status = match control::get(&socket, "/status").await {
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
            local: None,
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

    /// Has an operation done. `T` is the answer's type, as [`Ask`] names it.
    ///
    /// # Errors
    /// [`Exit`], with what is in the way.
    pub async fn ask<T: DeserializeOwned, L: Listener + Send + 'static>(
        &mut self,
        ask: Ask,
        mut listener: L,
    ) -> Result<(T, L), Exit> {
        let (answer, listener) = if self.status.is_some() {
            let body = frame::to_bytes(&ask).map_err(|error| Exit::Failed(error.to_string()))?;
            let socket = control::socket_path(&self.data_dir);
            let reply = control::post(&socket, operations::TARGET, body).await;
            let reply = reply.map_err(|error| Exit::Failed(error.to_string()))?;
            let answer = operations::listen(reply, &mut listener).await?;
            (answer, listener)
        } else {
            let local = self.open(ask.need()).await?;
            blocking(move || {
                let answer = operations::perform(local.parts(), ask, &mut listener)?;
                Ok((answer, listener))
            })
            .await?
        };
        let answer = serde_json::from_slice(&answer);
        let answer = answer
            .map_err(|error| Exit::Failed(format!("the answer is not understood ({error})")))?;
        Ok((answer, listener))
    }

    /// The directory, open as deep as needed.
    ///
    /// # Errors
    /// [`Exit`], with what is in the way.
    pub async fn open(&mut self, need: Need) -> Result<Arc<Local>, Exit> {
        if let Some((open, local)) = &self.local
            && *open >= need
        {
            return Ok(Arc::clone(local));
        }
        self.close_local().await?;
        let data_dir = self.data_dir.clone();
        let local = match need {
            Need::Directory => blocking(move || Local::open_directory(&data_dir)).await,
            Need::Upstream => {
                let settings = self.settings()?;
                blocking(move || Local::open_with_upstream(&settings)).await
            }
            Need::Writer => {
                let settings = self.settings()?;
                blocking(move || Local::open_with_writer(settings)).await
            }
        }?;
        let local = Arc::new(local);
        self.local = Some((need, Arc::clone(&local)));
        Ok(local)
    }

    fn settings(&self) -> Result<Settings, Exit> {
        let load = || config::load(self.args.config.as_deref(), &self.args.overrides);
        let settings = owner::as_caller(load);
        settings.map_err(|mistakes| {
            let Exit::Usage(text) = usage(&mistakes) else {
                return usage(&mistakes);
            };
            Exit::Usage(format!(
                "no agent is running on {}, so this needs its whole configuration (-c FILE):\n{text}",
                self.data_dir.display()
            ))
        })
    }

    /// Lets go of the directory, with everything durable.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the last records could not be committed.
    pub async fn close(mut self) -> Result<(), Exit> {
        self.close_local().await
    }

    async fn close_local(&mut self) -> Result<(), Exit> {
        match self
            .local
            .take()
            .and_then(|(_, local)| Arc::into_inner(local))
        {
            Some(local) => blocking(move || local.close()).await,
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
