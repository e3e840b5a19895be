//! The commands about learning.

use clap::Subcommand;

use super::{Outcome, backtest, builder, cohort, evaluate, fleet, jobs, models, release};

/// The commands about learning.
#[derive(Subcommand, Debug)]
pub enum LearningCommand {
    /// Look at versions of models, choose which one serves, take them out and in
    Models(Box<models::ModelsArgs>),
    /// Look at a data set named by a query: count, show, export
    Cohort(Box<cohort::CohortArgs>),
    /// Train and judge a recipe on every part of the records in turn: mean and spread
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Let a model be tried on the devices of a fleet, and see what became of it
    Release(Box<release::ReleaseArgs>),
    /// See how all devices of a centre are, those in trouble first
    Fleet(Box<fleet::FleetArgs>),
    /// Prove a model on recorded data: train on the beginning of CSV files, judge by the rest
    Backtest(Box<backtest::BacktestArgs>),
    /// Put trainings in line at a centre, look at them, fetch what they have made
    Jobs(Box<jobs::JobsArgs>),
    /// Do jobs of a centre on this machine
    Builder(Box<builder::BuilderArgs>),
}

impl LearningCommand {
    /// Whether it says what goes well, too.
    pub(crate) const fn sets_up_logging(&self) -> bool {
        matches!(self, Self::Builder(_))
    }
}

/// Does what it says.
///
/// # Errors
/// [`super::Exit`]
pub async fn run(command: LearningCommand) -> Outcome {
    match command {
        LearningCommand::Models(args) => models::run(*args).await,
        LearningCommand::Cohort(args) => cohort::run(*args).await,
        LearningCommand::Evaluate(args) => evaluate::run(*args).await,
        LearningCommand::Release(args) => release::run(*args).await,
        LearningCommand::Fleet(args) => fleet::run(*args).await,
        LearningCommand::Backtest(args) => backtest::run(&args),
        LearningCommand::Jobs(args) => jobs::run(*args).await,
        LearningCommand::Builder(args) => builder::run(*args).await,
    }
}
