//! `dunlin run`: the agent in earnest.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Outcome, settings};
use crate::{
    app::Agent,
    config::Overrides,
    notify::{self, Notifier, Telling},
    stall::{self, StallWatch},
    status::View,
};

/// Arguments of `dunlin run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Configuration file; without it, name at least --mqtt and --topic
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on with a data directory that was moved here, with its disk, from another machine
    #[arg(long)]
    pub adopt_identity: bool,
    /// Without a configuration file: the broker keeps the session when the agent has stopped, as it does
    /// with one
    #[arg(long)]
    pub keep_session: bool,
    /// Settings that override the file
    #[command(flatten)]
    pub overrides: Overrides,
}

/// Runs until SIGINT or SIGTERM, then drains. Only whoever presses Ctrl-C twice is in a hurry: a
/// supervisor may well send SIGTERM more than once.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: RunArgs) -> Outcome {
    let mut settings = settings(args.config.as_deref(), &args.overrides)?;
    settings.adopt_identity = args.adopt_identity;
    settings.mqtt.keeps_session |= args.keep_session;
    let failed = |error: &dyn std::fmt::Display| Exit::Failed(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed(&e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed(&e))?;

    let mut agent = Agent::start(settings).await.map_err(|error| {
        if error.is_for_somebody() {
            Exit::Usage(error.to_string())
        } else {
            failed(&error)
        }
    })?;
    // A broker that is away must not hold the boot.
    let telling = Telling::begin(Notifier::from_env(), notify::watchdog(), agent.view());
    let _watch = watch_disk(agent.view()).map_err(|error| failed(&error))?;
    let is_interrupted = tokio::select! {
        error = agent.failed() => return Err(failed(&error)),
        _ = terminate.recv() => false,
        _ = interrupt.recv() => true,
    };
    telling.stopping();
    tracing::info!("stopping: committing and uploading what is left");
    tokio::select! {
        left = agent.stop() => {
            let left = left.map_err(|e| failed(&e))?;
            if left.rows > 0 {
                tracing::info!(rows = left.rows, "stopped; these rows go up after the next start");
            } else {
                tracing::info!("stopped; everything is upstream");
            }
            Ok(())
        }
        () = async {
            if !is_interrupted {
                interrupt.recv().await;
            }
            interrupt.recv().await;
        } => Err(Exit::Failed("stopped at once".into())),
    }
}

/// Ends the agent when its disk hangs, if it is to.
fn watch_disk(view: &Arc<View>) -> std::io::Result<Option<StallWatch>> {
    let Some(most) = view.settings.stall_max else {
        return Ok(None);
    };
    let writer = Arc::clone(&view.writer);
    let hangs_for = move |now| writer.waiting_for_disk(now);
    StallWatch::begin(most, hangs_for, |why| stall::say_and_exit(why, 1)).map(Some)
}
