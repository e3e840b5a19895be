//! The devices of the fleet: an agent each, on a configuration file like any other.

use std::sync::Arc;

use futures_util::future::{join_all, select_all};

use super::{Views, program::Program};
use crate::{
    app::{Agent, AgentError, logging},
    cli::commands::{
        Exit,
        demo::{
            DemoArgs, run,
            setup::{self, DATABASE, RECIPE, STREAM, Setup},
        },
    },
    config::{self, Overrides},
    observe::status::View,
    simulate::broker::LOG_DIRECTIVE,
};

/// Agents that run.
pub(super) struct Devices(Vec<Agent>);

impl Devices {
    /// Starts `count` of them, each with a machine, all with one centre.
    pub(super) async fn start(
        args: &DemoArgs,
        setup: &Setup,
        program: &Program,
        count: u32,
    ) -> Result<Self, Exit> {
        let key = program.keygen().await?;
        let mut agents = Vec::new();
        for number in 1..=count {
            let text = config(args, &setup.broker().url(), number, &key);
            let path = setup.write(&format!("{}/dunlin.toml", name(number)), &text)?;
            let settings = config::load(Some(&path), &Overrides::default())?;
            if agents.is_empty() {
                let begun = logging::init(&settings.log);
                begun.map_err(|error| Exit::Usage(error.to_string()))?;
            }
            agents.push(
                Agent::start(settings)
                    .await
                    .map_err(|error| failed(&error))?,
            );
        }
        Ok(Self(agents))
    }

    pub(super) fn views(&self) -> Vec<Arc<View>> {
        self.0
            .iter()
            .map(|agent| Arc::clone(agent.view()))
            .collect()
    }

    /// Waits until one of them ends by itself.
    pub(super) async fn failed(&mut self) -> AgentError {
        let all = self.0.iter_mut().map(|agent| Box::pin(agent.failed()));
        select_all(all).await.0
    }

    /// Stops them in good order, at the same time.
    pub(super) async fn stop(self) -> Result<(), Exit> {
        let all = self.0.into_iter().map(Agent::stop);
        for stopped in join_all(all).await {
            stopped.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

fn failed(error: &AgentError) -> Exit {
    Exit::Failed(error.to_string())
}

/// Waits until all of them listen.
pub(super) async fn subscribed(views: &Views) -> Result<(), Exit> {
    for view in views {
        run::subscribed(view).await?;
    }
    Ok(())
}

/// The name of a device, from 1.
pub(super) fn name(number: u32) -> String {
    format!("device-{number}")
}

/// What one of them runs on. It makes no models of its own: it waits for what is released.
fn config(args: &DemoArgs, broker: &str, number: u32, key: &str) -> String {
    let centre = format!("../{DATABASE}");
    let device = setup::device(&name(number), broker, &centre);
    let (recipe, seed) = (recipe(), args.seed);
    format!(
        r#"# What `dunlin demo --fleet` ran this device on. Its broker is gone: name yours to go on.
{device}
[http]
listen = ""

[fleet]
centre = "sqlite:{centre}"
follow = "{RECIPE}"
keys = "{key}"
check_s = 1
heartbeat_s = 2

[log]
level = "error,{LOG_DIRECTIVE}"

[[stream]]
name = "{STREAM}"
topic = "plant/line1/machine{number}/vibration"
time = "/time"
time_unit = "ms"
split = {{ method = "random", train = 0.8, seed = {seed} }}

[learn]
scan_ms = 500

{recipe}"#
    )
}

/// The recipe of the devices and of the jobs. Devices make no models of their own.
pub(super) fn recipe() -> String {
    format!(
        r#"[[recipe]]
name = "{RECIPE}"
streams = "{STREAM}*"
algorithm = "autoencoder"
features = ["vibration_mm_s", "peak_mm_s", "temperature_c", "current_a", "rpm"]
lookback = 8
false_alarm_rate = 0.005
epochs_max = {EPOCHS}
patience_epochs = {EPOCHS}
min_start_count = {RECORDS_MIN}
train = false
windows_min = 30
outputs = false
"#
    )
}

/// Records of each device before there is something to learn, or to judge by.
pub(super) const RECORDS_MIN: u64 = 600;
/// Long enough that a builder can be killed before they are over.
const EPOCHS: u32 = 1_200;
