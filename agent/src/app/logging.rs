//! Log lines on standard error: text for people, JSON for collectors.

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::MakeWriter,
    layer::{Context, Layered, SubscriberExt},
    registry::Registry,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    base::log_filter::{LogError, env_filter},
    config::settings::{LogFormat, LogSettings},
};

/// What all lines go through on their way to the filter.
type Formatted = Layered<Box<dyn Layer<Registry> + Send + Sync>, Registry>;

/// The filter of this process, once logging has started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Formatted>> = OnceLock::new();

/// Logs by another filter from now on; before [`init`] there is nothing to change.
///
/// # Errors
/// `LogError` if the filter cannot be read.
pub fn set_filter(filter: &str) -> Result<(), LogError> {
    let filter = env_filter(filter)?;
    if let Some(handle) = FILTER.get() {
        // Fails only if the subscriber is gone, and then nobody logs.
        let _gone = handle.reload(filter);
    }
    Ok(())
}

/// Starts logging for the whole process.
///
/// # Errors
/// `LogError` if the filter cannot be read or logging has started already.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = io::stderr().is_terminal() && !no_color;
    let (subscriber, handle) = subscriber(settings, ansi, io::stderr)?;
    subscriber.try_init().map_err(|_| LogError {
        message: "logging has started already".into(),
        hint: "start it once for each process".into(),
    })?;
    // Logging starts once, so this is the only handle.
    let _first = FILTER.set(handle);
    Ok(())
}

fn subscriber<W>(
    settings: &LogSettings,
    ansi: bool,
    writer: W,
) -> Result<
    (
        impl Subscriber + Send + Sync + use<W>,
        reload::Handle<EnvFilter, Formatted>,
    ),
    LogError,
>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if settings.format == LogFormat::Json {
        layer.json().flatten_event(true).with_ansi(false).boxed()
    } else {
        layer.with_ansi(ansi).boxed()
    };
    let (filter, handle) = reload::Layer::new(env_filter(&settings.filter)?);
    let subscriber = tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .with(NoFalseAlarms);
    Ok((subscriber, handle))
}

/// Lets all pass but what the `TDengine` connector calls an error and is none: an answer that reports
/// success, come too late for whoever asked, who has said so and asks again.
struct NoFalseAlarms;

/// How such a line begins; after it comes the answer.
const FALSE_ALARM: &str = "send data with error: Ok(";

impl<S: Subscriber> Layer<S> for NoFalseAlarms {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let target = event.metadata().target();
        // What comes by way of the `log` crate names its own target in a field.
        if target != "log" && !is_connector(target) {
            return true;
        }
        let mut said = Said {
            is_connector: is_connector(target),
            is_false_alarm: false,
        };
        event.record(&mut said);
        !(said.is_connector && said.is_false_alarm)
    }
}

fn is_connector(target: &str) -> bool {
    target == "taos_ws" || target.starts_with("taos_ws::")
}

/// Who said what.
struct Said {
    is_connector: bool,
    is_false_alarm: bool,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "log.target" => self.is_connector = is_connector(value),
            "message" => self.is_false_alarm = value.starts_with(FALSE_ALARM),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.is_false_alarm = format!("{value:?}").starts_with(FALSE_ALARM);
        }
    }
}

#[cfg(test)]
mod tests;
