//! This device as one of a fleet: it follows releases, and says what became of them.
//!
//! Promises: a centre that is away, slow or wrong disturbs nothing on this device; what it says is believed only
//! as far as one of the configured keys has signed it, and no release a second time or after a later one, also
//! over restarts; nothing is fetched that there is no room for. A model that has arrived is a candidate like
//! those made here: its way goes on in `learn`.

mod followed;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dunlin_models::registry::ARTIFACT_BYTES_MAX;
use dunlin_sync::{
    backoff::Backoff,
    centre::{
        Centre, CentreError, Document, Published,
        blobs::{self, BlobError, BlobHash},
    },
};
use rand::RngExt as _;
use tokio::sync::watch;

use self::followed::{Followed, News};
use crate::{
    config::settings::FleetSettings,
    learn::released::{Candidate, Released, Tried},
    release::{
        self, Release,
        verdict::{self, Outcome, Verdict},
    },
};

/// First wait after the centre could not be reached.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait between attempts.
const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// How often a verdict gives way to one of another device before it waits for the next look.
const TURNS_MAX: u32 = 16;
/// Longest reason that is told, bytes.
const REASON_BYTES_MAX: usize = 500;

/// What following works with.
pub(crate) struct FollowerParts {
    pub(crate) centre: Arc<dyn Centre>,
    pub(crate) settings: FleetSettings,
    /// Name of this device.
    pub(crate) device: String,
    pub(crate) data_dir: PathBuf,
    /// Disk left free for others, bytes.
    pub(crate) disk_free_bytes_min: u64,
    pub(crate) released: Arc<Released>,
    /// The wall clock, nanoseconds UTC, for people's eyes.
    pub(crate) wall_ns: fn() -> i64,
    pub(crate) seed: u64,
}

/// Follows the releases of some lines.
pub(crate) struct Follower {
    parts: FollowerParts,
    followed: Followed,
    /// Where artifacts lie.
    dir: PathBuf,
    backoff: Backoff,
    /// That the centre is away has been told.
    has_told_away: bool,
}

/// Why a line could not be looked after.
enum Trouble {
    /// The centre: later.
    Away(CentreError),
    /// This release: told to the centre, and tried again with the next look.
    Failed(String),
}

impl From<CentreError> for Trouble {
    fn from(error: CentreError) -> Self {
        Self::Away(error)
    }
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Centre(error) => Self::Away(error),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Follower {
    /// Goes on where the agent ended.
    pub(crate) fn open(parts: FollowerParts) -> Self {
        let followed = Followed::open(&parts.data_dir.join("state"));
        Self {
            followed,
            dir: parts.data_dir.join("releases"),
            backoff: Backoff::new(BACKOFF_MIN, BACKOFF_MAX, parts.seed),
            has_told_away: false,
            parts,
        }
    }

    /// Looks again and again until told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let lines = self.parts.settings.follow.join(", ");
        let centre = self.parts.centre.location();
        tracing::info!(lines, centre, "follows releases");
        loop {
            let round = async {
                let wait = match self.round().await {
                    Ok(()) => self.rested(),
                    Err(error) => self.away(&error),
                };
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                // Gone without a word, it is to end too.
                _ = stop.wait_for(|stop| *stop) => return,
                () = round => {}
            }
        }
    }

    fn rested(&mut self) -> Duration {
        self.backoff.reset();
        if std::mem::take(&mut self.has_told_away) {
            tracing::info!("the centre is there again");
        }
        // A fleet that was switched on together need not ask together.
        let part = rand::rng().random_range(0.5..=1.0);
        self.parts.settings.check.mul_f64(part)
    }

    fn away(&mut self, error: &CentreError) -> Duration {
        if !std::mem::replace(&mut self.has_told_away, true) {
            tracing::warn!(%error, "releases cannot be looked for; everything else goes on");
        }
        self.backoff
            .after_failure()
            .max(self.parts.settings.check / 2)
    }

    /// Looks after every line once; one that has trouble of its own keeps no other.
    ///
    /// # Errors
    /// The centre's; the last one, where it refuses some lines only.
    async fn round(&mut self) -> Result<(), CentreError> {
        let mut ended = Ok(());
        for line in self.parts.settings.follow.clone() {
            match self.look_and_tell(&line).await {
                Ok(()) => {}
                // Something about this line, or that nothing may be told: others may still come.
                Err(CentreError::Refused(why)) => ended = Err(CentreError::Refused(why)),
                Err(error) => return Err(error),
            }
        }
        ended
    }

    async fn look_and_tell(&mut self, line: &str) -> Result<(), CentreError> {
        let failed = match self.look(line).await {
            Ok(()) => None,
            Err(Trouble::Away(error)) => return Err(error),
            Err(Trouble::Failed(why)) => Some(why),
        };
        self.tell(line, failed).await
    }

    /// Takes up the newest release of a line, if it is new and for this device.
    async fn look(&mut self, line: &str) -> Result<(), Trouble> {
        let centre = Arc::clone(&self.parts.centre);
        let Some(document) = centre.newest(&release::channel(line)).await? else {
            return Ok(());
        };
        match self.followed.news(line, &document) {
            News::None => return Ok(()),
            News::Some => {}
            News::Refused(why) => return Err(Trouble::Failed(why)),
        }
        let release = release::open(line, &document, &self.parts.settings.keys);
        let release = release.map_err(|error| Trouble::Failed(error.to_string()))?;
        // Before anything comes of it, so that no earlier one is taken after a restart.
        self.followed
            .seen(line, &document)
            .map_err(|error| Trouble::Failed(error.to_string()))?;
        if release.paused {
            tracing::info!(line, serial = release.serial, "the release is paused");
            self.parts.released.withdraw(line);
        } else if release.is_for(&self.parts.device) {
            self.take(line, &release).await?;
        } else {
            tracing::info!(
                line,
                serial = release.serial,
                "the release is not for us yet"
            );
            let offered = self.parts.released.tried(line);
            if offered.is_some_and(|(candidate, _)| candidate.sha256 == release.sha256) {
                // It was for us, until the share was made smaller.
                self.parts.released.withdraw(line);
            }
        }
        self.followed.done(line);
        Ok(())
    }

    /// Fetches a model and hands it on.
    async fn take(&mut self, line: &str, release: &Release) -> Result<(), Trouble> {
        let disk = |error: io::Error| Trouble::Failed(format!("{}: {error}", self.dir.display()));
        let failed = |error: release::ReleaseError| Trouble::Failed(error.to_string());
        let hash = release.blob().map_err(failed)?;
        if release.bytes > ARTIFACT_BYTES_MAX {
            let what = "it is larger than a model may be".to_owned();
            return Err(Trouble::Failed(what));
        }
        let file = self.dir.join(format!("{hash}.safetensors"));
        if !is_there(&file, hash).await {
            dunlin_sync::files::state_file::create_dir(&self.dir).map_err(disk)?;
            check_room(&self.dir, release.bytes, self.parts.disk_free_bytes_min)
                .map_err(Trouble::Failed)?;
            let (centre, pace) = (&*self.parts.centre, self.parts.settings.bytes_per_s_max);
            blobs::fetch(centre, hash, &file, release.bytes, NonZeroU64::new(pace)).await?;
        }
        let serial = release.serial;
        let candidate = Candidate {
            serial,
            sha256: hash.to_string(),
            file,
        };
        self.parts.released.offer(line, candidate);
        tracing::info!(line, serial, %hash, "a released model has arrived and is tried");
        if let Err(error) = self.sweep() {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, "released models that nobody needs any more cannot be removed");
        }
        Ok(())
    }

    /// Takes away artifacts that are on offer no more, and what has arrived of others.
    fn sweep(&self) -> io::Result<()> {
        let kept = self.parts.released.files();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !kept.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Tells the centre what became of the newest release of a line, if that is not known there.
    async fn tell(&mut self, line: &str, failed: Option<String>) -> Result<(), CentreError> {
        let Some(verdict) = self.verdict(line, failed) else {
            return Ok(());
        };
        if self.followed.has_told(line, &verdict) {
            return Ok(());
        }
        let (serial, outcome, reason) = (verdict.serial, verdict.outcome.as_str(), &verdict.reason);
        tracing::info!(line, serial, outcome, reason, "what became of the release");
        let bytes = serde_json::to_vec(&verdict);
        let bytes = bytes.map_err(|error| CentreError::Refused(error.to_string()))?;
        let channel = verdict::channel(line);
        let centre = &*self.parts.centre;
        let newest = centre.newest(&channel).await?;
        let mut document = Document {
            serial: newest.map_or(0, |newest| newest.serial) + 1,
            bytes,
        };
        for _ in 0..TURNS_MAX {
            match centre.publish(&channel, &document).await? {
                Published::Accepted => {
                    self.followed.told(line, verdict);
                    return Ok(());
                }
                // Another device was faster.
                Published::Stale { newest } => document.serial = newest.saturating_add(1),
            }
        }
        // With the next look.
        Ok(())
    }

    /// What there is to say of a line: what is in the way, or else what became of what is on offer.
    fn verdict(&self, line: &str, failed: Option<String>) -> Option<Verdict> {
        let verdict = |serial, outcome, reason: &str, streams| Verdict {
            format: release::FORMAT,
            device: self.parts.device.clone(),
            serial,
            outcome,
            reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned(),
            streams,
            at_ns: (self.parts.wall_ns)(),
        };
        if let Some(why) = failed {
            let serial = self.followed.looked_at(line);
            return Some(verdict(serial, Outcome::Failed, &why, BTreeMap::new()));
        }
        let (candidate, tried) = self.parts.released.tried(line)?;
        let (outcome, reason) = worst(&tried)?;
        let mut streams = BTreeMap::new();
        for tried in tried.values() {
            *streams.entry(tried.outcome).or_insert(0) += 1;
        }
        Some(verdict(candidate.serial, outcome, &reason, streams))
    }
}

/// The worst that became of a candidate, with its reason; of equals the first by stream.
fn worst(tried: &BTreeMap<String, Tried>) -> Option<(Outcome, String)> {
    let worst = tried.values().map(|tried| tried.outcome).max()?;
    let (stream, tried) = tried.iter().find(|(_, tried)| tried.outcome == worst)?;
    Some((worst, format!("{stream}: {}", tried.reason)))
}

/// Whether `bytes` more leave `bytes_min` of the disk free.
///
/// # Errors
/// What is missing, in words.
fn check_room(dir: &Path, bytes: u64, bytes_min: u64) -> Result<(), String> {
    // Nobody knows: the write itself will tell.
    let Ok(disk) = rustix::fs::statvfs(dir) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= bytes.saturating_add(bytes_min) {
        return Ok(());
    }
    // Not how much is free: what changes all the time would be told all the time.
    Err(format!(
        "a model of {bytes} bytes is to leave {bytes_min} free (buffer.disk_free_bytes_min), and the disk has \
         no room for that"
    ))
}

/// Whether `file` is, byte for byte, what `hash` names. Long for a long file, so not here.
async fn is_there(file: &Path, hash: BlobHash) -> bool {
    let file = file.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        fs::read(&file).is_ok_and(|bytes| BlobHash::of(&bytes) == hash)
    });
    looked.await.unwrap_or(false)
}
