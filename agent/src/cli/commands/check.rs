//! `dunlin check`: every mistake in a configuration, with its place.

use super::{Exit, Outcome, connection::ConnectionArgs};
use crate::config::{self, settings::Settings};

/// Prints what was understood, or every mistake.
///
/// # Errors
/// [`Exit::Usage`] with all mistakes.
pub fn run(args: &ConnectionArgs) -> Outcome {
    let (summary, warnings) = check(args)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    println!("{summary}");
    Ok(())
}

fn check(args: &ConnectionArgs) -> Result<(String, Vec<config::Diagnostic>), Exit> {
    let checked = config::check(args.config.as_deref(), &args.overrides);
    match checked.settings {
        Ok(settings) => Ok((summary(&settings)?, checked.warnings)),
        Err(mistakes) => {
            let mut lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            lines.extend(checked.warnings.iter().map(|w| format!("warning: {w}")));
            let count = match mistakes.len() {
                1 => "1 mistake".to_owned(),
                many => format!("{many} mistakes"),
            };
            Err(Exit::Usage(format!("{count}\n{}", lines.join("\n"))))
        }
    }
}

fn summary(settings: &Settings) -> Result<String, Exit> {
    let upstream = crate::upstream::connect(settings)
        .map_err(|error| Exit::Usage(format!("upstream: {error}")))?;
    let streams: Vec<&str> = settings.streams.iter().map(|s| s.name.as_str()).collect();
    let mqtt = &settings.mqtt;
    let scheme = if mqtt.tls.is_some() { "mqtts" } else { "mqtt" };
    let file = settings.file_sha256.as_ref();
    let file = file.map_or_else(String::new, |hash| {
        format!(", SHA-256 {}", hash.get(..12).unwrap_or(hash))
    });
    Ok(format!(
        "ok: device {}, broker {scheme}://{}:{}, streams {}, upstream {}, data in {}{file}",
        settings.device,
        mqtt.host,
        mqtt.port,
        streams.join(", "),
        upstream.location(),
        settings.data_dir.display()
    ))
}

#[cfg(test)]
mod tests;
