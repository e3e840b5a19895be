//! `dunlin demo`: everything on this machine: a broker, machines, the agent, `SQLite`.
//!
//! Promises: nothing listens but on 127.0.0.1 and free ports; nothing is left behind unless a directory
//! is named; the agent is the one of `dunlin run`, on a configuration file like any other. At the
//! end every record published is accounted for, or the demo fails and says which is not. How many faults
//! were found fails nothing: that depends on what happened to the machines, and on how long they ran; a test
//! holds it over seeds (`dry_run`).

#[cfg(test)]
mod dry_run;
mod feed;
mod fleet;
mod observer;
mod run;
mod screen;
mod setup;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    io::{IsTerminal, Write as _},
    path::PathBuf,
};

use clap::{Args, builder::RangedU64ValueParser};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{screen::Style, setup::Setup};
use super::{Exit, Outcome, settings};
use crate::config::Overrides;

/// Arguments of `dunlin demo`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct DemoArgs {
    /// How long the machines publish, seconds; with --fleet at least
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=86_400))]
    pub seconds: u64,
    /// Publishes a second, all machines together; 0 for as fast as it goes
    #[arg(long, value_name = "R", default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Simulated machines
    #[arg(long, value_name = "M", default_value_t = 6,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000))]
    pub machines: u32,
    /// Show a fleet of so many devices instead: they learn together at a centre, one of two builders is killed,
    /// and the best model is released to all
    #[arg(long, value_name = "N", conflicts_with = "machines",
          value_parser = RangedU64ValueParser::<u32>::new().range(2..=10))]
    pub fleet: Option<u32>,
    /// A new or empty directory for buffer and database, kept; otherwise a temporary one
    #[arg(long, value_name = "D")]
    pub dir: Option<PathBuf>,
    /// Nothing on standard output but one line of JSON at the end
    #[arg(long)]
    pub json: bool,
    /// The machines and the split follow from it
    #[arg(long, value_name = "S", default_value_t = 1,
          value_parser = RangedU64ValueParser::<u64>::new().range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Every so many publishes one is broken on purpose; 0 for none
    #[arg(long, value_name = "N", default_value_t = 500, hide = true)]
    pub bad_every: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.0..=1e6).contains(rate))
        .ok_or_else(|| "write a number from 0 to 1000000".into())
}

/// Plays the demo; the first SIGINT or SIGTERM ends it early and in good order, the second at once.
///
/// # Errors
/// [`Exit`]; [`Exit::Failed`] also if a record is not accounted for.
pub async fn run(args: DemoArgs) -> Outcome {
    let failed = |error: std::io::Error| Exit::Failed(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let signals = async {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.send_replace(true) {
                break;
            }
        }
    };
    tokio::select! {
        end = show(&args, stopped) => end,
        () = signals => Err(Exit::Failed("stopped at once".into())),
    }
}

async fn show(args: &DemoArgs, stopped: watch::Receiver<bool>) -> Outcome {
    if let Some(devices) = args.fleet {
        return fleet::show(args, devices, stopped).await;
    }
    let style = if args.json {
        Style::Silent
    } else if std::io::stdout().is_terminal() {
        Style::Live
    } else {
        Style::Lines
    };
    let setup = Setup::new(args)?;
    let settings = settings(Some(&setup.config_path()), &Overrides::default())?;
    let tally = run::run(args, &setup, settings, style, stopped).await?;
    let text = if args.json {
        tally.json()
    } else {
        screen::summary(&tally, &setup)
    };
    let printed = writeln!(std::io::stdout(), "{text}");
    if let Some(imbalance) = tally.imbalance() {
        return Err(Exit::Failed(imbalance));
    }
    printed.map_err(|error| Exit::Failed(format!("standard output: {error}")))
}
