//! What everything that was given says together: what only shows when several settings are looked at.

mod buffer;
mod connection;
mod device;
mod entry;
#[cfg(feature = "learning")]
mod fleet;
mod http;
pub(super) mod inputs;
#[cfg(feature = "learning")]
mod learn;
mod mqtt;
pub(super) mod secrets;
mod stream;
mod tls;
mod upstream;

use std::{path::PathBuf, time::Duration};

use self::inputs::Inputs;
use super::{
    diagnostic::Diagnostics,
    read::{source::Source, values::Values},
    schema::keys,
    settings::{ClockSettings, LogSettings, Settings},
};
use crate::{base::log_filter, features};

/// Between two heartbeats, where there is a centre and nothing else is said.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// All settings, to be used only if no mistake was found.
pub(super) fn settings(inputs: &Inputs<'_>, found: &mut Diagnostics) -> Settings {
    let values = inputs.values;
    let device = device::name(values, found);
    let mqtt = mqtt::settings(inputs, &device, found);
    let streams = stream::rules(inputs, found);
    if let Some(topic) = &mqtt.status_topic {
        let origin = values.origin(&keys::mqtt::STATUS_TOPIC);
        stream::check_status_topic(&streams, topic, &origin, found);
    }
    if !features::LEARNING.is_in {
        refuse_recipes(inputs, found);
        refuse_fleet(inputs.values, found);
    }
    #[cfg(feature = "learning")]
    let learn = learn::settings(inputs, &streams, found);
    Settings {
        data_dir: data_dir(values, found),
        device,
        device_is_host_name: values.maybe(&keys::device::DEVICE).is_none(),
        adopt_identity: false,
        mqtt,
        streams,
        clock: ClockSettings {
            hold: values.get(&keys::clock::HOLD_S),
            step_max: values.get(&keys::clock::STEP_S_MAX),
            confirm: values.get(&keys::clock::CONFIRM_S),
        },
        buffer: buffer::settings(values, found),
        upstream: upstream::settings(inputs, found),
        quarantine_bytes_max: values.get(&keys::quarantine::BYTES_MAX),
        http_listen: http::listen(values, found),
        http_hosts: http::hosts(values, found),
        #[cfg(feature = "learning")]
        fleet: fleet::settings(inputs, &learn.recipes, found),
        #[cfg(feature = "learning")]
        learn,
        heartbeat: heartbeat(values),
        log: log(values, found),
        shutdown_ms_max: values.get(&keys::device::SHUTDOWN_MS_MAX),
        file_sha256: inputs.source.map(Source::sha256),
        stall_max: values.maybe(&keys::device::STALL_S_MAX),
    }
}

/// What a build without learning cannot do is not passed over in silence.
fn refuse_recipes(inputs: &Inputs<'_>, found: &mut Diagnostics) {
    let (Some(source), hint) = (inputs.source, features::LEARNING.hint()) else {
        return;
    };
    for recipe in &inputs.tables.recipes {
        let message = "recipe: there is no learning in this build";
        found.error(&source.origin(recipe.span()), message, hint.clone());
    }
}

fn refuse_fleet(values: &Values, found: &mut Diagnostics) {
    if !values.get(&keys::fleet::FOLLOW).trim().is_empty() {
        let message = "fleet.follow: there is no learning in this build";
        let origin = values.origin(&keys::fleet::FOLLOW);
        found.error(&origin, message, features::LEARNING.hint());
    }
}

/// Whoever has a centre is to be seen there; for all others nothing changes unless they ask for it.
fn heartbeat(values: &Values) -> Option<Duration> {
    let has_centre = values.is_set(&keys::fleet::CENTRE);
    let every = values.maybe(&keys::fleet::HEARTBEAT_S);
    let every = every.or_else(|| has_centre.then_some(HEARTBEAT));
    every.filter(|every| !every.is_zero())
}

/// The data directory alone, for commands that need no more.
pub(super) fn data_dir(values: &Values, found: &mut Diagnostics) -> PathBuf {
    let dir = values.get(&keys::device::DATA_DIR);
    if dir.exists() && !dir.is_dir() {
        found.error(
            &values.origin(&keys::device::DATA_DIR),
            format!("data_dir: {} is no directory", dir.display()),
            "name a directory; it is created if need be",
        );
    }
    dir
}

fn log(values: &Values, found: &mut Diagnostics) -> LogSettings {
    let log = LogSettings {
        filter: values.get(&keys::log::LEVEL),
        format: values.get(&keys::log::FORMAT),
    };
    if let Err(error) = log_filter::check_filter(&log.filter) {
        let message = format!("log.level: {}", error.message);
        found.error(&values.origin(&keys::log::LEVEL), message, error.hint);
    }
    log
}
