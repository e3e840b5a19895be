//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        Exit, Outcome, backtest, check, cohort, demo, evaluate, export, import, init, models,
        quarantine, run, simulate, site, status,
    },
    logging, memory,
    settings::LogSettings,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  well
  1  it was tried and failed
  2  wrong usage or configuration; trying again will not help
  3  it worked, and found something (status --verify: a gap)";

/// Edge agent for continuous machine learning.
///
/// Takes sensor data over MQTT, keeps every acknowledged record through power cuts, uploads to
/// TDengine or SQLite.
#[derive(Parser, Debug)]
#[allow(clippy::doc_markdown)] // clap shows it as it is.
#[command(name = "dunlin", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// See it all at work on this machine: broker, machines, agent, database
    Demo(demo::DemoArgs),
    /// Write a configuration file to start from
    Init(init::InitArgs),
    /// Check a configuration: every mistake, with its place
    Check(Box<site::SiteArgs>),
    /// Run the agent
    Run(Box<run::RunArgs>),
    /// Tell what the agent is doing, or what it left behind
    Status(Box<status::StatusArgs>),
    /// Write records to a CSV or Parquet file
    Export(Box<export::ExportArgs>),
    /// Look at a data set named by a query: count, show, export
    Cohort(Box<cohort::CohortArgs>),
    /// Train and judge a recipe on every part of the records in turn: mean and spread
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Take in the records of a CSV file
    Import(Box<import::ImportArgs>),
    /// Look at what could not be decoded or delivered, send it again, delete it
    Quarantine(Box<quarantine::QuarantineArgs>),
    /// Prove a model on recorded data: train on the beginning of CSV files, judge by the rest
    Backtest(Box<backtest::BacktestArgs>),
    /// Look at versions of models, choose which one serves, take them out and in
    Models(Box<models::ModelsArgs>),
    /// Publish the readings of simulated machines
    Simulate(Box<simulate::SimulateArgs>),
}

/// Parses the arguments and runs the command.
///
/// # Errors
/// [`crate::commands::Exit`], with the exit code to end with.
pub fn main() -> Outcome {
    let cli = Cli::parse();
    // Before there is a second thread.
    memory::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed(error.to_string()))?;
    if !matches!(cli.command, Command::Run(_) | Command::Demo(_)) {
        log_warnings()?;
    }
    runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Init(args) => init::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Run(args) => run::run(*args).await,
            Command::Status(args) => status::run(*args).await,
            Command::Export(args) => export::run(*args).await,
            Command::Cohort(args) => cohort::run(*args).await,
            Command::Evaluate(args) => evaluate::run(*args).await,
            Command::Import(args) => import::run(*args).await,
            Command::Quarantine(args) => quarantine::run(*args).await,
            Command::Backtest(args) => backtest::run(&args),
            Command::Models(args) => models::run(*args).await,
            Command::Simulate(args) => simulate::run(*args).await,
        }
    })
}

/// What goes wrong on the way is said; what goes well is not.
fn log_warnings() -> Outcome {
    let settings = LogSettings {
        filter: "warn".into(),
        json: false,
    };
    logging::init(&settings).map_err(|error| Exit::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_documents_its_exit_codes() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let help = command.render_help().to_string();
        assert!(help.contains("Exit codes:\n  0  well"), "{help}");
    }
}
