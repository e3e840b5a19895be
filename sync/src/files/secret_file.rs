//! A password in a file of its own.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Longest password in a file, bytes.
pub const PASSWORD_BYTES_MAX: usize = 65_535;

/// A file that gives no password. The text never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is empty, too long, not text or more than a line.
    #[error("holds no password")]
    NoPassword,
}

/// The password in the file at `path`: its one line, without the line break that editors add.
///
/// # Errors
/// [`SecretFileError`]
pub fn read(path: &Path) -> Result<String, SecretFileError> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(PASSWORD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    let mut text = String::from_utf8(bytes).map_err(|_| SecretFileError::NoPassword)?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    let fits = !text.is_empty() && text.len() <= PASSWORD_BYTES_MAX;
    if fits && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(SecretFileError::NoPassword)
    }
}

/// A password that follows the file it came from. Never printed, not even by `Debug`.
#[derive(Clone)]
pub struct FollowedPassword {
    text: String,
    file: Option<PathBuf>,
    /// What is wrong with the file, so that it is said once.
    problem: Option<String>,
}

impl fmt::Debug for FollowedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FollowedPassword {
    /// `text` until `file`, if there is one, holds another.
    pub fn new(text: String, file: Option<PathBuf>) -> Self {
        Self {
            text,
            file,
            problem: None,
        }
    }

    /// The password for a new connection. A file that gives none is said once, and the password is
    /// the one before.
    pub fn current(&mut self) -> &str {
        if let Some(path) = &self.file {
            match read(path) {
                Ok(text) => {
                    if text != self.text {
                        // The first one is no change.
                        if !self.text.is_empty() {
                            tracing::info!(path = %path.display(), "the password has changed");
                        }
                        self.text = text;
                    }
                    self.problem = None;
                }
                Err(error) => {
                    let problem = error.to_string();
                    if self.problem.as_ref() != Some(&problem) {
                        tracing::warn!(path = %path.display(), %problem, "the password stays as it was");
                        self.problem = Some(problem);
                    }
                }
            }
        }
        &self.text
    }

    /// The password as it was last.
    pub fn last(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests;
