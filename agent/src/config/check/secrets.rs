//! Passwords, certificates and keys: where they may come from, and whether their files can be used.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use dunlin_sync::{
    files::secret_file::{self, SecretFileError},
    tls::{TlsError, TlsFiles, client_config},
};

use crate::config::{
    diagnostic::{Diagnostics, Origin},
    read::values::Values,
    settings::Secret,
};

/// The password of `side` ("mqtt" or "upstream"): of the URL, the setting and the file, whichever
/// was given with the highest precedence, and its file if that is what gave it. Two of the same
/// precedence are a mistake.
pub(in crate::config) fn password(
    side: &str,
    in_url: Option<&str>,
    values: &Values,
    base: &Path,
    found: &mut Diagnostics,
) -> Option<(Secret, Option<PathBuf>)> {
    let [url_path, text_path, file_path] =
        ["url", "password", "password_file"].map(|key| format!("{side}.{key}"));
    let mut given: Vec<(&str, Origin)> = Vec::new();
    if in_url.is_some() {
        given.push((&url_path, values.origin(&url_path)));
    }
    for path in [&text_path, &file_path] {
        if values.is_set(path) {
            given.push((path, values.origin(path)));
        }
    }
    let (path, origin) = given.iter().max_by_key(|(_, origin)| origin.layer())?;
    let rivals = given
        .iter()
        .filter(|(_, other)| other.layer() == origin.layer());
    if rivals.count() > 1 {
        let names: Vec<&str> = given.iter().map(|(path, _)| *path).collect();
        found.error(
            origin,
            format!(
                "the password is given more than once ({})",
                names.join(", ")
            ),
            format!("keep one of them, best {file_path}"),
        );
    }
    let mut from = None;
    let text = if *path == file_path {
        let file = values.file(&file_path, base)?;
        let text = read_password(&file_path, &file, origin, found)?;
        // The agent may have another working directory by then.
        from = Some(std::path::absolute(&file).unwrap_or(file));
        text
    } else if *path == text_path {
        values.text(&text_path)?.to_owned()
    } else {
        in_url?.to_owned()
    };
    if matches!(origin, Origin::Flag(_)) && *path == url_path {
        found.warning(
            origin,
            "the password in it is visible to every user of this machine, in the list of processes",
            format!("use --{side}-password-file or the variable"),
        );
    }
    Some((Secret::new(text), from))
}

fn read_password(
    setting: &str,
    path: &Path,
    origin: &Origin,
    found: &mut Diagnostics,
) -> Option<String> {
    let shown = path.display();
    let read = secret_file::read(path);
    if !matches!(read, Err(SecretFileError::Io(_))) {
        warn_if_readable_by_others(setting, path, origin, found);
    }
    read.inspect_err(|error| {
        let hint = match error {
            SecretFileError::Io(_) => "name a file that this user may read",
            SecretFileError::NoPassword => {
                "the file holds the password on one line and nothing else"
            }
        };
        found.error(origin, format!("{setting}: {shown} {error}"), hint);
    })
    .ok()
}

/// Certificates and keys of `side`, which are read once to see whether they can be used.
/// `is_tls` is `None` if the URL does not say.
pub(in crate::config) fn tls_files(
    side: &str,
    is_tls: Option<bool>,
    values: &Values,
    base: &Path,
    found: &mut Diagnostics,
) -> TlsFiles {
    let paths = ["ca_file", "cert_file", "key_file"].map(|key| format!("{side}.{key}"));
    let [ca, cert, key] = paths.each_ref().map(|path| values.file(path, base));
    let files = TlsFiles {
        ca_file: ca,
        cert_file: cert,
        key_file: key,
    };
    let errors_before = found.errors.len();
    for path in &paths {
        let Some(file) = values.file(path, base) else {
            continue;
        };
        let origin = values.origin(path);
        if is_tls == Some(false) {
            let tls = if side == "mqtt" {
                "mqtts://"
            } else {
                "tdengines://"
            };
            found.error(
                &origin,
                format!("{path}: the connection is not encrypted"),
                format!("write {side}.url with {tls}, or remove it"),
            );
        } else if let Err(error) = File::open(&file).and_then(|f| f.metadata()) {
            let message = format!("{path}: {} cannot be read: {error}", file.display());
            found.error(&origin, message, "name a PEM file that this user may read");
        }
    }
    for (one, other, file) in [
        (&paths[1], &paths[2], &files.cert_file),
        (&paths[2], &paths[1], &files.key_file),
    ] {
        if file.is_some() && !values.is_set(other) && !values.is_bad(other) {
            let message = format!("{one}: is set without {other}");
            found.error(
                &values.origin(one),
                message,
                format!("set {other} too, or neither"),
            );
        }
    }
    if let Some(key) = &files.key_file {
        warn_if_readable_by_others(&paths[2], key, &values.origin(&paths[2]), found);
    }
    if is_tls == Some(true) && found.errors.len() == errors_before {
        check_usable(side, &files, values, &paths, base, found);
    }
    files
}

fn check_usable(
    side: &str,
    files: &TlsFiles,
    values: &Values,
    paths: &[String; 3],
    base: &Path,
    found: &mut Diagnostics,
) {
    let Err(error) = client_config(files) else {
        return;
    };
    let culprit = match &error {
        TlsError::File { path, .. } => {
            let mut settings = paths.iter();
            settings.find(|setting| values.file(setting, base).as_ref() == Some(path))
        }
        TlsError::Setup(_) => None,
    };
    let url = format!("{side}.url");
    let setting = culprit.unwrap_or(&url);
    found.error(
        &values.origin(setting),
        format!("{setting}: TLS cannot be set up: {error}"),
        "certificates and keys are PEM files: -----BEGIN CERTIFICATE-----, ... PRIVATE KEY-----",
    );
}

/// Secrets that a container's runtime mounts are readable inside on purpose.
const MOUNTED: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// Warns about a secret in a file that other users may read.
pub(in crate::config) fn warn_if_readable_by_others(
    what: &str,
    path: &Path,
    origin: &Origin,
    found: &mut Diagnostics,
) {
    if readable_by_others(path) && !MOUNTED.iter().any(|mounted| path.starts_with(mounted)) {
        found.warning(
            origin,
            format!(
                "{what}: other users may read the secret in {}",
                path.display()
            ),
            format!("chmod 600 {}", path.display()),
        );
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> bool {
    false
}

impl Values {
    /// The file or directory at `path`: relative to `base` where the file names it or nobody does,
    /// to the working directory where a flag or variable does.
    pub(in crate::config) fn file(&self, path: &str, base: &Path) -> Option<PathBuf> {
        let text = self.text(path)?;
        Some(match self.origin(path) {
            Origin::Flag(_) | Origin::Variable(_) => PathBuf::from(text),
            Origin::File { .. } | Origin::Settings => base.join(text),
        })
    }
}
