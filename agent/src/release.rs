//! Releases: signed documents that let a model of the fleet be tried on devices.
//!
//! A release names a line, which is a recipe as devices call it, one model by its hash, and who may take it. Its
//! serial rises within the line. It is JSON in an envelope with its minisign signature, in the channel
//! [`channel`] of a centre. What the signature is about is the text itself, so nobody has to agree on how JSON
//! is written.
//!
//! Promises: nothing is read out of a document before one of the keys has signed it; any bytes are refused in
//! words, never by a panic.

pub mod signing;
pub mod verdict;

use dunlin_sync::centre::{Document, blobs::BlobHash};
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of the layout; what is of another is refused.
pub const FORMAT: u32 = 1;
/// Longest name of a line, bytes: there is room in a channel's name for more.
pub const LINE_BYTES_MAX: usize = 64;
/// Longest document, bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// A model that devices may try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// [`FORMAT`]
    pub format: u32,
    /// The recipe on the devices.
    pub line: String,
    /// Its place in the line, from 1; rises.
    pub serial: u64,
    /// SHA-256 of the artifact, in hexadecimal: its blob's name.
    pub sha256: String,
    /// Bytes of the artifact.
    pub bytes: u64,
    /// The share of the fleet that may take it, 0 to 100.
    pub share_percent: f64,
    /// When it was published, nanoseconds UTC.
    pub published_ns: i64,
    /// Nobody is to take it who has not yet.
    #[serde(default)]
    pub paused: bool,
}

/// A release as it lies in its channel.
#[derive(Serialize, Deserialize)]
struct Envelope {
    /// A [`Release`] as JSON.
    release: String,
    /// The minisign signature of that text.
    signature: String,
}

/// What tells which layout a text has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Why a document is no release for us. None of them is tried again before the document changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Not what was published.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Signed, and of a layout that this version does not know.
    #[error("it has format {0}, and this dunlin reads {FORMAT}: upgrade dunlin")]
    Newer(u32),
    /// None of the keys has signed it.
    #[error("none of the configured keys has signed it")]
    Stranger,
    /// Signed for another place: somebody has moved it here.
    #[error("it was signed for another line or serial")]
    Misplaced,
}

impl Release {
    /// The blob that it names.
    ///
    /// # Errors
    /// [`ReleaseError::Damaged`]
    pub fn blob(&self) -> Result<BlobHash, ReleaseError> {
        let blob = self.sha256.parse::<BlobHash>();
        blob.map_err(|error| ReleaseError::Damaged(error.to_string()))
    }

    /// Whether it is for `device`. The share only grows: a device in 5 % is in 25 % of the same line too.
    pub fn is_for(&self, device: &str) -> bool {
        place_percent(&self.line, device) < self.share_percent
    }

    /// # Errors
    /// [`ReleaseError::Damaged`] if a value is out of range.
    fn check(&self) -> Result<(), ReleaseError> {
        let damaged = |what: &str| Err(ReleaseError::Damaged(what.to_owned()));
        if !is_line(&self.line) {
            return damaged("its line is empty or too long");
        }
        if !(0.0..=100.0).contains(&self.share_percent) {
            return damaged("its share is not 0 to 100 percent");
        }
        self.blob().map(drop)
    }
}

/// Whether `name` can be that of a line.
pub fn is_line(name: &str) -> bool {
    (1..=LINE_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Where the releases of a line are published.
pub fn channel(line: &str) -> String {
    format!("releases/{line}")
}

/// Where a device stands among all of them, 0 to less than 100: the same for ever, and another for each line.
fn place_percent(line: &str, device: &str) -> f64 {
    let mut hasher = Sha256::new();
    // So that no two pairs run into each other.
    hasher.update((line.len() as u64).to_be_bytes());
    hasher.update(line);
    hasher.update(device);
    let hash: [u8; 32] = hasher.finalize().into();
    let place = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    f64::from(place) / (f64::from(u32::MAX) + 1.0) * 100.0
}

/// A public key out of its 56 characters.
///
/// # Errors
/// What is wrong, in words.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_base64(text).map_err(|error| error.to_string())
}

/// The release in the document of a line, if one of `keys` has signed it for that place.
///
/// # Errors
/// [`ReleaseError`]
pub fn open(line: &str, document: &Document, keys: &[PublicKey]) -> Result<Release, ReleaseError> {
    let damaged = |error: serde_json::Error| ReleaseError::Damaged(error.to_string());
    if document.bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(ReleaseError::Damaged("it is far too long".into()));
    }
    let envelope: Envelope = serde_json::from_slice(&document.bytes).map_err(damaged)?;
    let signature = Signature::decode(&envelope.signature)
        .map_err(|error| ReleaseError::Damaged(error.to_string()))?;
    let text = envelope.release.as_bytes();
    if !keys
        .iter()
        .any(|key| key.verify(text, &signature, false).is_ok())
    {
        return Err(ReleaseError::Stranger);
    }
    let head: Head = serde_json::from_slice(text).map_err(damaged)?;
    if head.format != FORMAT {
        return Err(ReleaseError::Newer(head.format));
    }
    let release: Release = serde_json::from_slice(text).map_err(damaged)?;
    release.check()?;
    if release.line != line || release.serial != document.serial {
        return Err(ReleaseError::Misplaced);
    }
    Ok(release)
}

/// The release in a document, whoever has signed it: to be shown, never to be followed.
pub fn unverified(document: &Document) -> Option<Release> {
    let envelope: Envelope = serde_json::from_slice(&document.bytes).ok()?;
    let release: Release = serde_json::from_str(&envelope.release).ok()?;
    release.check().ok()?;
    Some(release)
}

#[cfg(test)]
mod tests;
