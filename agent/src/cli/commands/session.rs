//! `dunlin session`: what the broker keeps while the agent is away.

use clap::Subcommand;

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
};
use crate::{
    config, ingest,
    store::{self, read_identity},
};

/// What to do with it.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Have the broker forget it, with everything that waits in it: for a device that is taken out of
    /// service, or gets another client id
    End(Box<ConnectionArgs>),
}

/// Does it.
///
/// # Errors
/// [`Exit::Usage`] while the agent runs or if the configuration is wrong; [`Exit::Failed`] if the
/// broker cannot be reached or does not let us in.
pub async fn run(command: SessionCommand) -> Outcome {
    let SessionCommand::End(args) = command;
    let overrides = if args.config.is_none() {
        // Which streams there were does not matter, and need not be said again.
        args.overrides.clone().topic("any=#")
    } else {
        args.overrides.clone()
    };
    let checked = config::check(args.config.as_deref(), &overrides);
    let settings = checked.settings?;
    if Connection::open(&args).await?.status().is_some() {
        return Err(Exit::Usage(
            "the agent is running and would begin a new session at once; stop it first".into(),
        ));
    }
    // A copy must not end the session of the device it was made from.
    store::refuse_foreign(&settings.data_dir).map_err(|error| Exit::Usage(error.to_string()))?;
    // The session that is there is that of the last run; without a configuration nobody says which that was.
    let (mut mqtt, data_dir) = (settings.mqtt.clone(), &settings.data_dir);
    let client_ids = match read_identity(data_dir) {
        Some(identity) if args.config.is_none() && mqtt.client_id_is_default => {
            identity.client_ids()
        }
        Some(identity) => vec![identity.client_id_for(&settings).to_owned()],
        None => vec![mqtt.client_id.clone()],
    };
    for client_id in client_ids {
        mqtt.client_id = client_id;
        let ended = ingest::end_session(&mqtt, data_dir).await;
        ended.map_err(Exit::Failed)?;
        println!(
            "MQTT broker {}:{}: keeps nothing for the client id {} any more",
            mqtt.host, mqtt.port, mqtt.client_id
        );
    }
    Ok(())
}
