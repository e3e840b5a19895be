//! `dunlin jobs mine`: which of several models is best.

use clap::{Args, ValueEnum};
use dunlin_sync::centre::job::JobId;

use super::{
    id,
    terms::{TermsArgs, WorkArgs},
};
use crate::{
    cli::commands::{Exit, Outcome},
    jobs::{
        candidates::{self, FindError, Wanted},
        document::mine::{CANDIDATES_MAX, MINE, MineJob, Then},
    },
};

#[derive(Args, Debug)]
pub(super) struct MineArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// So many models of the recipe, those with the least error when they were trained
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=CANDIDATES_MAX as u64))]
    best: u64,
    /// The models of these trainings instead
    #[arg(value_name = "JOB", value_parser = id, conflicts_with = "best", num_args = 0..=CANDIDATES_MAX)]
    jobs: Vec<JobId>,
    /// What is done with the best one
    #[arg(long, value_name = "WHAT")]
    then: Option<ThenArg>,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ThenArg {
    /// A job trains it further, on the records of this one
    Continue,
}

impl From<FindError> for Exit {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Centre(error) => error.into(),
            FindError::Asked(what) => Self::Usage(what),
        }
    }
}

/// Names the candidates, and puts the job in line.
///
/// # Errors
/// [`Exit`]
pub(super) async fn run(args: MineArgs) -> Outcome {
    let (centre, train) = args.work.read()?;
    let wanted = match &args.jobs[..] {
        [] => Wanted::Best(args.best as usize),
        jobs => Wanted::Of(jobs.to_vec()),
    };
    let candidates = candidates::find(&*centre, &train, &wanted).await?;
    let then = args
        .then
        .map(|ThenArg::Continue| Then::Continue(args.terms.limits()));
    let job = MineJob::new(train, candidates, then).map_err(Exit::Usage)?;
    let document = job.to_bytes().map_err(Exit::Failed)?;
    args.terms.submit(&*centre, MINE, document).await
}
