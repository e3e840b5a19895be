//! `dunlin check`: every mistake in a configuration, with its place; and what is held otherwise than it says.

use std::sync::Arc;

use dunlin_sync::sample::Schema;

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
};
use crate::{
    admin::{client, operations::Need, protocol::socket_path},
    base::text::printable,
    config::{self, settings::Settings},
    record::held,
    topic::cover,
};

/// Most bytes of the schemas that an agent tells.
const SCHEMAS_BYTES_MAX: usize = 64 << 20;

/// Prints what was understood, or every mistake.
///
/// # Errors
/// [`Exit::Usage`] with all mistakes.
pub async fn run(args: &ConnectionArgs) -> Outcome {
    let (settings, summary, warnings) = check(args)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    println!("{summary}");
    if !settings.data_dir.join("buffer").is_dir() {
        return Ok(());
    }
    match schemas(args).await {
        Ok(schemas) => {
            for line in held::told(&schemas, &settings.streams) {
                println!("{}", printable(&line));
            }
        }
        Err(error) => eprintln!("warning: what is stored already was not looked at: {error}"),
    }
    Ok(())
}

/// What the agent, or its directory where none runs, holds.
async fn schemas(args: &ConnectionArgs) -> Result<Vec<Arc<Schema>>, Exit> {
    let mut connection = Connection::open(args).await?;
    let schemas = if connection.status().is_some() {
        let failed = |error: &dyn std::fmt::Display| Exit::Failed(error.to_string());
        let socket = socket_path(connection.data_dir());
        let reply = client::get(&socket, "/schemas").await;
        let bytes = reply
            .map_err(|e| failed(&e))?
            .bytes(SCHEMAS_BYTES_MAX)
            .await;
        let schemas: Vec<Schema> =
            serde_json::from_slice(&bytes.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        schemas.into_iter().map(Arc::new).collect()
    } else {
        let offline = connection.open_offline(Need::Directory).await?;
        offline.parts().buffer.catalog().schemas().to_vec()
    };
    connection.close().await?;
    Ok(schemas)
}

fn check(args: &ConnectionArgs) -> Result<(Settings, String, Vec<config::Diagnostic>), Exit> {
    let checked = config::check(args.config.as_deref(), &args.overrides);
    match checked.settings {
        Ok(settings) => {
            let summary = summary(&settings)?;
            Ok((settings, summary, checked.warnings))
        }
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
    ) + &requests(settings))
}

/// What is said to edge nodes of Sparkplug B, a line for each stream that does.
fn requests(settings: &Settings) -> String {
    const COMMANDS: &str = "spBv1.0/+/NCMD/+";
    let asking = settings.streams.iter().filter(|rule| rule.rebirth_requests);
    let lines = asking.map(|rule| {
        let comes_back = if cover::overlap(&rule.filter.mqtt_filter(), COMMANDS) {
            "; what others publish there is ignored"
        } else {
            ""
        };
        format!(
            "\nstream {} asks edge nodes for their births: it publishes to {COMMANDS}, which the broker's \
             access list has to allow{comes_back}",
            rule.name
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
