//! How a broker wants to be spoken to, found out by trying.
//!
//! Promises: a broker that cannot be reached (refused, no name, no way) tells nothing about versions.
//! One that names the version in its refusal is believed. One that hangs up, stays silent or answers
//! with noise may only be starting: 3.1.1 is spoken to it only once it has let us in with that and has
//! turned MQTT 5 away again afterwards. What was found before and fails is doubted in turn.
//!
//! The connections made on the way use the client id of the agent, since an access list may know
//! no other, and keep its session.

use std::time::Duration;

use tokio::time::timeout;

use super::{Link, LinkOptions, LinkProblem, connack::Refusal};
use crate::config::settings::MqttVersion;

/// Bound on leaving a broker that has only been asked.
const PART_MAX: Duration = Duration::from_secs(2);

impl LinkOptions {
    /// As [`LinkOptions::connect`], in whatever version, with or without a retained last will, the
    /// broker takes; `version` and `retains` say so afterwards. `v5_anew`: MQTT 5 first, whatever was
    /// found before. Certificates and the password are as their files are now.
    ///
    /// # Errors
    /// [`LinkProblem`] that says most; `version` is as before then.
    pub async fn approach(&mut self, v5_anew: bool) -> Result<Link, LinkProblem> {
        let before = self.version;
        if let Some(password) = &mut self.password {
            password.current();
        }
        let link = if self.any_version {
            self.in_any_version(v5_anew).await
        } else {
            self.in_version(before).await
        };
        if link.is_err() {
            self.version = before;
        }
        link
    }

    /// Has the broker forget the session of this client id, and whatever waits in it.
    ///
    /// # Errors
    /// As [`LinkOptions::approach`].
    pub async fn end_session(&self) -> Result<(), LinkProblem> {
        let mut options = Self {
            clean_start: true,
            session_expiry_s: 0,
            last_will: None,
            ..self.clone()
        };
        let mut link = options.approach(false).await?;
        // A session that began clean ends with its connection, however that ends.
        let _parted = timeout(PART_MAX, link.part()).await;
        Ok(())
    }

    async fn in_any_version(&mut self, v5_anew: bool) -> Result<Link, LinkProblem> {
        let known = self.version;
        let first = if v5_anew { MqttVersion::V5 } else { known };
        let problem = match self.in_version(first).await {
            Err(problem) if problem.may_be_the_version() => problem,
            end => return end,
        };
        if first == MqttVersion::V311 {
            // Another broker may have taken its place.
            return self.in_version(MqttVersion::V5).await.map_err(|_| problem);
        }
        if known == MqttVersion::V5 && !problem.is_the_version() {
            let mut asked = match self.in_version(MqttVersion::V311).await {
                Ok(asked) => asked,
                Err(other) => return Err(clearer(problem, other)),
            };
            // It is up; how it takes our leaving does not matter.
            let _parted = timeout(PART_MAX, asked.part()).await;
            match self.in_version(MqttVersion::V5).await {
                Err(problem) if problem.may_be_the_version() => {}
                end => return end,
            }
        }
        let link = self.in_version(MqttVersion::V311).await;
        link.map_err(|other| clearer(problem, other))
    }

    async fn in_version(&mut self, version: MqttVersion) -> Result<Link, LinkProblem> {
        self.version = version;
        let mut link = self.connect().await;
        if self.retains && matches!(link, Err(LinkProblem::Refused(Refusal::NoRetain))) {
            self.retains = false;
            link = self.connect().await;
        }
        // With 3.1.1 nobody says.
        if let (Ok(link), MqttVersion::V5) = (&link, version) {
            self.retains = !link.connack.retain_unavailable;
        }
        link
    }
}

/// What a broker says in words beats how it turns away what it does not understand.
fn clearer(problem: LinkProblem, other: LinkProblem) -> LinkProblem {
    match other {
        LinkProblem::Refused(_) if !problem.is_the_version() => other,
        _ => problem,
    }
}

impl LinkProblem {
    /// The broker names the version as what it does not take.
    pub const fn is_the_version(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Version))
    }

    /// A broker that does not know the version might do this.
    const fn may_be_the_version(&self) -> bool {
        self.is_the_version()
            || matches!(
                self,
                Self::HungUp(_) | Self::Unanswered(..) | Self::Protocol(_)
            )
    }
}

#[cfg(test)]
mod tests;
