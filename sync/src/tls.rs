//! One place for TLS: current rustls, verified certificates, a private CA and a client certificate
//! where named, never a fall-back to plain.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::lock::unpoisoned;

/// Certificates and keys, by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Private CA in PEM; the system's store otherwise.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain in PEM; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Client private key in PEM; needs `cert_file`.
    pub key_file: Option<PathBuf>,
}

/// A TLS file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read or holds nothing usable.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The parts do not fit together.
    #[error("{0}")]
    Setup(String),
}

// By value: it is given to `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn file_error(path: &std::path::Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// A client configuration that verifies the server against `files.ca_file` or the system's store.
///
/// # Errors
/// [`TlsError`] naming the file that cannot be used, or what is missing.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca_file {
        let certs = CertificateDer::pem_file_iter(path).map_err(|e| file_error(path, e))?;
        for cert in certs {
            let cert = cert.map_err(|e| file_error(path, e))?;
            roots.add(cert).map_err(|e| file_error(path, e))?;
        }
        if roots.is_empty() {
            return Err(file_error(path, "no certificate in it"));
        }
    } else {
        for cert in rustls_native_certs::load_native_certs().certs {
            // A system store may hold a certificate that rustls cannot use; the rest still counts.
            let _unusable = roots.add(cert);
        }
        if roots.is_empty() {
            return Err(TlsError::Setup(
                "the system has no certificate store; name a CA file (ca_file)".into(),
            ));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Setup(e.to_string()))?
        .with_root_certificates(roots);
    let config = match (&files.cert_file, &files.key_file) {
        (Some(cert_path), Some(key_path)) => {
            let chain = CertificateDer::pem_file_iter(cert_path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| file_error(cert_path, e))?;
            let key =
                PrivateKeyDer::from_pem_file(key_path).map_err(|e| file_error(key_path, e))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| file_error(cert_path, e))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(TlsError::Setup(
                "a client certificate needs both cert_file and key_file".into(),
            ));
        }
    };
    Ok(Arc::new(config))
}

/// Where systems keep the authorities they trust.
const SYSTEM_STORES: [&str; 4] = [
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// A client configuration that follows its files: a new connection takes what they hold then.
pub struct FollowedTls {
    files: TlsFiles,
    state: Mutex<Followed>,
}

struct Followed {
    config: Arc<ClientConfig>,
    /// Of the files that `config` was made from.
    stamps: Vec<Option<Stamp>>,
    /// What is wrong with the files, so that it is said once.
    problem: Option<String>,
}

/// Differs between two contents of a file: inode, length, seconds and nanoseconds of its last change.
type Stamp = (u64, u64, i64, i64);

impl fmt::Debug for FollowedTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl FollowedTls {
    /// As [`client_config`].
    ///
    /// # Errors
    /// As there.
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let state = Followed {
            config: client_config(&files)?,
            stamps,
            problem: None,
        };
        Ok(Self {
            files,
            state: Mutex::new(state),
        })
    }

    /// The configuration for a new connection. Files that cannot be used, as while they are being
    /// replaced, are said once, and the configuration is the one before.
    pub fn current(&self) -> Arc<ClientConfig> {
        // Each change below is whole.
        let mut state = unpoisoned(self.state.lock());
        let stamps = self.files.stamps();
        if stamps != state.stamps {
            match client_config(&self.files) {
                Ok(config) => {
                    tracing::info!("certificates have changed; new connections take the new ones");
                    *state = Followed {
                        config,
                        stamps,
                        problem: None,
                    };
                }
                Err(error) => {
                    let problem = error.to_string();
                    if state.problem.as_ref() != Some(&problem) {
                        tracing::warn!(%problem, "certificates have changed; the old ones stay");
                        state.problem = Some(problem);
                    }
                }
            }
        }
        Arc::clone(&state.config)
    }
}

impl TlsFiles {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let named = [&self.ca_file, &self.cert_file, &self.key_file].into_iter();
        let mut paths: Vec<&Path> = named.flatten().map(PathBuf::as_path).collect();
        if self.ca_file.is_none() {
            paths.extend(SYSTEM_STORES.map(Path::new));
        }
        let stamp = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
        };
        paths.into_iter().map(stamp).collect()
    }
}
