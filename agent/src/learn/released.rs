//! What the fleet has released to this device: candidates that wait for the gate, and what became of them.
//!
//! Whoever follows releases offers them here; the scheduler makes a task of each on every stream of its recipe,
//! and whoever answers records tells here if one was taken back.
//!
//! Promises: what was offered and what became of it survive a restart, in a file of its own; what cannot be
//! stored is known until the agent ends, and told. One model of a line is on offer at a time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{files::state_file, lock::unpoisoned};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::release::verdict::Outcome;

const FILE: &str = "released";
/// Streams on which one release is tried; the file is written anew for each.
const STREAMS_MAX: usize = 256;

/// A released model, as it lies on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which release of its line.
    pub serial: u64,
    /// SHA-256 of the artifact, in hexadecimal.
    pub sha256: String,
    /// Where the artifact is.
    pub file: PathBuf,
}

/// What became of a candidate on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What.
    pub outcome: Outcome,
    /// The version that it has become.
    pub version: Option<u64>,
    /// Why, in words.
    pub reason: String,
}

/// A candidate on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Offer {
    candidate: Candidate,
    /// Streams that have not tried it do not any more.
    is_withdrawn: bool,
    /// By stream.
    tried: BTreeMap<String, Tried>,
}

/// Candidates by line, which is the recipe.
pub struct Released {
    path: PathBuf,
    offers: Mutex<BTreeMap<String, Offer>>,
    /// Differs whenever there is something new to try.
    notes: AtomicU64,
}

impl Candidate {
    /// Tells a task on `key` that tries this candidate from all others, also after a restart.
    pub(crate) fn seed(&self, key: &ModelKey) -> u64 {
        xxh3_64(format!("{} {} {key}", self.serial, self.sha256).as_bytes())
    }
}

impl Released {
    /// What was known when the agent ended.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let offers = state_file::read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was released to this device is forgotten");
            None
        });
        Self {
            path,
            offers: Mutex::new(offers.unwrap_or_default()),
            notes: AtomicU64::new(0),
        }
    }

    /// Lets every stream of `line` try `candidate` in place of the one before; one with the same serial is
    /// only no longer withdrawn.
    pub fn offer(&self, line: &str, candidate: Candidate) {
        let mut offers = self.lock();
        match offers.get_mut(line) {
            Some(offer) if offer.candidate.serial == candidate.serial => {
                offer.is_withdrawn = false;
                offer.candidate = candidate;
            }
            _ => {
                let offer = Offer {
                    candidate,
                    is_withdrawn: false,
                    tried: BTreeMap::new(),
                };
                offers.insert(line.to_owned(), offer);
            }
        }
        self.store(&offers);
        self.notes.fetch_add(1, Relaxed);
    }

    /// Nothing is on offer in lines that are not followed any more; what serves serves on.
    pub fn keep_lines(&self, followed: &[String]) {
        let mut offers = self.lock();
        let before = offers.len();
        offers.retain(|line, _| followed.contains(line));
        if offers.len() < before {
            self.store(&offers);
        }
    }

    /// Streams that have not tried what is on offer in `line` do not any more; where it serves, it serves on.
    pub fn withdraw(&self, line: &str) {
        let mut offers = self.lock();
        if let Some(offer) = offers.get_mut(line).filter(|offer| !offer.is_withdrawn) {
            offer.is_withdrawn = true;
            self.store(&offers);
        }
    }

    /// The candidate of a line, with what became of it so far, by stream.
    pub fn tried(&self, line: &str) -> Option<(Candidate, BTreeMap<String, Tried>)> {
        let offers = self.lock();
        let offer = offers.get(line)?;
        Some((offer.candidate.clone(), offer.tried.clone()))
    }

    /// Files of all candidates.
    pub fn files(&self) -> Vec<PathBuf> {
        let offers = self.lock();
        let files = offers.values().map(|offer| offer.candidate.file.clone());
        files.collect()
    }

    /// Differs whenever there is something new to try.
    pub(in crate::learn) fn notes(&self) -> u64 {
        self.notes.load(Relaxed)
    }

    /// What `key` is to try and has not tried.
    pub(crate) fn due(&self, key: &ModelKey) -> Option<Candidate> {
        let offers = self.lock();
        let offer = offers.get(&key.recipe)?;
        let is_due = !offer.is_withdrawn
            && offer.tried.len() < STREAMS_MAX
            && !offer.tried.contains_key(&key.stream);
        is_due.then(|| offer.candidate.clone())
    }

    /// The candidate that the task on `key` with this seed is about, unless another has taken its place.
    pub(in crate::learn) fn of_task(&self, key: &ModelKey, seed: u64) -> Option<Candidate> {
        let offers = self.lock();
        let candidate = &offers.get(&key.recipe)?.candidate;
        (candidate.seed(key) == seed).then(|| candidate.clone())
    }

    /// The task on `key` with this seed has ended so.
    pub(crate) fn ended(&self, key: &ModelKey, seed: u64, tried: Tried) {
        let mut offers = self.lock();
        let offer = offers.get_mut(&key.recipe);
        let Some(offer) = offer.filter(|offer| offer.candidate.seed(key) == seed) else {
            return;
        };
        offer.tried.insert(key.stream.clone(), tried);
        self.store(&offers);
    }

    /// A version that served does so no more, as it was found wanting; nothing if it is not a released one.
    pub(in crate::learn) fn taken_back(&self, key: &ModelKey, version: u64, reason: &str) {
        let mut offers = self.lock();
        let offer = offers.get_mut(&key.recipe);
        let tried = offer.and_then(|offer| offer.tried.get_mut(&key.stream));
        let Some(tried) = tried
            .filter(|tried| tried.version == Some(version) && tried.outcome == Outcome::Serves)
        else {
            return;
        };
        tried.outcome = Outcome::RolledBack;
        reason.clone_into(&mut tried.reason);
        self.store(&offers);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Offer>> {
        unpoisoned(self.offers.lock())
    }

    fn store(&self, offers: &BTreeMap<String, Offer>) {
        if let Err(error) = state_file::write(&self.path, offers) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot store what was released to this device");
        }
    }
}

#[cfg(test)]
mod tests;
