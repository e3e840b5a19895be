//! `dunlin run`: the agent in earnest.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use clap::Args;
use dunlin_sync::uploader::Left;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Outcome, settings};
use crate::{
    app::{
        Agent, AgentError,
        notify::{self, Notifier, Telling},
        stall::{self, StallWatch},
    },
    base::owner,
    config::{self, Overrides, settings::Settings},
    observe::status::{Status, View},
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

/// With what only the command line says.
fn as_asked(mut settings: Settings, args: &RunArgs) -> Settings {
    settings.adopt_identity = args.adopt_identity;
    settings.mqtt.keeps_session |= args.keep_session;
    settings
}

/// Reads the configuration again, and goes on by it if it has no mistakes.
async fn reload(agent: &mut Agent, args: &RunArgs) -> Result<(), AgentError> {
    tracing::info!("reading the configuration again");
    let checked = owner::as_caller(|| config::check(args.config.as_deref(), &args.overrides));
    match checked.settings {
        Ok(settings) => {
            for warning in checked.warnings {
                tracing::warn!("{warning}");
            }
            agent.reload(as_asked(settings, args)).await
        }
        Err(mistakes) => {
            agent.refuse_reload(&mistakes);
            Ok(())
        }
    }
}

/// Runs until SIGINT or SIGTERM, then drains. Only whoever presses Ctrl-C twice is in a hurry: a
/// supervisor may well send SIGTERM more than once.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: RunArgs) -> Outcome {
    let settings = as_asked(settings(args.config.as_deref(), &args.overrides)?, &args);
    owner::take_on(&settings.data_dir).map_err(Exit::Usage)?;
    let failed = |error: &dyn std::fmt::Display| Exit::Failed(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed(&e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed(&e))?;

    let mut hangup = signal(SignalKind::hangup()).map_err(|e| failed(&e))?;
    let mut agent = Agent::start(settings).await.map_err(|error| {
        if error.needs_operator() {
            Exit::Usage(error.to_string())
        } else {
            failed(&error)
        }
    })?;
    // A broker that is away must not hold the boot.
    let telling = Telling::begin(Notifier::from_env(), notify::watchdog(), agent.view());
    let _watch = watch_disk(agent.view()).map_err(|error| failed(&error))?;
    let is_interrupted = loop {
        tokio::select! {
            error = agent.failed() => return Err(failed(&error)),
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break true,
            _ = hangup.recv() => {}
        }
        if args.config.is_none() && std::io::stdin().is_terminal() {
            // There is nothing to read again: whoever tried it has closed the terminal.
            break false;
        }
        reload(&mut agent, &args)
            .await
            .map_err(|error| failed(&error))?;
    };
    telling.stopping();
    let view = Arc::clone(agent.view());
    tracing::info!("stopping: committing and uploading what is left");
    tokio::select! {
        left = agent.stop() => {
            let left = left.map_err(|e| failed(&e))?;
            let in_quarantine = view.quarantine.len();
            farewell(&left, &view.status(), in_quarantine);
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
    let Some(most) = view.settings().stall_max else {
        return Ok(None);
    };
    let writer = Arc::clone(&view.writer);
    let hangs_for = move |now| writer.waiting_for_disk(now);
    StallWatch::begin(most, hangs_for, |why| stall::say_and_exit(why, 1)).map(Some)
}

/// Says what became of what came.
fn farewell(left: &Left, status: &Status, in_quarantine: u64) {
    let (records, upstream) = (&status.records, &status.upstream);
    let quarantined = records.quarantined + upstream.rejected;
    if quarantined > 0 || in_quarantine > 0 {
        tracing::warn!(
            records = quarantined,
            items = in_quarantine,
            by_reason = ?records.quarantined_by_reason,
            rejected_by_the_upstream = upstream.rejected,
            "in quarantine: records put there since the start, items there now; look: dunlin \
             quarantine list"
        );
    }
    if left.streams_held > 0 {
        tracing::warn!(
            streams = left.streams_held,
            rows = left.rows_held,
            such_as = upstream.held_stream.as_deref().unwrap_or_default(),
            "held in the buffer: the upstream refuses these streams; repair them there"
        );
    }
    if upstream.times_replaced > 0 {
        tracing::warn!(
            times = upstream.times_replaced,
            "the upstream's database was removed or replaced since the start, and may lack rows: dunlin \
             upload --again sends them, from the buffer"
        );
    }
    if records.dropped > 0 {
        tracing::error!(records = records.dropped, "DROPPED since the start");
    }
    if left.rows > 0 {
        tracing::info!(
            rows = left.rows,
            "stopped; these rows are not upstream, and go up after the next start"
        );
    } else if in_quarantine + records.dropped > 0 || left.streams_held > 0 {
        tracing::info!("stopped; no row waits, but not everything that came is upstream");
    } else if upstream.times_replaced > 0 {
        tracing::info!("stopped; no row waits; what was in the database before may be missing");
    } else if quarantined > 0 {
        tracing::info!("stopped; no row waits, and the quarantine is empty");
    } else {
        tracing::info!("stopped; everything is upstream");
    }
}
