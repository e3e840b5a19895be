//! Whose data directory it is: which machine's, which device's, under which MQTT client id.
//!
//! Promises: a directory that another machine has written to is refused before anything in it changes;
//! what a device was called before is remembered, and told when that changes; the client id lasts until
//! the configuration names another.
//!
//! `<data_dir>/state/identity` is a state file around JSON with a format of its own.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use dunlin_sync::{
    files::state_file::{self, StateFileError},
    sample::{Catalog, naming::Devices},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    StoreError,
    hardware::{Hardware, Likeness},
};
use crate::config::settings::{Settings, default_client_id};

const FILE: &str = "identity";
const FORMAT: u32 = 1;

/// What a data directory remembers of its device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    format: u32,
    /// The machine.
    pub hardware: Hardware,
    /// Name of the device at the last start.
    pub device: String,
    /// Name of the device that the directory knew first (see [`dunlin_sync::sample::naming`]).
    pub home: String,
    /// What the device was called before, if it has been renamed.
    pub device_before: Option<String>,
    /// The MQTT client id used last, trials apart.
    pub client_id: String,
    /// That of trials, whose session ends with them: never the one under which a service may be known.
    #[serde(default)]
    pub trial_client_id: Option<String>,
    /// Number of the buffer's directory on its disk: a copy has another.
    #[serde(default)]
    inode: Option<u64>,
}

/// What a start finds of whose directory it is.
pub(crate) struct IdentityFound {
    hardware: Hardware,
    known: Option<Identity>,
    likeness: Likeness,
}

/// Reads what the directory remembers; `None` if it remembers nothing, or, told, nothing that can be read.
pub(crate) fn read(data_dir: &Path) -> Option<Identity> {
    remembered(data_dir).unwrap_or_else(|error| {
        tracing::error!(%error, "the directory takes on the identity of this device anew");
        None
    })
}

fn remembered(data_dir: &Path) -> Result<Option<Identity>, StateFileError> {
    let path = data_dir.join("state").join(FILE);
    let bytes = state_file::read::<Vec<u8>>(&path)?;
    let identity = bytes.map(|bytes| serde_json::from_slice(&bytes));
    identity
        .transpose()
        .map_err(|error| StateFileError::Corrupt {
            path,
            reason: error.to_string(),
        })
}

/// Refuses a directory that another machine has written to. Changes nothing.
///
/// # Errors
/// [`StoreError::OtherMachine`]
pub(crate) fn check(
    data_dir: &Path,
    root: &Path,
    adopt: bool,
) -> Result<IdentityFound, StoreError> {
    let hardware = Hardware::read(root);
    let known = read(data_dir);
    let likeness = known.as_ref().map_or(Likeness::Unknown, |known| {
        hardware.likeness(&known.hardware)
    });
    if likeness == Likeness::Other && !adopt {
        if !hardware.is_container {
            return Err(StoreError::OtherMachine(data_dir.to_owned()));
        }
        tracing::warn!(
            "the data directory was written by another machine, as far as a container can tell: a copy \
             of it must not be used by two agents"
        );
    }
    Ok(IdentityFound {
        hardware,
        known,
        likeness,
    })
}

/// Refuses a directory that another machine has written to, to whoever acts in its device's name.
///
/// # Errors
/// [`StoreError::OtherMachine`]
pub fn refuse_foreign(data_dir: &Path) -> Result<(), StoreError> {
    check(data_dir, Path::new("/"), false).map(drop)
}

impl Identity {
    /// Tells this directory on this machine from all others, without telling what either is; `None` where nothing
    /// is known of them.
    pub(crate) fn instance(&self) -> Option<String> {
        if self.hardware.is_unknown() && self.inode.is_none() {
            return None;
        }
        let known = serde_json::to_vec(&(&self.hardware, self.inode)).ok()?;
        let hash = Sha256::digest(&known);
        let first = hash.first_chunk().map(|first| u64::from_be_bytes(*first))?;
        Some(format!("{first:016x}"))
    }
}

impl IdentityFound {
    /// The identity from now on, and what has changed, told.
    pub(super) fn settle(self, settings: &Settings, catalog: &Catalog, adopt: bool) -> Identity {
        let Self {
            hardware,
            known,
            likeness,
        } = self;
        let here = &settings.device;
        let before = known.unwrap_or_else(|| taken_over(settings, catalog));
        let is_new = before.format == 0;
        if is_new && hardware.is_unknown() {
            tracing::warn!(
                "this machine has no identity that lasts (machine id, board serial, network card): a \
                 copy of the data directory will not be noticed"
            );
        }
        match likeness {
            Likeness::Other if adopt => {
                tracing::warn!("the data directory is this machine's from now on");
            }
            Likeness::Partly if !hardware.is_container => tracing::warn!(
                "the data directory comes from a machine that is like this one, but not the same: if it \
                 was copied, and the other one goes on, give this one an empty data_dir"
            ),
            _ => {}
        }
        let is_renamed = before.device != *here;
        if is_renamed {
            let (before, now) = (&before.device, here);
            tracing::warn!(
                before,
                now,
                "the device has another name: its streams begin anew, and those of the old name stay, with \
                 their models, as NAME#{before}"
            );
            if settings.device_is_host_name {
                tracing::warn!(
                    "`device` is not configured, so the host's name counts: set device = \"{before}\" to \
                     go on with its streams, or device = \"{now}\" so that it stays"
                );
            }
        }
        let wanted = &settings.mqtt.client_id;
        // A copy under a name of its own would push the other device off the broker.
        let buffer = fs::metadata(settings.data_dir.join("buffer"));
        let inode = buffer.ok().map(|buffer| buffer.ino());
        let is_elsewhere = before.inode.is_some() && before.inode != inode;
        let is_copy = is_renamed && (likeness == Likeness::Partly || is_elsewhere);
        let is_trial = is_trial(settings);
        let client_id = if is_trial || settings.mqtt.client_id_is_default && !is_copy {
            &before.client_id
        } else {
            wanted
        };
        let made = || format!("{wanted}-trial-{:08x}", rand::random::<u32>());
        let trial_client_id = match before.trial_client_id {
            None if is_trial => Some(made()),
            known => known,
        };
        // A trial leaves that of the service alone, and has nothing to say of it.
        if !is_trial && *client_id != before.client_id {
            tracing::warn!(
                before = before.client_id,
                now = client_id,
                "another MQTT client id: what the broker still holds for the old one does not arrive"
            );
        } else if !is_trial && client_id != wanted {
            tracing::warn!(
                client_id,
                "the MQTT client id stays what it was, so that the broker's session goes on; mqtt.client_id \
                 changes it"
            );
        }
        Identity {
            format: FORMAT,
            client_id: client_id.clone(),
            trial_client_id,
            inode: if is_trial { before.inode } else { inode },
            hardware: hardware.or(&before.hardware),
            device: here.clone(),
            home: before.home,
            device_before: if is_renamed {
                Some(before.device)
            } else {
                before.device_before
            },
        }
    }
}

/// What is known of a directory that does not remember anything: as far as its streams tell.
fn taken_over(settings: &Settings, catalog: &Catalog) -> Identity {
    let here = &settings.device;
    let mut devices = catalog.streams().map(|stream| stream.device());
    let first = devices.clone().find(|device| !device.is_empty());
    let is_known = devices.any(|device| device == here);
    let mut newest_first = catalog.streams().rev().map(|stream| stream.device());
    let last = newest_first.find(|device| !device.is_empty() && !is_known);
    Identity {
        home: first.unwrap_or(here).to_owned(),
        device: last.unwrap_or(here).to_owned(),
        client_id: match last {
            Some(last) if settings.mqtt.client_id_is_default => default_client_id(last),
            _ => settings.mqtt.client_id.clone(),
        },
        ..Identity::default()
    }
}

/// Whether the session is to end with the agent, and nobody has named it.
fn is_trial(settings: &Settings) -> bool {
    !settings.mqtt.keeps_session && settings.mqtt.client_id_is_default
}

impl Identity {
    /// Whose streams names without a device mean.
    pub fn devices(&self) -> Devices {
        Devices {
            here: self.device.clone(),
            home: self.home.clone(),
        }
    }

    /// The MQTT client id to connect with.
    pub fn client_id_for(&self, settings: &Settings) -> &str {
        let of_trial = self.trial_client_id.as_deref();
        of_trial
            .filter(|_| is_trial(settings))
            .unwrap_or(&self.client_id)
    }

    /// Every client id that was used on this directory: of the service, and of trials.
    pub fn client_ids(&self) -> Vec<String> {
        let of_trial = self.trial_client_id.clone();
        [self.client_id.clone()]
            .into_iter()
            .chain(of_trial)
            .collect()
    }

    /// Stores it, unless the directory remembers it as it is.
    pub(super) fn save(&self, data_dir: &Path) {
        // What cannot be read was told when it was read first.
        if remembered(data_dir).is_ok_and(|known| known.as_ref() == Some(self)) {
            return;
        }
        let stored = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|bytes| state_file::write(&data_dir.join("state").join(FILE), &bytes));
        if let Err(error) = stored {
            // A full disk must not keep what is in the directory from being uploaded.
            tracing::warn!(%error, "cannot store whose data directory this is");
        }
    }
}

#[cfg(test)]
mod tests;
