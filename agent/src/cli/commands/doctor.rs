//! `dunlin doctor`: what is in the agent's way on this device.

use std::fmt::Write as _;

use clap::Args;

use super::{Exit, Outcome, connection::ConnectionArgs};
use crate::{
    base::{owner, text},
    config,
    doctor::{self, Finding, Level, Patient, Roots},
};

/// Arguments of `dunlin doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// As a JSON list
    #[arg(long)]
    pub json: bool,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Looks, and prints what it found.
///
/// # Errors
/// [`Exit::Usage`] with every mistake in the configuration; [`Exit::Found`] if the agent could not do
/// its work like this.
pub async fn run(args: DoctorArgs) -> Outcome {
    let file = args.connection.config.as_deref();
    let checked = config::check(file, &args.connection.overrides);
    let settings = checked.settings?;
    owner::take_on(&settings.data_dir).map_err(Exit::Usage)?;
    let found = doctor::examine(&Patient {
        settings: &settings,
        file,
        warnings: &checked.warnings,
        roots: Roots::default(),
    })
    .await;
    let shown = if args.json {
        let text = serde_json::to_string(&found);
        text.map_err(|error| Exit::Failed(error.to_string()))? + "\n"
    } else {
        text(&found)
    };
    print!("{shown}");
    let problems = found.iter().filter(|f| f.level == Level::Problem).count();
    if problems > 0 {
        let problems = text::of(problems as u64, "problem");
        return Err(Exit::Found(format!("{problems} found")));
    }
    Ok(())
}

/// A line a finding, and one for what to do about it.
fn text(found: &[Finding]) -> String {
    let mut lines = String::new();
    for finding in found {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        // Writing to a String cannot fail. What others have said may hold anything.
        let what = text::printable(&finding.what);
        let _ok = writeln!(lines, "{level:<8} {:<13} {what}", finding.about);
        if !finding.advice.is_empty() {
            let _ok = writeln!(lines, "{:22} -> {}", "", text::printable(&finding.advice));
        }
    }
    lines
}
