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
pub(crate) struct Found {
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
pub(crate) fn check(data_dir: &Path, root: &Path, adopt: bool) -> Result<Found, StoreError> {
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
    Ok(Found {
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

impl Found {
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use dunlin_sync::sample::Stream;

    use super::*;
    use crate::config::{self, Overrides};

    fn settings(data_dir: &Path, set: &[(&str, &str)]) -> Settings {
        let overrides = Overrides::default()
            .set("data_dir", data_dir.to_str().unwrap())
            .set("mqtt.url", "mqtt://127.0.0.1:1")
            .set("upstream.url", "tdengine://127.0.0.1:1/plant")
            .topic("plant=plant/+machine/state");
        let overrides = set
            .iter()
            .fold(overrides, |o, (key, value)| o.set(key, *value));
        let mut settings = config::load(None, &overrides).unwrap();
        settings.mqtt.keeps_session = true;
        settings
    }

    /// A machine's root directory; what is empty it does not have.
    fn machine(id: &str, serial: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/machine-id", id);
        write("proc/device-tree/serial-number", serial);
        root
    }

    fn start(
        data_dir: &Path,
        root: &Path,
        adopt: bool,
        settings: &Settings,
    ) -> Result<Identity, StoreError> {
        let found = check(data_dir, root, adopt)?;
        let identity = found.settle(settings, &Catalog::default(), adopt);
        identity.save(data_dir);
        Ok(identity)
    }

    #[test]
    fn a_copy_on_another_machine_is_refused_and_a_moved_disk_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path();
        let settings = settings(data_dir, &[("device", "a")]);
        let (here, there) = (machine("i", "s"), machine("I", "S"));
        start(data_dir, here.path(), false, &settings).unwrap();
        start(data_dir, here.path(), false, &settings).unwrap();
        let file = fs::read(data_dir.join("state/identity")).unwrap();
        let error = start(data_dir, there.path(), false, &settings).unwrap_err();
        assert!(error.needs_operator());
        let text = error.to_string();
        assert!(
            text.contains("--adopt-identity") && text.contains("data_dir"),
            "{text}"
        );
        assert_eq!(fs::read(data_dir.join("state/identity")).unwrap(), file);

        start(data_dir, there.path(), true, &settings).unwrap();
        start(data_dir, there.path(), false, &settings).unwrap();
        assert!(start(data_dir, here.path(), false, &settings).is_err());
        // A board or an installation replaced, one after the other.
        let (board, both) = (machine("I", "T"), machine("J", "T"));
        start(data_dir, board.path(), false, &settings).unwrap();
        start(data_dir, both.path(), false, &settings).unwrap();
    }

    #[test]
    fn where_nothing_lasts_the_agent_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path();
        let settings = settings(data_dir, &[("device", "a")]);
        let (none, one, other) = (machine("", ""), machine("i", ""), machine("I", ""));
        for root in [&none, &one, &none] {
            start(data_dir, root.path(), false, &settings).unwrap();
        }
        // A machine id alone may be made anew at every start.
        start(data_dir, other.path(), false, &settings).unwrap();
        let (board, copy) = (machine("j", "s"), machine("k", "t"));
        start(data_dir, board.path(), false, &settings).unwrap();
        assert!(start(data_dir, copy.path(), false, &settings).is_err());
        fs::write(copy.path().join(".dockerenv"), "").unwrap();
        start(data_dir, copy.path(), false, &settings).unwrap();
        // Damaged, it is as none.
        fs::write(data_dir.join("state/identity"), "rubbish").unwrap();
        start(data_dir, one.path(), false, &settings).unwrap();
    }

    #[test]
    fn a_name_that_changes_is_remembered_and_the_client_id_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (data_dir, root) = (dir.path(), machine("i", "s"));
        let named = |set: &[(&str, &str)]| {
            let settings = settings(data_dir, set);
            start(data_dir, root.path(), false, &settings).unwrap()
        };
        let a = named(&[("device", "a")]);
        assert_eq!((a.client_id.as_str(), a.home.as_str()), ("dunlin-a", "a"));
        let b = named(&[("device", "b")]);
        assert_eq!((b.client_id.as_str(), b.home.as_str()), ("dunlin-a", "a"));
        assert_eq!(b.device_before.as_deref(), Some("a"));
        assert_eq!(named(&[("device", "b")]), b);
        let set = [("device", "b"), ("mqtt.client_id", "mine")];
        assert_eq!(named(&set).client_id, "mine");
        assert_eq!(named(&[("device", "b")]).client_id, "mine");
        let devices = named(&[("device", "a")]).devices();
        assert_eq!(devices, Devices::only("a"));
    }

    #[test]
    fn a_trial_has_a_client_id_of_its_own_and_leaves_that_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let root = machine("0123", "s");
        let settle = |settings: &Settings| {
            let found = check(dir.path(), root.path(), false).unwrap();
            let identity = found.settle(settings, &Catalog::default(), false);
            identity.save(dir.path());
            identity.client_id_for(settings).to_owned()
        };
        let service = settings(dir.path(), &[("device", "press-7")]);
        let mut trial = service.clone();
        trial.mqtt.keeps_session = false;
        assert_eq!(settle(&service), "dunlin-press-7");
        let of_trial = settle(&trial);
        assert!(of_trial.starts_with("dunlin-press-7-trial-"), "{of_trial}");
        assert_eq!(
            settle(&trial),
            of_trial,
            "what it left unacknowledged comes again"
        );
        assert_eq!(settle(&service), "dunlin-press-7");
        // One that was named is meant.
        let mut named = settings(
            dir.path(),
            &[("device", "press-7"), ("mqtt.client_id", "mine")],
        );
        named.mqtt.keeps_session = false;
        assert_eq!(settle(&named), "mine");
    }

    #[test]
    fn a_copy_under_another_name_takes_a_client_id_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (here, board) = (machine("i", "s"), machine("i", "S"));
        let (original, copy) = (dir.path().join("original"), dir.path().join("copy"));
        for data_dir in [&original, &copy] {
            fs::create_dir_all(data_dir.join("buffer")).unwrap();
            fs::create_dir(data_dir.join("state")).unwrap();
        }
        let id = |data_dir: &Path, root: &Path, device: &str| {
            let settings = settings(data_dir, &[("device", device)]);
            start(data_dir, root, false, &settings).unwrap().client_id
        };
        assert_eq!(id(&original, here.path(), "a"), "dunlin-a");
        let copied = || {
            let file = "state/identity";
            fs::copy(original.join(file), copy.join(file)).unwrap();
        };
        copied();
        assert_eq!(id(&copy, here.path(), "b"), "dunlin-b");
        // Put back, it is no other device.
        copied();
        assert_eq!(id(&copy, here.path(), "a"), "dunlin-a");
        // A copy of the whole disk, in a machine of its own.
        assert_eq!(id(&original, board.path(), "b"), "dunlin-b");
    }

    #[test]
    fn a_directory_without_an_identity_takes_its_devices_from_its_streams() {
        let dir = tempfile::tempdir().unwrap();
        let (data_dir, root) = (dir.path(), machine("i", "s"));
        let mut catalog = Catalog::default();
        for device in ["a", "b"] {
            catalog.put_stream(Arc::new(Stream {
                id: catalog.next_stream(),
                schema: 0,
                name: format!("plant/{device}"),
                tags: vec![device.into()],
                first_tags: None,
            }));
        }
        let settled = |device: &str| {
            let settings = settings(data_dir, &[("device", device)]);
            let found = check(data_dir, root.path(), false).unwrap();
            let identity = found.settle(&settings, &catalog, false);
            (identity.home, identity.device_before, identity.client_id)
        };
        let with = |before: Option<&str>, id: &str| ("a".into(), before.map(Into::into), id.into());
        assert_eq!(settled("a"), with(None, "dunlin-a"));
        assert_eq!(settled("b"), with(None, "dunlin-b"));
        assert_eq!(settled("c"), with(Some("b"), "dunlin-b"));
    }
}
