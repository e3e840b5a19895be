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
    /// Starts it, if anything is to be followed. The centre need not be there, and nothing waits for it.
    pub(super) fn start(view: &Arc<View>) -> Option<Self> {
        let settings = view.settings();
        let fleet = &settings.fleet;
        if !fleet.follows() {
            view.released.keep_lines(&[]);
            return None;
        }
        view.released.keep_lines(&fleet.follow);
        let url = fleet.centre.as_ref()?;
        let options = CentreOptions {
            url: url.reveal().to_owned(),
            password_file: fleet.password_file.clone(),
            ca_file: fleet.ca_file.clone(),
        };
        let centre = centre::connect(&options).inspect_err(|error| {
            tracing::error!(%error, "releases are not followed; everything else goes on");
        });
        let centre = centre.ok()?;
        let follower = Follower::open(FollowerParts {
            centre,
            settings: fleet.clone(),
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
        Some(Self { stop, task })
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
