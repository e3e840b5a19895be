//! What the agent runs on, and what became of the last configuration that was read.

use std::sync::{Arc, Mutex, MutexGuard};

use dunlin_sync::lock::unpoisoned;
use serde::{Deserialize, Serialize};

use crate::config::settings::Settings;

/// The configuration of a running agent.
#[derive(Debug)]
pub struct Configuration(Mutex<RunningConfiguration>);

#[derive(Debug)]
struct RunningConfiguration {
    settings: Arc<Settings>,
    status: ConfigurationStatus,
}

/// The same, told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// SHA-256 of the file that runs, in hexadecimal; `None` without a file.
    pub sha256: Option<String>,
    /// How often it was read again since the start.
    pub reloads: u64,
    /// What the file says otherwise and takes a restart.
    pub waits_for_restart: Vec<String>,
    /// Why the last one that was read does not run; the one before does.
    pub refused: Option<String>,
}

impl Configuration {
    /// That of the start.
    pub fn new(settings: Settings) -> Self {
        let status = ConfigurationStatus {
            sha256: settings.file_sha256.clone(),
            ..ConfigurationStatus::default()
        };
        let settings = Arc::new(settings);
        Self(Mutex::new(RunningConfiguration { settings, status }))
    }

    /// What the agent runs on now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().settings)
    }

    /// What there is to tell.
    pub fn status(&self) -> ConfigurationStatus {
        self.lock().status.clone()
    }

    /// Another one runs from now on, except for what waits for a restart.
    pub(crate) fn replace(&self, settings: Settings, waits_for_restart: Vec<String>) {
        let mut held = self.lock();
        held.status = ConfigurationStatus {
            sha256: settings.file_sha256.clone(),
            reloads: held.status.reloads + 1,
            waits_for_restart,
            refused: None,
        };
        held.settings = Arc::new(settings);
    }

    /// Another one has mistakes, and does not run.
    pub(crate) fn refuse(&self, why: String) {
        self.lock().status.refused = Some(why);
    }

    fn lock(&self) -> MutexGuard<'_, RunningConfiguration> {
        unpoisoned(self.0.lock())
    }
}
