//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{Outcome, demo, run};

/// Edge agent for continuous machine learning.
///
/// Takes sensor data over MQTT, keeps every acknowledged record through power cuts, uploads to
/// TDengine or SQLite.
#[derive(Parser, Debug)]
#[command(name = "dunlin", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// See it all at work on this machine: broker, machines, agent, database
    Demo(demo::DemoArgs),
    /// Run the agent
    Run(Box<run::RunArgs>),
}

/// Parses the arguments and runs the command.
///
/// # Errors
/// [`crate::commands::Exit`], with the exit code to end with.
pub fn main() -> Outcome {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| crate::commands::Exit::Failed(error.to_string()))?;
    runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Run(args) => run::run(*args).await,
        }
    })
}
