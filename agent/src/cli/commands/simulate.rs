//! `dunlin simulate`: machines that publish, and what they published as one line of JSON.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use clap::Args;
use dunlin_sync::tls::TlsFiles;
use indicatif::ProgressBar;
use tokio::{sync::watch, time::interval};

use super::{Exit, Outcome, terminal};
use crate::{
    config::settings::MqttVersion,
    mqtt::url::BrokerUrl,
    simulate::{self, SimulateError, SimulateOptions},
};

/// Arguments of `dunlin simulate`.
#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// Where to publish
    #[arg(
        long,
        value_name = "URL",
        help = "Where to publish: mqtt://[user:password@]host[:port], or mqtts:// for TLS"
    )]
    pub broker: String,
    /// Publishes a second, all streams together; 0: as fast as possible
    #[arg(long, value_name = "R", default_value_t = 100.0)]
    pub rate: f64,
    /// Machines, each on a topic of its own
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// Publishes to make; 0: until Ctrl-C
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub count: u64,
    /// Everything random follows from this
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Every so many publishes one is broken on purpose; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub bad_every: u64,
    /// Mean time between the faults of a machine, seconds; 0: no faults
    #[arg(long, value_name = "S", default_value_t = 300.0)]
    pub fault_gap_s: f64,
    /// Speak MQTT 5 instead of 3.1.1
    #[arg(long)]
    pub mqtt_5: bool,
    /// Private CA for mqtts://, PEM
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Client certificate for mqtts://, PEM
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Client key for mqtts://, PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

fn options(args: &SimulateArgs) -> Result<SimulateOptions, Exit> {
    let broker = BrokerUrl::parse(&args.broker);
    let broker = broker.map_err(|error| Exit::Usage(format!("--broker: {error}")))?;
    for (name, value) in [("--rate", args.rate), ("--fault-gap-s", args.fault_gap_s)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Exit::Usage(format!("{name}: write a number from 0 up")));
        }
    }
    let mut options = SimulateOptions::new(broker);
    options.tls = TlsFiles {
        ca_file: args.ca_file.clone(),
        cert_file: args.cert_file.clone(),
        key_file: args.key_file.clone(),
    };
    if args.mqtt_5 {
        options.version = MqttVersion::V5;
    }
    options.rate = args.rate;
    options.streams = args.streams;
    options.count = args.count;
    options.seed = args.seed;
    options.bad_every = args.bad_every;
    options.fault_gap_s = args.fault_gap_s;
    Ok(options)
}

/// Publishes until it is done or Ctrl-C comes, then prints the report.
///
/// # Errors
/// [`Exit`], if the broker cannot be reached at first.
pub async fn run(args: SimulateArgs) -> Outcome {
    let options = options(&args)?;
    let (stop, stopped) = watch::channel(false);
    let bar = bar(options.count);
    let progress = Arc::clone(&options.progress);
    let mut running = tokio::task::spawn_blocking(move || simulate::run(&options, stopped));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut tick = interval(Duration::from_millis(200));
    let mut is_stopping = false;
    let report = loop {
        tokio::select! {
            report = &mut running => break report,
            _ = &mut interrupted, if !is_stopping => {
                is_stopping = true;
                stop.send_replace(true);
            }
            _ = tick.tick() => bar.set_position(progress.acked.load(Relaxed)),
        }
    };
    bar.finish_and_clear();
    let report = report.map_err(|panic| Exit::Failed(panic.to_string()))?;
    let report = report.map_err(|error| match error {
        SimulateError::Tls(error) => Exit::Usage(error.to_string()),
        error @ (SimulateError::Link(_) | SimulateError::Io(_)) => Exit::Failed(error.to_string()),
    })?;
    let line = serde_json::to_string(&report).map_err(|error| Exit::Failed(error.to_string()))?;
    println!("{line}");
    Ok(())
}

fn bar(count: u64) -> ProgressBar {
    if count == 0 {
        let style = terminal::style("{spinner} {pos} published, {per_sec}, {elapsed}");
        return ProgressBar::new_spinner().with_style(style);
    }
    let style = terminal::style("{wide_bar} {pos}/{len} published, {per_sec}, {eta} left");
    ProgressBar::new(count).with_style(style)
}
