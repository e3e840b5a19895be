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
