//! Another configuration while the agent runs: what can be changed in place is, what cannot is named
//! and waits for a restart. The session, the buffer and the clock go on as if nothing were.

use std::{sync::mpsc, time::Duration};

use url::Url;

#[cfg(feature = "learning")]
use super::learning::Learning;
use super::{Agent, AgentError, mqtt_filters, tell_held};
use crate::{
    app::logging,
    config::{
        Diagnostic,
        settings::{LogSettings, Secret, Settings},
    },
    record::writer::{Request, RequestContent},
    store::buffer_options,
};

/// Longest wait for the writer, which may be waiting for the disk.
const WRITER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest wait for what is being learnt to make way.
#[cfg(feature = "learning")]
const LEARNING_WAIT_MAX: Duration = Duration::from_mins(1);
/// Mistakes of a refused configuration that are logged.
const MISTAKES_MAX: usize = 20;

impl Agent {
    /// Goes on with `new` from the next publish on; says in the log what has to wait for a restart.
    ///
    /// # Errors
    /// [`AgentError`] if a worker does not make way for its successor: the agent must end.
    pub async fn reload(&mut self, new: Settings) -> Result<(), AgentError> {
        let running = self.view.settings();
        let (settings, kept) = merged(&running, new);
        for what in &kept {
            tracing::warn!("{what} is kept as it was until the agent is restarted");
        }
        if let Err(error) = logging::set_filter(&settings.log.filter) {
            tracing::error!(%error, "the log goes on as before");
        }
        self.view.buffer.set_limits(&buffer_options(&settings));
        let quarantine_bytes_max = settings.quarantine_bytes_max;
        self.view.quarantine.set_bytes_max(quarantine_bytes_max);
        #[cfg(feature = "learning")]
        self.view
            .models
            .set_disk_bytes_max(settings.learn.bytes_max);
        // The writer must know a stream before the broker sends what is for it.
        self.hand_to_writer(settings.clone()).await;
        self.subscriber.subscribe(mqtt_filters(&settings));
        #[cfg(feature = "learning")]
        let learns_anew = settings.learn != running.learn;
        let streams = settings.streams.len();
        let sha256 = settings.file_sha256.clone();
        self.view.configuration.replace(settings, kept);
        #[cfg(feature = "learning")]
        if learns_anew {
            if let Some(learning) = self.learning.take() {
                learning.give_way(LEARNING_WAIT_MAX).await?;
            }
            self.learning = Learning::start(&self.view, &self.requests)?;
        }
        tracing::info!(streams, sha256, "the configuration was read again and runs");
        tell_held(&self.view);
        Ok(())
    }

    /// Notes that another configuration has `mistakes`; the one that runs goes on.
    pub fn refuse_reload(&self, mistakes: &[Diagnostic]) {
        for mistake in mistakes.iter().take(MISTAKES_MAX) {
            tracing::error!("{mistake}");
        }
        let more = mistakes.len().saturating_sub(MISTAKES_MAX);
        tracing::error!(
            mistakes = mistakes.len(),
            unlisted = more,
            "the configuration was read again and is refused; the one before runs on"
        );
        let first = mistakes.first().map(ToString::to_string);
        self.view.configuration.refuse(first.unwrap_or_default());
    }

    async fn hand_to_writer(&self, settings: Settings) {
        let requests = self.requests.clone();
        let handed = tokio::task::spawn_blocking(move || {
            let (reply, taken) = mpsc::channel();
            let content = RequestContent::Settings(Box::new(settings));
            // Gone, it takes nothing more anyhow.
            let _gone = requests.send(Request { content, reply });
            taken.recv_timeout(WRITER_WAIT_MAX).is_ok()
        });
        if !matches!(handed.await, Ok(true)) {
            tracing::warn!("the writer is busy; it takes the new stream rules when it goes on");
        }
    }
}

/// What runs of `new` beside what must stay as it is in `running`, and the names of the latter where
/// they differ.
fn merged(running: &Settings, mut new: Settings) -> (Settings, Vec<String>) {
    let mut kept = Vec::new();
    if new.mqtt.client_id_is_default {
        // Once chosen it lasts, whatever the device is called.
        new.mqtt.client_id.clone_from(&running.mqtt.client_id);
    }
    // New connections take what a password file holds; nothing has to be started anew for it.
    let (mqtt, before) = (&mut new.mqtt, &running.mqtt);
    if mqtt.password_file.is_some() && mqtt.password_file == before.password_file {
        mqtt.password.clone_from(&before.password);
    }
    let (upstream, before) = (&mut new.upstream, &running.upstream);
    if upstream.password_file.is_some()
        && upstream.password_file == before.password_file
        && without_password(&upstream.url) == without_password(&before.url)
    {
        upstream.url.clone_from(&before.url);
    }
    let merged = Settings {
        device: keep("device", &running.device, &new.device, &mut kept),
        data_dir: keep("data_dir", &running.data_dir, &new.data_dir, &mut kept),
        mqtt: keep("[mqtt]", &running.mqtt, &new.mqtt, &mut kept),
        clock: keep("[clock]", &running.clock, &new.clock, &mut kept),
        upstream: keep("[upstream]", &running.upstream, &new.upstream, &mut kept),
        http_listen: keep(
            "http.listen",
            &running.http_listen,
            &new.http_listen,
            &mut kept,
        ),
        http_hosts: keep(
            "http.hosts",
            &running.http_hosts,
            &new.http_hosts,
            &mut kept,
        ),
        stall_max: keep("stall_s_max", &running.stall_max, &new.stall_max, &mut kept),
        log: LogSettings {
            format: keep(
                "log.format",
                &running.log.format,
                &new.log.format,
                &mut kept,
            ),
            filter: new.log.filter,
        },
        buffer: new.buffer,
        streams: new.streams,
        #[cfg(feature = "learning")]
        fleet: keep("[fleet]", &running.fleet, &new.fleet, &mut kept),
        #[cfg(feature = "learning")]
        learn: new.learn,
        heartbeat: keep(
            "fleet.heartbeat_s",
            &running.heartbeat,
            &new.heartbeat,
            &mut kept,
        ),
        quarantine_bytes_max: new.quarantine_bytes_max,
        shutdown_ms_max: new.shutdown_ms_max,
        file_sha256: new.file_sha256,
        adopt_identity: running.adopt_identity,
        device_is_host_name: running.device_is_host_name,
    };
    (merged, kept)
}

fn without_password(url: &Secret) -> Option<Url> {
    let mut url = Url::parse(url.reveal()).ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

fn keep<T: Clone + PartialEq>(name: &str, running: &T, new: &T, kept: &mut Vec<String>) -> T {
    if running != new {
        kept.push(name.to_owned());
    }
    running.clone()
}

#[cfg(test)]
mod tests;
