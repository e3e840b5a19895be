//! `dunlin demo --fleet N`: devices, a centre, builders, and a model that all of them made possible.
//!
//! Promises: those of the demo; the builder that is killed is killed in earnest, in the middle of a training; what
//! the story tells is what the centre was asked; it ends well only if every job has exactly one result and every
//! device has said what became of the release.

mod account;
mod devices;
mod program;
mod story;

use std::{io::Write as _, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use self::{
    account::{Account, Told},
    devices::Devices,
    program::Program,
    story::Story,
};
use super::{
    DemoArgs,
    run::{counted, machines, received, simulation},
    setup::Setup,
};
use crate::{cli::commands::Exit, mqtt::url::BrokerUrl, simulate::SimulateOptions};

/// Fastest that machines publish to a fleet, all together, a second: the embedded broker forgets what its slowest
/// subscriber leaves behind.
const RATE_MAX: f64 = 2_000.0;
/// Slowest of each: the story needs some hundred records of each device before it can go on.
const RATE_OF_EACH_MIN: f64 = 5.0;
/// Longest that machines publish: the story is over long before.
const LENGTH_MAX: Duration = Duration::from_hours(24);

/// Plays the fleet's demo.
///
/// # Errors
/// [`Exit`]; [`Exit::Failed`] also if a record, a job or a device is not accounted for.
pub(super) async fn show(
    args: &DemoArgs,
    devices: u32,
    stopped: watch::Receiver<bool>,
) -> Result<(), Exit> {
    let least = RATE_OF_EACH_MIN * f64::from(devices);
    if !(least..=RATE_MAX).contains(&args.rate) {
        let what = format!("--rate: with --fleet {devices} it is from {least} to {RATE_MAX}");
        return Err(Exit::Usage(what));
    }
    let setup = Setup::open(args)?;
    let account = play(args, &setup, devices, stopped).await?;
    let text = if args.json {
        account.json()
    } else {
        account.words(&setup)
    };
    let printed = writeln!(std::io::stdout(), "{text}");
    if let Some(imbalance) = account.imbalance() {
        return Err(Exit::Failed(imbalance));
    }
    printed.map_err(|error| Exit::Failed(format!("standard output: {error}")))
}

async fn play(
    args: &DemoArgs,
    setup: &Setup,
    count: u32,
    stopped: watch::Receiver<bool>,
) -> Result<Account, Exit> {
    let failed = |error: &dyn std::fmt::Display| Exit::Failed(error.to_string());
    let program = Program::new(setup)?;
    let broker = BrokerUrl::parse(&setup.broker().url_311()).map_err(|error| failed(&error))?;
    let mut devices = Devices::start(args, setup, &program, count).await?;
    let views = devices.views();
    let story = Story {
        program: &program,
        centre: program.centre()?,
        setup,
        args,
        views: &views,
    };
    let options = SimulateOptions {
        // What is wrong with machines is another story.
        fault_gap_s: 0.0,
        streams: count,
        ..simulation(args, broker)
    };

    let performance = async {
        devices::subscribed(&views).await?;
        let started = Instant::now();
        let (end, ended) = watch::channel(false);
        let playing = async {
            let told = tell(&story, started + Duration::from_secs(args.seconds), stopped).await;
            end.send_replace(true);
            told
        };
        let (report, told) = tokio::join!(machines(options, LENGTH_MAX, ended), playing);
        let (report, told) = (report?, told?);
        received(&views, report.acked).await;
        Ok::<_, Exit>((report, told, started))
    };
    let (report, told, started) = tokio::select! {
        played = performance => played?,
        error = devices.failed() => return Err(failed(&error)),
    };
    devices.stop().await?;
    let records = counted(setup, &report, &views, started.elapsed()).await?;
    Ok(Account::new(records, count, told))
}

/// Tells the story, no faster than in the time given; `None` if somebody has stopped it.
async fn tell(
    story: &Story<'_>,
    until: Instant,
    mut stopped: watch::Receiver<bool>,
) -> Result<Option<Told>, Exit> {
    let told = tokio::select! {
        told = story.play() => told?,
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(None),
    };
    tokio::select! {
        () = sleep_until(until) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    Ok(Some(told))
}

/// Everybody who takes part can be looked at from anywhere.
type Views = [Arc<crate::observe::status::View>];
