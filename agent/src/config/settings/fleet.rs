//! Models that are released to this device.

use std::{path::PathBuf, time::Duration};

use minisign_verify::PublicKey;

use super::Secret;

/// Where releases are looked for, and which are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSettings {
    /// The centre's URL, which may hold a password; `None`: there is none.
    pub centre: Option<Secret>,
    /// Holds the centre's password.
    pub password_file: Option<PathBuf>,
    /// Private CA of the centre.
    pub ca_file: Option<PathBuf>,
    /// Recipes for which released models are tried.
    pub follow: Vec<String>,
    /// Whose signatures are believed.
    pub keys: Vec<PublicKey>,
    /// Longest between two looks.
    pub check: Duration,
    /// Bandwidth that fetching may take.
    pub bytes_per_s_max: u64,
}

impl FleetSettings {
    /// Whether anything is followed at all: somebody must sign for it.
    pub fn follows(&self) -> bool {
        self.centre.is_some() && !self.follow.is_empty() && !self.keys.is_empty()
    }
}
