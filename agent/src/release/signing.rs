//! The side that signs: keys on disk, and documents made with them.
//!
//! Devices never come here. Keys are those of minisign, so that they can be made, kept and changed with it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Cursor, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use dunlin_sync::centre::Document;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::{Envelope, Release};

/// Longest key file, bytes.
const KEY_BYTES_MAX: u64 = 4_096;

/// Why a key cannot be used, or something cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a key, or one that asks for another password.
    #[error("{}: {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The signature was not made.
    #[error("cannot sign: {0}")]
    Sign(String),
}

/// A key that signs.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a key in a new file `path` that its owner alone may read, with the public one beside it, in
    /// `path.pub`.
    ///
    /// # Errors
    /// [`SigningError`], also if either file is there already.
    pub fn make(path: &Path) -> Result<Self, SigningError> {
        let sign = |error: minisign::PError| SigningError::Sign(error.to_string());
        let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().map_err(sign)?;
        let secret = sk.to_box(Some("dunlin release key, not encrypted"));
        let secret = secret.map_err(sign)?.into_string();
        let public = pk.to_box().map_err(sign)?.into_string();
        write_new(path, 0o600, secret.as_bytes())?;
        write_new(&public_path(path), 0o644, public.as_bytes())?;
        Ok(Self {
            secret: sk,
            public: pk,
        })
    }

    /// Reads the key in the file `path`; one that is encrypted needs its `password`.
    ///
    /// # Errors
    /// [`SigningError`]
    pub fn read(path: &Path, password: Option<String>) -> Result<Self, SigningError> {
        let key = |what: String| SigningError::Key {
            path: path.to_owned(),
            what,
        };
        let disk = |source| SigningError::Disk {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(disk)?.len() > KEY_BYTES_MAX {
            return Err(key("is far too long for a key".into()));
        }
        let text = fs::read_to_string(path).map_err(disk)?;
        let secret = SecretKeyBox::from(text);
        // Without a password the other way would ask for one, and a script wait for ever.
        let secret = match password {
            Some(password) => secret.into_secret_key(Some(password)),
            None => secret.into_unencrypted_secret_key(),
        };
        let secret = secret.map_err(|error| key(error.to_string()))?;
        let public = PublicKey::from_secret_key(&secret);
        let public = public.map_err(|error| key(error.to_string()))?;
        Ok(Self { secret, public })
    }

    /// The public key as devices are given it.
    pub fn public(&self) -> String {
        self.public.to_base64()
    }

    /// `release` as a document of its channel.
    ///
    /// # Errors
    /// [`SigningError::Sign`]
    pub fn sign(&self, release: &Release) -> Result<Document, SigningError> {
        let text = serde_json::to_string(release);
        let text = text.map_err(|error| SigningError::Sign(error.to_string()))?;
        let comment = format!("{} {}", release.line, release.serial);
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            Cursor::new(&text),
            Some(&comment),
            Some("signature of a dunlin release"),
        );
        let signature = signature.map_err(|error| SigningError::Sign(error.to_string()))?;
        let envelope = Envelope {
            release: text,
            signature: signature.into_string(),
        };
        let bytes = serde_json::to_vec(&envelope);
        Ok(Document {
            serial: release.serial,
            bytes: bytes.map_err(|error| SigningError::Sign(error.to_string()))?,
        })
    }
}

/// Where the public key of the key in `path` is.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), SigningError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options.open(path).and_then(|mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| SigningError::Disk {
        path: path.to_owned(),
        source,
    })
}
