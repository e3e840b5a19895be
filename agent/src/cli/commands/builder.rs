//! `dunlin builder`: does jobs of a centre on this machine.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{Exit, Outcome, centre::CentreArgs};
use crate::{
    app::logging,
    base::{host, text},
    config::settings::{LogFormat, LogSettings},
    jobs::builder::{self, BuilderOptions},
};

/// Disk for the records of a job unless said otherwise, MiB.
const MIB_MAX: u64 = 4096;

/// Arguments of `dunlin builder`.
#[derive(Args, Debug)]
pub struct BuilderArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// Its name, for people; this machine's unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What it is and has: it takes jobs all of whose labels are among these
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// A directory of its own, for what a job needs while it is under way
    #[arg(long, value_name = "DIR", default_value = "dunlin-builder")]
    work_dir: PathBuf,
    /// Most disk that the records of a job may take, MiB
    #[arg(long, value_name = "N", default_value_t = MIB_MAX, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    disk_mib_max: u64,
    /// End when there is nothing to do
    #[arg(long)]
    once: bool,
}

/// A label as it is written.
///
/// # Errors
/// A text for people.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is no label; write gpu=no"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Pulls jobs until SIGINT or SIGTERM, or there are none; what is under way then is given back.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: BuilderArgs) -> Outcome {
    let log = LogSettings {
        filter: "info".into(),
        format: LogFormat::Text,
    };
    logging::init(&log).map_err(|error| Exit::Failed(error.to_string()))?;
    let centre = args.centre.connect()?;
    let _ours = builder::take_work_dir(&args.work_dir).map_err(Exit::Usage)?;
    let options = BuilderOptions {
        name: args.name.unwrap_or_else(name),
        labels: args.labels.into_iter().collect::<BTreeMap<_, _>>(),
        work_dir: args.work_dir,
        bytes_max: args.disk_mib_max << 20,
        is_once: args.once,
    };
    let failed = |error: std::io::Error| Exit::Failed(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // There may be nobody left to hear of it.
        let _nobody = stop.send(true);
    });
    eprintln!(
        "takes jobs from {} as {:?}",
        centre.location(),
        options.name
    );
    let done = builder::run(&centre, &options, stopped).await?;
    eprintln!(
        "{} done, {} failed, {} lost",
        text::of(done.done, "job"),
        done.failed,
        done.lost
    );
    if done.failed > 0 {
        return Err(Exit::Found(format!(
            "{} failed; `dunlin jobs list` says which",
            text::of(done.failed, "job")
        )));
    }
    Ok(())
}

/// This machine and process.
fn name() -> String {
    let host = host::name().unwrap_or_else(|| "a builder".into());
    format!("{host}/{}", std::process::id())
}
