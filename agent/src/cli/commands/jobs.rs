//! `dunlin jobs`: what is to be done, is being done and was done at a centre.

mod mine;
mod show;
mod terms;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use dunlin_models::registry::ARTIFACT_BYTES_MAX;
use dunlin_sync::centre::{
    Centre, CentreError, blobs,
    job::{Job, JobId, JobQuery, JobState},
};

use self::{
    mine::MineArgs,
    terms::{TermsArgs, WorkArgs},
};
use super::{Exit, Outcome, centre::CentreArgs};
use crate::jobs::document::{Made, TRAIN};

/// Jobs of a list unless said otherwise.
const LISTED: usize = 50;
/// How often whoever watches looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `dunlin jobs`.
#[derive(Args, Debug)]
pub struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Subcommand, Debug)]
enum JobsCommand {
    /// Put a training in line, for any builder
    Submit(Box<SubmitArgs>),
    /// Put in line which of several models is best on the same records
    Mine(Box<MineArgs>),
    /// List jobs, the newest first
    List(ListArgs),
    /// Show a job, its attempts and its result
    Show(OneArgs),
    /// Tell what becomes of a job until it has ended
    Watch(OneArgs),
    /// Write the model that a job has made to a safetensors file
    Fetch(FetchArgs),
    /// Let nobody do a job any more
    Cancel(OneArgs),
    /// Open a job again that has failed or was cancelled
    Retry(OneArgs),
}

#[derive(Args, Debug)]
struct SubmitArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// A model to start from, as `dunlin models export` or `dunlin jobs fetch` has written it
    #[arg(long, value_name = "FILE")]
    start_from: Option<PathBuf>,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// Only those in this state: open, running, done, failed, cancelled
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<JobState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    most: usize,
    /// As one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct OneArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// The job: 32 hexadecimal digits, as `dunlin jobs list` shows them
    #[arg(value_name = "JOB", value_parser = id)]
    job: JobId,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct FetchArgs {
    #[command(flatten)]
    one: OneArgs,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn state(text: &str) -> Result<JobState, String> {
    text.parse().map_err(words)
}

/// A job as it is written.
fn id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(words)
}

/// What was refused here, not by a centre.
fn words(error: CentreError) -> String {
    let (CentreError::Refused(words) | CentreError::Unavailable(words)) = error;
    words
}

/// Does what was asked.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: JobsArgs) -> Outcome {
    match args.command {
        JobsCommand::Submit(args) => submit(*args).await,
        JobsCommand::Mine(args) => mine::run(*args).await,
        JobsCommand::List(args) => list(args).await,
        JobsCommand::Show(args) => {
            let job = found(&*args.centre.connect()?, args.job).await?;
            show::one(&job, args.json)
        }
        JobsCommand::Watch(args) => watch(args).await,
        JobsCommand::Fetch(args) => fetch(args).await,
        JobsCommand::Cancel(args) => {
            let centre = args.centre.connect()?;
            let is_cancelled = centre.cancel(args.job).await?;
            changed(&*centre, &args, is_cancelled).await
        }
        JobsCommand::Retry(args) => {
            let centre = args.centre.connect()?;
            let is_open = centre.retry(args.job).await?;
            changed(&*centre, &args, is_open).await
        }
    }
}

async fn submit(args: SubmitArgs) -> Outcome {
    let (centre, mut train) = args.work.read()?;
    if let Some(path) = &args.start_from {
        // One that is too long, or no file, is said before anything is sent.
        super::models::read_model(path)?;
        let hash = blobs::put(&*centre, path, None).await;
        train.parent = Some(
            hash.map_err(|error| Exit::Failed(error.to_string()))?
                .to_string(),
        );
    }
    let document = train.to_bytes().map_err(Exit::Failed)?;
    args.terms.submit(&*centre, TRAIN, document).await
}

async fn list(args: ListArgs) -> Outcome {
    let centre = args.centre.connect()?;
    let query = JobQuery {
        state: args.state,
        kind: None,
        most: args.most,
    };
    show::list(&centre.jobs(&query).await?, args.json)
}

async fn found(centre: &dyn Centre, job: JobId) -> Result<Job, Exit> {
    let found = centre.job(job).await?;
    found.ok_or_else(|| Exit::Usage(format!("{} knows no job {job}", centre.location())))
}

/// Says what a job is now that somebody wanted it changed.
async fn changed(centre: &dyn Centre, args: &OneArgs, is_so: bool) -> Outcome {
    let job = found(centre, args.job).await?;
    if args.json {
        show::one(&job, true)?;
    } else {
        println!("{} is {}", job.id, job.state.as_str());
    }
    if is_so {
        return Ok(());
    }
    Err(Exit::Found(format!(
        "it is {}, which stays as it is",
        job.state.as_str()
    )))
}

/// Looks now and then; a centre that is away is waited for.
async fn watch(args: OneArgs) -> Outcome {
    let centre = args.centre.connect()?;
    let mut told = String::new();
    loop {
        match found(&*centre, args.job).await {
            Ok(job) => {
                let line = show::progress(&job, args.json)?;
                if line != told {
                    println!("{line}");
                    told = line;
                }
                match job.state {
                    JobState::Open | JobState::Running => {}
                    JobState::Done => return Ok(()),
                    JobState::Failed | JobState::Cancelled => {
                        let reason = job.reason.unwrap_or_default();
                        return Err(Exit::Found(format!("{}: {reason}", job.state.as_str())));
                    }
                }
            }
            Err(Exit::Failed(error)) => eprintln!("{error}"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn fetch(args: FetchArgs) -> Outcome {
    let centre = args.one.centre.connect()?;
    let job = found(&*centre, args.one.job).await?;
    let Some(result) = &job.result else {
        return Err(Exit::Found(format!(
            "{} is {}, and has no result",
            job.id,
            job.state.as_str()
        )));
    };
    let made = Made::read(&job.kind, result).map_err(Exit::Failed)?;
    let hash = made.model.parse()?;
    let fetched = blobs::fetch(&*centre, hash, &args.output, ARTIFACT_BYTES_MAX, None).await;
    fetched.map_err(|error| Exit::Failed(error.to_string()))?;
    if args.one.json {
        return show::one(&job, true);
    }
    let size = crate::base::text::bytes(made.model_bytes as f64);
    println!(
        "{size} to {}; on a device: `dunlin models import {:?} STREAM {}`",
        args.output.display(),
        made.recipe,
        args.output.display()
    );
    Ok(())
}
