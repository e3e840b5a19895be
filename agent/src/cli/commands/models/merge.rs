//! `dunlin models merge`: one model of those of many devices, from their files alone.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use dunlin_models::{
    artifact::Artifact,
    recipe::{MergeError, Model, Recipe},
};
use serde::Serialize;

use super::file::read_model;
use crate::{
    base::{owner, text},
    cli::commands::{Exit, Outcome, export::beside, print_json},
    config::settings::RecipeRule,
    jobs::document::TrainJob,
};

/// Most bytes of all models together, which are in memory at once.
const MODELS_BYTES_MAX: usize = 512 << 20;

/// Arguments of `dunlin models merge`.
#[derive(Args, Debug)]
pub(super) struct MergeArgs {
    /// Files written by `dunlin models export` or `dunlin jobs fetch`, of one closed form: `ridge`,
    /// `ridge_nlinear`, `pca`, or `rocket` where all were fine-tuned from one
    #[arg(value_name = "FILE", required = true)]
    models: Vec<PathBuf>,
    /// Configuration file that holds the recipe
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Name of a [[recipe]] in it
    #[arg(long, value_name = "NAME")]
    recipe: String,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How much each model counts, in the order of the files: 2 as if its records were there twice; all
    /// the same unless given
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    weights: Option<Vec<f64>>,
    /// Tell what was written as one JSON object
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    models: usize,
    /// What the model was made of, each window by the weight of its model.
    windows: f64,
    bytes: usize,
    output: PathBuf,
}

/// Writes the model that the others make together; a file appears only when it is whole.
///
/// # Errors
/// [`Exit`]
pub(super) fn run(args: &MergeArgs) -> Outcome {
    let written = merge(args)?;
    if args.json {
        return print_json(&written);
    }
    println!(
        "{} with {}, {} to {}; on a device: `dunlin models import {:?} STREAM {}`",
        text::of(written.models as u64, "model"),
        text::of(written.windows.round() as u64, "window"),
        text::bytes(written.bytes as f64),
        args.output.display(),
        args.recipe,
        args.output.display()
    );
    Ok(())
}

fn merge(args: &MergeArgs) -> Result<Written, Exit> {
    let rule = rule(&args.config, &args.recipe)?;
    let recipe = rule.recipe.build().map_err(Exit::Usage)?;
    let mut room = MODELS_BYTES_MAX;
    let models = args.models.iter();
    let models: Vec<Box<dyn Model>> = models
        .map(|path| load(&*recipe, &rule.features, path, &mut room))
        .collect::<Result<_, _>>()?;
    let models: Vec<&dyn Model> = models.iter().map(|model| &**model).collect();
    let equal = vec![1.0; models.len()];
    let weights = args.weights.as_ref().unwrap_or(&equal);
    let merged = recipe.merge(&models, weights);
    let merged = merged.map_err(|error| refused(&error, &args.models))?;
    let bytes = merged.model.save().to_bytes();
    let bytes = bytes.map_err(|error| Exit::Failed(error.to_string()))?;
    write(&args.output, &bytes)?;
    Ok(Written {
        models: models.len(),
        windows: merged.windows,
        bytes: bytes.len(),
        output: args.output.clone(),
    })
}

/// The recipe in a configuration of which nothing else is used.
fn rule(config: &Path, name: &str) -> Result<RecipeRule, Exit> {
    let text = std::fs::read_to_string(config)
        .map_err(|error| Exit::Usage(format!("{}: {error}", config.display())))?;
    let rule = TrainJob::new(config, &text, name).and_then(|job| job.rule());
    rule.map_err(Exit::Usage)
}

/// `features`: those that the recipe names; if it names none, any will do.
fn load(
    recipe: &dyn Recipe,
    features: &[String],
    path: &Path,
    room: &mut usize,
) -> Result<Box<dyn Model>, Exit> {
    let usage = |what: &dyn std::fmt::Display| Exit::Usage(format!("{}: {what}", path.display()));
    let bytes = read_model(path)?;
    *room = room.checked_sub(bytes.len()).ok_or_else(|| {
        let most = text::bytes(MODELS_BYTES_MAX as f64);
        usage(&format!(
            "the models up to this one take more than {most}; merge some of them, then what that gives"
        ))
    })?;
    let artifact = Artifact::from_bytes(&bytes).map_err(|error| usage(&error))?;
    let theirs = &artifact.features;
    if !features.is_empty() && features != theirs {
        let what = format!("it is for the fields {theirs:?}, and the recipe's are {features:?}");
        return Err(usage(&what));
    }
    recipe.load(&artifact).map_err(|error| usage(&error))
}

/// Which file it was, in place of a number.
fn refused(error: &MergeError, paths: &[PathBuf]) -> Exit {
    match error {
        MergeError::Model { index, what } => {
            let path = paths.get(*index).map(|path| path.display().to_string());
            Exit::Usage(format!("{}: {what}", path.unwrap_or_default()))
        }
        MergeError::NoSums | MergeError::Weights(_) | MergeError::Solve(_) => {
            Exit::Usage(error.to_string())
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Exit> {
    let failed = |error: std::io::Error| Exit::Failed(format!("{}: {error}", path.display()));
    let mut file = beside(path, ".dunlin-merge-").map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    owner::as_caller(|| std::fs::rename(file.path(), path)).map_err(failed)
}

#[cfg(test)]
mod tests;
