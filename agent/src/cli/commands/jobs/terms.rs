//! What every new job says: its recipe and records; who may do it, how often and how long.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, sync::Arc};

use clap::Args;
use dunlin_sync::centre::{Centre, job::JobId};

use crate::{
    base::wall::wall_ns,
    cli::commands::{Exit, Outcome, builder::label, centre::CentreArgs},
    jobs::document::{TrainJob, mine::Limits},
};

/// With what recipe, on which records.
#[derive(Args, Debug)]
pub(super) struct WorkArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// Configuration file that holds the recipe
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Name of a [[recipe]] in it
    #[arg(long, value_name = "NAME")]
    recipe: String,
    /// Streams at the centre, as a pattern over DEVICE/STREAM; those of the recipe on every device unless given
    #[arg(long, value_name = "PATTERN")]
    streams: Option<String>,
    /// Seed of the training; drawn unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Who may do it, how often and how long.
#[derive(Args, Debug)]
pub(super) struct TermsArgs {
    /// What a builder must have
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How often it is begun at most
    #[arg(long, value_name = "N", default_value = "3")]
    attempts: NonZeroU32,
    /// How long an attempt is safe that is not heard of, seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    lease_s: u64,
    /// How long an attempt may take, seconds
    #[arg(long, value_name = "N", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..=31_622_400))]
    time_s_max: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl WorkArgs {
    /// The centre, and a training from nothing up to now.
    ///
    /// # Errors
    /// [`Exit`]
    pub(super) fn read(self) -> Result<(Arc<dyn Centre>, TrainJob), Exit> {
        let text = std::fs::read_to_string(&self.config)
            .map_err(|error| Exit::Usage(format!("{}: {error}", self.config.display())))?;
        let mut train = TrainJob::new(&self.config, &text, &self.recipe).map_err(Exit::Usage)?;
        let centre = self.centre.connect()?;
        if let Some(streams) = self.streams {
            train.streams = streams;
        }
        train.to_ts = wall_ns();
        train.seed = self.seed.unwrap_or_else(rand::random);
        Ok((centre, train))
    }
}

impl TermsArgs {
    /// How often and how long a job may be tried.
    pub(super) fn limits(&self) -> Limits {
        let lease_ms = self.lease_s * 1000;
        Limits {
            attempts_max: self.attempts,
            lease_ms,
            // An epoch of a slow machine is silent for long.
            stalled_ms_max: (10 * lease_ms).max(3_600_000),
            time_ms_max: self.time_s_max * 1000,
        }
    }

    /// Puts a job in line, and says which.
    ///
    /// # Errors
    /// [`Exit`]
    pub(super) async fn submit(
        self,
        centre: &dyn Centre,
        kind: &str,
        document: Vec<u8>,
    ) -> Outcome {
        let id = JobId(rand::random());
        let labels = self.labels.iter().cloned();
        let labels = labels.collect::<BTreeMap<_, _>>();
        let job = self.limits().job(id, kind, document, labels);
        centre.submit(&job).await?;
        if self.json {
            println!("{}", serde_json::json!({"job": id.to_string()}));
        } else {
            println!("{id}");
        }
        Ok(())
    }
}
