//! `dunlin init`: a configuration file to start from.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    Exit, Outcome,
    discover::{self, ListeningArgs},
};
use crate::config;

/// Arguments of `dunlin init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// File to write
    #[arg(value_name = "PATH", default_value = "dunlin.toml")]
    pub path: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Listen to this broker, and write what `dunlin discover` proposes
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    #[command(flatten, next_help_heading = "With --from")]
    listening: ListeningArgs,
}

/// Writes the file; never over another one unless told to.
///
/// # Errors
/// [`Exit::Usage`] if the file is there, [`Exit::Failed`] if it cannot be written; with a broker, those of
/// [`discover::run`].
pub async fn run(args: &InitArgs) -> Outcome {
    if let Some(broker) = &args.from {
        return discover::discover(broker, &args.listening, Some(&args.path), args.force).await;
    }
    write(&args.path, args.force)?;
    let path = args.path.display();
    println!("wrote {path}; edit it, then: dunlin check -c {path} && dunlin run -c {path}");
    Ok(())
}

fn write(path: &Path, force: bool) -> Outcome {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(config::schema::init::render().as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Exit::Usage(format!(
            "{} is there already; name another file, or overwrite it with --force",
            path.display()
        )),
        _ => Exit::Failed(format!("{}: {error}", path.display())),
    })
}

#[cfg(test)]
mod tests;
