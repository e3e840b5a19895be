//! Following over a real centre, driven by hand.

#![allow(clippy::unwrap_used)]

use dunlin_models::registry::ModelKey;
use dunlin_sync::centre::blobs::BlobHash;
use tempfile::TempDir;

use super::*;
use crate::{
    centre::{self, CentreOptions},
    config::settings::Secret,
    release::signing::SigningKey,
};

const LINE: &str = "health";

/// A centre, a key that devices believe, and what they keep.
struct Fleet {
    dir: TempDir,
    key: SigningKey,
    centre: Arc<dyn Centre>,
}

impl Fleet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            key: SigningKey::make(&dir.path().join("key")).unwrap(),
            centre: centre(&dir, "centre.db"),
            dir,
        }
    }

    fn device(&self, name: &str) -> Follower {
        self.device_with(name, |_| {})
    }

    /// A device that goes on where one of that name has ended.
    fn device_with(&self, name: &str, change: impl FnOnce(&mut FollowerParts)) -> Follower {
        let data_dir = self.dir.path().join(name);
        let mut parts = FollowerParts {
            centre: Arc::clone(&self.centre),
            settings: FleetSettings {
                centre: Some(Secret::new("sqlite:".into())),
                password_file: None,
                ca_file: None,
                follow: vec![LINE.into()],
                keys: vec![release::public_key(&self.key.public()).unwrap()],
                check: Duration::from_mins(1),
                bytes_per_s_max: 1 << 30,
            },
            device: name.into(),
            released: Arc::new(Released::open(&data_dir.join("state"))),
            data_dir,
            disk_free_bytes_min: 0,
            wall_ns: || 7,
            seed: 1,
        };
        change(&mut parts);
        Follower::open(parts)
    }

    fn release(serial: u64, model: &[u8]) -> Release {
        Release {
            format: release::FORMAT,
            line: LINE.into(),
            serial,
            sha256: BlobHash::of(model).to_string(),
            bytes: model.len() as u64,
            share_percent: 100.0,
            published_ns: 1,
            paused: false,
        }
    }

    async fn put(&self, model: &[u8]) {
        let path = self.dir.path().join("model");
        fs::write(&path, model).unwrap();
        blobs::put(&*self.centre, &path, None).await.unwrap();
    }

    async fn publish(&self, release: &Release) {
        publish(&*self.centre, &self.key.sign(release).unwrap()).await;
    }

    /// Every verdict told so far: who, of which serial, what.
    async fn verdicts(&self) -> Vec<(String, u64, Outcome, String)> {
        let (mut told, mut after) = (Vec::new(), 0);
        let channel = verdict::channel(LINE);
        while let Some(document) = self.centre.follow(&channel, after).await.unwrap() {
            after = document.serial;
            let it = Verdict::of(&document.bytes).unwrap();
            told.push((it.device, it.serial, it.outcome, it.reason));
        }
        told
    }

    /// Why the first release failed, which is all that was told.
    async fn told_failed_once(&self) -> String {
        let told = self.verdicts().await;
        let [(_, 1, Outcome::Failed, reason)] = &told[..] else {
            panic!("{told:?}");
        };
        reason.clone()
    }
}

fn centre(dir: &TempDir, name: &str) -> Arc<dyn Centre> {
    let options = CentreOptions {
        url: format!("sqlite:{}", dir.path().join(name).display()),
        ..CentreOptions::default()
    };
    centre::connect(&options).unwrap()
}

async fn publish(centre: &dyn Centre, document: &Document) {
    let channel = release::channel(LINE);
    let published = centre.publish(&channel, document).await.unwrap();
    assert_eq!(published, Published::Accepted);
}

/// Which serial is on offer on a device.
fn offered(device: &Follower) -> Option<u64> {
    let (candidate, _) = device.parts.released.tried(LINE)?;
    Some(candidate.serial)
}

/// A stream has tried what is on offer.
fn try_it(device: &Follower, stream: &str, outcome: Outcome) {
    let (candidate, _) = device.parts.released.tried(LINE).unwrap();
    let key = ModelKey::new(LINE, stream);
    let tried = Tried {
        outcome,
        version: Some(1),
        reason: "so".into(),
    };
    let seed = candidate.seed(&key);
    device.parts.released.ended(&key, seed, tried);
}

#[tokio::test]
async fn a_release_arrives_is_tried_and_its_verdict_told_once() {
    let fleet = Fleet::new();
    let mut device = fleet.device("a");
    device.round().await.unwrap();
    assert_eq!(offered(&device), None, "nothing was released");
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(1, b"model")).await;
    device.round().await.unwrap();
    assert_eq!(offered(&device), Some(1));
    let (candidate, _) = device.parts.released.tried(LINE).unwrap();
    assert_eq!(fs::read(candidate.file).unwrap(), b"model");
    assert_eq!(fleet.verdicts().await, [], "nobody has tried it yet");
    try_it(&device, "press", Outcome::Serves);
    for _ in 0..2 {
        device.round().await.unwrap();
    }
    let serves = ("a".into(), 1, Outcome::Serves, "press: so".into());
    assert_eq!(fleet.verdicts().await, std::slice::from_ref(&serves));
    // Nor is it told again after a restart; only what has changed is.
    drop(device);
    let mut device = fleet.device("a");
    device.round().await.unwrap();
    try_it(&device, "lathe", Outcome::RolledBack);
    device.round().await.unwrap();
    let taken_back = ("a".into(), 1, Outcome::RolledBack, "lathe: so".into());
    assert_eq!(fleet.verdicts().await, [serves, taken_back]);
}

#[tokio::test]
async fn what_a_stranger_has_signed_is_refused_and_told_once() {
    let fleet = Fleet::new();
    let stranger = SigningKey::make(&fleet.dir.path().join("other")).unwrap();
    let document = stranger.sign(&Fleet::release(1, b"model")).unwrap();
    fleet.put(b"model").await;
    publish(&*fleet.centre, &document).await;
    let mut device = fleet.device("a");
    for _ in 0..2 {
        device.round().await.unwrap();
    }
    assert_eq!(offered(&device), None);
    let reason = fleet.told_failed_once().await;
    assert!(reason.contains("none of the configured keys"), "{reason}");
    // It has not taken the place of what is ours.
    fleet.publish(&Fleet::release(2, b"model")).await;
    device.round().await.unwrap();
    assert_eq!(offered(&device), Some(2));
}

#[tokio::test]
async fn a_lower_serial_or_another_release_of_the_same_is_refused_also_after_a_restart() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(3, b"model")).await;
    fleet.device("a").round().await.unwrap();
    for (name, release, why) in [
        (
            "lower.db",
            Fleet::release(2, b"model"),
            "3 was seen already",
        ),
        ("same.db", Fleet::release(3, b"other"), "another release"),
    ] {
        let before = centre(&fleet.dir, name);
        publish(&*before, &fleet.key.sign(&release).unwrap()).await;
        let moved = Arc::clone(&before);
        let mut device = fleet.device_with("a", |parts| parts.centre = moved);
        device.round().await.unwrap();
        assert_eq!(offered(&device), Some(3), "{name}");
        let channel = verdict::channel(LINE);
        let told = before.newest(&channel).await.unwrap().unwrap();
        let told = Verdict::of(&told.bytes).unwrap();
        assert!(told.reason.contains(why), "{told:?}");
    }
}

#[tokio::test]
async fn a_model_whose_hash_is_wrong_is_told_and_taken_once_it_is_right() {
    let fleet = Fleet::new();
    let hash = BlobHash::of(b"model");
    let wrong = vec![b"wrong".to_vec()];
    fleet.centre.put_chunks(hash, 0, &wrong).await.unwrap();
    fleet.centre.seal_blob(hash, 5).await.unwrap();
    fleet.publish(&Fleet::release(1, b"model")).await;
    let mut device = fleet.device("a");
    for _ in 0..2 {
        device.round().await.unwrap();
    }
    assert_eq!(offered(&device), None);
    let reason = fleet.told_failed_once().await;
    assert!(reason.contains("damaged"), "{reason}");
    fleet.centre.remove_blob(hash).await.unwrap();
    fleet.put(b"model").await;
    device.round().await.unwrap();
    assert_eq!(offered(&device), Some(1));
}

#[tokio::test]
async fn a_paused_release_is_not_taken_and_one_that_goes_on_is() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(1, b"model")).await;
    let (mut early, mut late) = (fleet.device("early"), fleet.device("late"));
    early.round().await.unwrap();
    let paused = Release {
        paused: true,
        ..Fleet::release(2, b"model")
    };
    fleet.publish(&paused).await;
    for device in [&mut early, &mut late] {
        device.round().await.unwrap();
    }
    let has_due = |device: &Follower| device.parts.released.due(&ModelKey::new(LINE, "press"));
    assert_eq!((has_due(&early), has_due(&late)), (None, None));
    fleet.publish(&Fleet::release(3, b"model")).await;
    for device in [&mut early, &mut late] {
        device.round().await.unwrap();
        assert_eq!(has_due(device).unwrap().serial, 3);
    }
}

#[tokio::test]
async fn a_device_outside_the_share_takes_it_once_the_share_has_grown() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    let nobody = Release {
        share_percent: 0.0,
        ..Fleet::release(1, b"model")
    };
    fleet.publish(&nobody).await;
    let mut device = fleet.device("a");
    device.round().await.unwrap();
    assert_eq!((offered(&device), fleet.verdicts().await.len()), (None, 0));
    fleet.publish(&Fleet::release(2, b"model")).await;
    device.round().await.unwrap();
    assert_eq!(offered(&device), Some(2));
    // A share that shrinks takes it back from where it was not tried; another model leaves it there.
    let due = |device: &Follower| device.parts.released.due(&ModelKey::new(LINE, "press"));
    for (serial, model, is_due) in [(3, b"other", true), (4, b"model", false)] {
        let nobody = Release {
            share_percent: 0.0,
            ..Fleet::release(serial, model)
        };
        fleet.publish(&nobody).await;
        device.round().await.unwrap();
        assert_eq!(due(&device).is_some(), is_due, "{serial}");
    }
}

#[tokio::test]
async fn a_line_that_the_centre_refuses_keeps_no_other() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(1, b"model")).await;
    // No document can come after this one, so what is wrong with the line cannot be told.
    let last = Document {
        serial: i64::MAX as u64,
        bytes: b"{}".to_vec(),
    };
    for channel in [release::channel("other"), verdict::channel("other")] {
        let published = fleet.centre.publish(&channel, &last).await.unwrap();
        assert_eq!(published, Published::Accepted);
    }
    let mut device = fleet.device_with("a", |parts| {
        parts.settings.follow.insert(0, "other".into());
    });
    let error = device.round().await.unwrap_err();
    assert!(matches!(error, CentreError::Refused(_)), "{error}");
    assert_eq!(offered(&device), Some(1));
}

#[tokio::test]
async fn nothing_is_fetched_that_there_is_no_room_for() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(1, b"model")).await;
    let full = |parts: &mut FollowerParts| parts.disk_free_bytes_min = u64::MAX;
    let mut device = fleet.device_with("a", full);
    device.round().await.unwrap();
    assert_eq!(offered(&device), None);
    let told = fleet.verdicts().await;
    assert!(told[0].3.contains("no room for that"), "{told:?}");
    assert_eq!(fs::read_dir(&device.dir).unwrap().count(), 0);
}

#[tokio::test]
async fn an_artifact_that_was_damaged_here_is_fetched_again() {
    let fleet = Fleet::new();
    fleet.put(b"model").await;
    fleet.publish(&Fleet::release(1, b"model")).await;
    let mut device = fleet.device("a");
    device.round().await.unwrap();
    let (candidate, _) = device.parts.released.tried(LINE).unwrap();
    fs::write(&candidate.file, b"ledom").unwrap();
    fleet.publish(&Fleet::release(2, b"model")).await;
    device.round().await.unwrap();
    assert_eq!(fs::read(candidate.file).unwrap(), b"model");
}

#[tokio::test]
async fn artifacts_do_not_pile_up_and_devices_that_tell_at_once_lose_no_verdict() {
    let fleet = Fleet::new();
    let mut device = fleet.device("a");
    for (serial, model) in [(1, b"one"), (2, b"two")] {
        fleet.put(model).await;
        fleet.publish(&Fleet::release(serial, model)).await;
        device.round().await.unwrap();
    }
    let files: Vec<_> = fs::read_dir(&device.dir).unwrap().collect();
    assert_eq!((offered(&device), files.len()), (Some(2), 1));
    let mut others: Vec<Follower> = ["b", "c", "d"].map(|name| fleet.device(name)).into();
    for other in &mut others {
        other.round().await.unwrap();
        try_it(other, "press", Outcome::Refused);
    }
    let tellers = others.iter_mut().map(Follower::round);
    for told in futures_util::future::join_all(tellers).await {
        told.unwrap();
    }
    // Whoever gave way too often tells with the next look.
    for other in &mut others {
        other.round().await.unwrap();
    }
    let mut told: Vec<String> = fleet.verdicts().await.into_iter().map(|it| it.0).collect();
    told.sort();
    assert_eq!(told, ["b", "c", "d"]);
}

#[tokio::test]
async fn a_centre_that_is_away_is_only_waited_for() {
    let fleet = Fleet::new();
    // There is no such directory.
    let away = centre(&fleet.dir, "nowhere/centre.db");
    let mut device = fleet.device_with("a", |parts| parts.centre = away);
    let error = device.round().await.unwrap_err();
    let first = device.away(&error);
    assert!(first >= Duration::from_secs(30) && device.has_told_away);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(device.run(stopped));
    stop.send_replace(true);
    running.await.unwrap();
}
