//! What is left at the broker when the agent stops.

use std::time::Duration;

use tracing::{info, warn};

use super::{HOW_TO_END, session::Session};
use crate::{config::settings::MqttVersion, mqtt::LinkProblem};

impl Session<'_> {
    /// Leaves the broker, with the session kept there or ended, and says which.
    ///
    /// # Errors
    /// [`LinkProblem`] if the connection breaks; what is kept is as before then.
    pub(super) async fn part(&mut self) -> Result<(), LinkProblem> {
        let address = self.ingest.link.address();
        let client_id = self.ingest.link.client_id.clone();
        let version = self.ingest.link.version;
        if self.ingest.keeps_session {
            self.link.part().await?;
            let kept = match (version, self.kept_s) {
                (MqttVersion::V5, 0) => return Ok(()),
                (MqttVersion::V5, kept_s) => format!("for {}", in_words(kept_s)),
                (MqttVersion::V311, _) => "for as long as it is configured to".to_owned(),
            };
            info!(
                "MQTT broker {address}: keeps the session {client_id}, and what is published \
                 meanwhile, {kept} ({HOW_TO_END})"
            );
            return Ok(());
        }
        if self.unacked > 0 {
            self.link.part().await?;
            warn!(
                "MQTT broker {address}: keeps the session {client_id}, for the publishes that are not \
                 acknowledged ({HOW_TO_END})"
            );
            return Ok(());
        }
        self.link.part_for_good(version).await?;
        // With 3.1.1 that ends nothing, and some brokers with MQTT 5 go by how a session began, too.
        self.ingest.link.end_session().await?;
        self.ingest.memory.set_session(None);
        info!(
            "MQTT broker {address}: the session {client_id} has ended with the agent, as there is no \
             configuration file; nothing is kept for it meanwhile (--keep-session would)"
        );
        Ok(())
    }
}

/// In the largest unit of which there are two.
fn in_words(seconds: u32) -> String {
    const UNITS: [(u32, &str); 3] = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let fitting = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    match fitting {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{:?}", Duration::from_secs(seconds.into())),
    }
}

#[cfg(test)]
mod tests;
