//! Passwords: where they may come from, and whether their files can be used.

use std::path::{Path, PathBuf};

use dunlin_sync::files::secret_file::{self, SecretFileError};

use crate::config::{
    diagnostic::{Diagnostics, Origin},
    read::values::Values,
    schema::{Setting, key::ConnectionKeys},
    settings::Secret,
};

/// The password of one side: of the URL, the setting and the file, whichever was given with the
/// highest precedence, and its file if that is what gave it. Two of the same precedence are a mistake.
pub(super) fn password(
    keys: &ConnectionKeys,
    in_url: Option<&str>,
    values: &Values,
    found: &mut Diagnostics,
) -> Option<(Secret, Option<PathBuf>)> {
    let given = ways(keys, in_url.is_some(), values);
    let (way, origin) = given.iter().max_by_key(|(_, origin)| origin.layer())?;
    let rivals = given
        .iter()
        .filter(|(_, other)| other.layer() == origin.layer());
    if rivals.count() > 1 {
        let names: Vec<&str> = given.iter().map(|(way, _)| way.path).collect();
        found.error(
            origin,
            format!(
                "the password is given more than once ({})",
                names.join(", ")
            ),
            format!("keep one of them, best {}", keys.password_file.path),
        );
    }
    if way.path == keys.password_file.path {
        let file = values.maybe(&keys.password_file)?;
        let text = read_password(way.path, &file, origin, found)?;
        // The agent may have another working directory by then.
        let file = std::path::absolute(&file).unwrap_or(file);
        return Some((Secret::new(text), Some(file)));
    }
    if way.path == keys.password.path {
        return Some((values.maybe(&keys.password)?, None));
    }
    if matches!(origin, Origin::Flag(_)) {
        found.warning(
            origin,
            "the password in it is visible to every user of this machine, in the list of processes",
            format!("use --{} or the variable", keys.password_file.flag()),
        );
    }
    Some((Secret::new(in_url?.to_owned()), None))
}

/// The settings that give a password, and where each was given.
fn ways<'a>(
    keys: &'a ConnectionKeys,
    is_in_url: bool,
    values: &Values,
) -> Vec<(&'a Setting, Origin)> {
    let (url, text, file) = (
        &keys.url.setting,
        &keys.password.setting,
        &keys.password_file.setting,
    );
    let ways = [
        (url, is_in_url),
        (text, values.is_set(text)),
        (file, values.is_set(file)),
    ];
    ways.into_iter()
        .filter(|(_, gives_one)| *gives_one)
        .map(|(way, _)| (way, values.origin(way)))
        .collect()
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
