//! The duty of a device in a fleet: to follow releases.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::timeout,
};

use super::{AgentError, Working};
use crate::{
    base::wall::wall_ns,
    centre::{self, CentreOptions},
    fleet::{Follower, FollowerParts},
    observe::status::View,
};

const FOLLOWER: &str = "the follower of releases";

/// It, as long as it is not dropped.
pub(super) struct Following {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Following {
    /// Starts it, if anything is to be followed. The centre need not be there.
    pub(super) fn start(view: &Arc<View>) -> Result<Option<Self>, AgentError> {
        let settings = view.settings();
        let Some(url) = settings
            .fleet
            .centre
            .as_ref()
            .filter(|_| settings.fleet.follows())
        else {
            return Ok(None);
        };
        let options = CentreOptions {
            url: url.reveal().to_owned(),
            password_file: settings.fleet.password_file.clone(),
            ca_file: settings.fleet.ca_file.clone(),
        };
        let failed = |why: String| AgentError::Worker {
            worker: FOLLOWER,
            why,
        };
        let centre = centre::connect(&options).map_err(|error| failed(error.to_string()))?;
        let follower = Follower::open(FollowerParts {
            centre,
            settings: settings.fleet.clone(),
            device: settings.device.clone(),
            data_dir: settings.data_dir.clone(),
            disk_free_bytes_min: settings.buffer.disk_free_bytes_min,
            released: Arc::clone(&view.released),
            wall_ns,
            seed: rand::random(),
        });
        let (stop, stopped) = watch::channel(false);
        let working = Working::new(view, FOLLOWER);
        let task = tokio::spawn(async move {
            let _working = working;
            follower.run(stopped).await;
        });
        Ok(Some(Self { stop, task }))
    }

    pub(super) async fn failed(&mut self) -> AgentError {
        let end: Result<(), JoinError> = (&mut self.task).await;
        AgentError::Worker {
            worker: FOLLOWER,
            why: end.map_or_else(|error| error.to_string(), |()| "it ended".to_owned()),
        }
    }

    /// Ends it; what it was at is done again at the next start.
    pub(super) async fn stop(self, most: Duration) {
        self.stop.send_replace(true);
        if timeout(most, self.task).await.is_err() {
            tracing::warn!(
                "following releases does not come to an end; what it was at is done again"
            );
        }
    }
}
