//! The demo itself: agent, machines, drain, in the order of the data.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    DemoArgs,
    observer::{Observer, Phase},
    screen::{Places, Screen, Style},
    setup::{HEALTHY_SHARE, Setup},
    tally::{Flags, Tally, UpstreamRows},
};
use crate::{
    app::Agent,
    cli::commands::Exit,
    config::settings::Settings,
    mqtt::url::BrokerUrl,
    observe::status::View,
    simulate::{self, Lead, Report, SimulateOptions},
};

/// Mean time between the faults of a machine, seconds of its own time.
const FAULT_GAP_S: f64 = 600.0;
/// How long they last, shortest and longest, seconds of its own time.
const FAULT_S: (f64, f64) = (180.0, 480.0);
/// Machines live so much faster: an hour in a minute, so that a short demo sees their load come
/// and go, and some faults.
const SPEED: f64 = 60.0;
/// Publishes the agent may be behind: well within what the embedded broker remembers.
const LEAD_MAX: u64 = 20_000;
/// How long the agent may take to connect, the broker to acknowledge after the machines have stopped, and
/// the agent to receive anything more of what it owes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition without a signal of its own is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Plays until the time is over or `stopped`, drains, and counts.
pub(super) async fn run(
    args: &DemoArgs,
    setup: &Setup,
    settings: Settings,
    style: Style,
    stopped: watch::Receiver<bool>,
) -> Result<Tally, Exit> {
    let failed = |error: &dyn std::fmt::Display| Exit::Failed(error.to_string());
    let broker = BrokerUrl::parse(&setup.broker().url_311()).map_err(|e| failed(&e))?;
    let mut agent = Agent::start(settings).await.map_err(|e| failed(&e))?;
    let view = Arc::clone(agent.view());
    let options = SimulateOptions {
        lead: Some(Lead {
            consumer: Arc::clone(&view.ingest),
            publishes_max: LEAD_MAX,
        }),
        ..simulation(args, broker)
    };
    let length = Duration::from_secs(args.seconds);
    let observer = Observer::new(Arc::clone(&view), Arc::clone(&options.progress), length);
    let places = Places {
        machines: args.machines,
        broker: setup.broker().v5,
        metrics: agent.http_address(),
    };
    let screen = Screen::open(style, observer, places);

    let performance = async {
        subscribed(&view).await?;
        screen.phase(Phase::Running);
        let started = Instant::now();
        let report = machines(options, length, stopped).await?;
        screen.phase(Phase::Draining);
        received(&[Arc::clone(&view)], report.acked).await;
        Ok::<_, Exit>((report, started))
    };
    let (report, started) = tokio::select! {
        played = performance => played?,
        error = agent.failed() => return Err(failed(&error)),
    };
    agent.stop().await.map_err(|e| failed(&e))?;
    let elapsed = started.elapsed();
    screen.close();

    counted(setup, &report, &[view], elapsed).await
}

/// The account, once all agents have stopped: what they say, beside what is in the database.
pub(super) async fn counted(
    setup: &Setup,
    report: &Report,
    views: &[Arc<View>],
    elapsed: Duration,
) -> Result<Tally, Exit> {
    let path = setup.database_path();
    let states = report.states.clone();
    let counted =
        spawn_blocking(move || Ok((UpstreamRows::count(&path)?, Flags::count(&path, &states)?)));
    let counted: rusqlite::Result<_> = counted
        .await
        .map_err(|error| Exit::Failed(error.to_string()))?;
    let (upstream, flags) = counted.map_err(|error| {
        let path = setup.database_path();
        Exit::Failed(format!(
            "cannot count the rows in {}: {error}",
            path.display()
        ))
    })?;
    Ok(Tally::new(report, views, upstream, flags, elapsed))
}

/// What the machines do.
pub(super) fn simulation(args: &DemoArgs, broker: BrokerUrl) -> SimulateOptions {
    SimulateOptions {
        client_id: "dunlin-demo-machines".into(),
        rate: args.rate,
        streams: args.machines,
        seed: args.seed,
        bad_every: args.bad_every,
        fault_gap_s: FAULT_GAP_S,
        healthy_s: HEALTHY_SHARE * args.seconds as f64 * SPEED,
        fault_s: FAULT_S,
        speed: SPEED,
        drain_max: PATIENCE,
        ..SimulateOptions::new(broker)
    }
}

/// Nobody is there to hear what is published before the agent has subscribed.
pub(super) async fn subscribed(view: &View) -> Result<(), Exit> {
    let deadline = Instant::now() + PATIENCE;
    while view.ingest.subscriptions.load(Relaxed) == 0 {
        if Instant::now() > deadline {
            let why = view.ingest.last_error();
            let why = why.unwrap_or_else(|| "no answer".into());
            return Err(Exit::Failed(format!("the agent cannot subscribe: {why}")));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Publishes for `length` or until `stopped`, and waits for the last PUBACK.
pub(super) async fn machines(
    options: SimulateOptions,
    length: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Result<Report, Exit> {
    let failed = |why: &dyn std::fmt::Display| Exit::Failed(format!("simulated machines: {why}"));
    let (stop, told) = watch::channel(false);
    let (ended, end) = oneshot::channel();
    // A thread that nobody waits for if the demo ends at once.
    std::thread::Builder::new()
        .name("machines".into())
        .spawn(move || ended.send(simulate::run(&options, told)))
        .map_err(|error| failed(&error))?;
    let time = async {
        let early = async {
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(length) => {}
            () = early => {}
        }
        stop.send_replace(true);
        pending::<Infallible>().await
    };
    let report = tokio::select! {
        report = end => report,
        never = time => match never {},
    };
    match report {
        Ok(report) => report.map_err(|error| failed(&error)),
        Err(_) => Err(failed(&"they panicked")),
    }
}

/// Waits until the agents have taken in `published`, as long as there is progress.
pub(super) async fn received(views: &[Arc<View>], published: u64) {
    let taken = || -> u64 {
        let taken = views.iter().map(|view| {
            let writer = &view.writer;
            let taken = writer.publishes.load(Relaxed);
            taken.saturating_sub(writer.duplicates.load(Relaxed))
        });
        taken.sum()
    };
    let (mut last, mut since) = (taken(), Instant::now());
    while last < published && since.elapsed() < PATIENCE {
        sleep(LOOK).await;
        let now = taken();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
