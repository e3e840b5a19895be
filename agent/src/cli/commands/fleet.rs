//! `dunlin fleet`: how the devices are that upload to a centre.

mod read;
mod seen;
mod shown;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, Outcome, centre::CentreArgs, print, print_json, release};
use crate::base::{text, wall::wall_ns};

/// Arguments of `dunlin fleet`.
#[derive(Args, Debug)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Subcommand, Debug)]
enum FleetCommand {
    /// List all devices that say how they are (`fleet.heartbeat_s`), those in trouble first
    List(ListArgs),
    /// Show all that a device has said last, of itself and of releases
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// As one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// The device, as `dunlin fleet list` shows it
    #[arg(value_name = "DEVICE")]
    device: String,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Does what was asked.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: FleetArgs) -> Outcome {
    match args.command {
        FleetCommand::List(args) => list(&args).await,
        FleetCommand::Show(args) => show(&args).await,
    }
}

async fn list(args: &ListArgs) -> Outcome {
    let centre = args.centre.connect()?;
    let found = read::all(&*centre, wall_ns()).await?;
    if args.json {
        print_json(&found.devices)?;
    } else {
        print(&shown::table(&found.devices))?;
    }
    if found.is_cut {
        let most = text::count(read::DEVICES_MAX as u64);
        eprintln!("there are more than {most} devices; the others are not shown");
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Outcome {
    let centre = args.centre.connect()?;
    let Some(seen) = read::one(&*centre, &args.device, wall_ns()).await? else {
        return Err(Exit::Usage(format!(
            "{} has no row of a device {:?}; it says how it is in the database it uploads to, if fleet.heartbeat_s is set there, or fleet.centre",
            centre.location(),
            args.device
        )));
    };
    let verdicts = release::verdicts_of(&*centre, &seen.device).await?;
    if args.json {
        return print_json(&json!({ "device": seen, "releases": verdicts }));
    }
    print(&shown::one(&seen, &verdicts))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
