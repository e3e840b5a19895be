//! The command line.

pub mod commands;

use clap::{Parser, Subcommand};

use crate::{
    app::{logging, memory},
    cli::commands::{
        Exit, Outcome, attempt, check, connection, discover, doctor, export, import, init,
        quarantine, run, session, simulate, status, tap, upload,
    },
    config::settings::{LogFormat, LogSettings},
    features,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  well
  1  it was tried and failed
  2  wrong usage or configuration; trying again will not help
  3  it worked, and found something (status --verify: a gap; doctor: a problem)";

/// Edge agent for continuous machine learning.
///
/// Takes sensor data over MQTT, keeps every acknowledged record through power cuts, uploads to
/// TDengine or SQLite.
#[derive(Parser, Debug)]
#[allow(clippy::doc_markdown)] // clap shows it as it is.
#[command(name = "dunlin", version, long_version = features::long_version(), propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// See it all at work on this machine: broker, machines, agent, database
    #[cfg(feature = "demo")]
    Demo(crate::cli::commands::demo::DemoArgs),
    /// Write a configuration file to start from
    Init(Box<init::InitArgs>),
    /// Listen to a broker and propose a configuration for what comes
    Discover(Box<discover::DiscoverArgs>),
    /// Check a configuration: every mistake, with its place
    Check(Box<connection::ConnectionArgs>),
    /// Show what a payload would become: its rule, streams and rows, and what would be left out
    Try(Box<attempt::TryArgs>),
    /// Show what comes from the broker, as it would be stored; in a session of its own
    Tap(Box<tap::TapArgs>),
    /// Examine this device: what is in the agent's way, and what to do about it
    Doctor(Box<doctor::DoctorArgs>),
    /// Run the agent
    Run(Box<run::RunArgs>),
    /// Tell what the agent is doing, or what it left behind
    Status(Box<status::StatusArgs>),
    /// Send rows to the upstream again that it has lost
    Upload(Box<upload::UploadArgs>),
    /// Write records to a CSV or Parquet file
    Export(Box<export::ExportArgs>),
    /// Take in the records of a CSV file
    Import(Box<import::ImportArgs>),
    /// Look at what could not be decoded or delivered, send it again, delete it
    Quarantine(Box<quarantine::QuarantineArgs>),
    #[cfg(feature = "learning")]
    #[command(flatten)]
    Learning(crate::cli::commands::learning::LearningCommand),
    /// The session that the broker keeps for this device while the agent is away
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Publish the readings of simulated machines
    Simulate(Box<simulate::SimulateArgs>),
}

/// Parses the arguments and runs the command.
///
/// # Errors
/// [`crate::cli::commands::Exit`], with the exit code to end with.
pub fn main() -> Outcome {
    let cli = Cli::parse();
    // Before there is a second thread.
    memory::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed(error.to_string()))?;
    if !cli.command.sets_up_logging() {
        log_warnings()?;
    }
    runtime.block_on(async {
        match cli.command {
            #[cfg(feature = "demo")]
            Command::Demo(args) => crate::cli::commands::demo::run(args).await,
            Command::Init(args) => init::run(&args).await,
            Command::Discover(args) => discover::run(*args).await,
            Command::Check(args) => check::run(&args).await,
            Command::Try(args) => attempt::run(&args),
            Command::Tap(args) => tap::run(*args).await,
            Command::Doctor(args) => doctor::run(*args).await,
            Command::Run(args) => run::run(*args).await,
            Command::Status(args) => status::run(*args).await,
            Command::Upload(args) => upload::run(*args).await,
            Command::Export(args) => export::run(*args).await,
            Command::Import(args) => import::run(*args).await,
            Command::Quarantine(args) => quarantine::run(*args).await,
            #[cfg(feature = "learning")]
            Command::Learning(command) => crate::cli::commands::learning::run(command).await,
            Command::Session(command) => session::run(command).await,
            Command::Simulate(args) => simulate::run(*args).await,
        }
    })
}

impl Command {
    /// Whether it logs as its configuration says.
    const fn sets_up_logging(&self) -> bool {
        match self {
            Self::Run(_) => true,
            #[cfg(feature = "learning")]
            Self::Learning(command) => command.sets_up_logging(),
            #[cfg(feature = "demo")]
            Self::Demo(_) => true,
            _ => false,
        }
    }
}

/// What goes wrong on the way is said; what goes well is not.
fn log_warnings() -> Outcome {
    let settings = LogSettings {
        filter: "warn".into(),
        format: LogFormat::Text,
    };
    logging::init(&settings).map_err(|error| Exit::Failed(error.to_string()))
}

#[cfg(test)]
mod tests;
