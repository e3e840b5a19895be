//! What is wrong with a configuration, where it was given, and what to do about it. Never a secret.

pub(in crate::config) mod suggest;

use std::{fmt, path::PathBuf};

/// Where a value came from; ordered by precedence, weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere in particular: a default, or something missing without a file.
    Settings,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line and column, both from 1, columns in characters; `None`: the file as a whole.
        at: Option<(usize, usize)>,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A command-line flag, with its dashes.
    Flag(String),
}

impl Origin {
    /// Precedence: the larger wins.
    pub(in crate::config) fn layer(&self) -> u8 {
        match self {
            Self::Settings => 0,
            Self::File { .. } => 1,
            Self::Variable(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    /// The line in the file, if it is one.
    pub(in crate::config) fn line(&self) -> Option<usize> {
        match self {
            Self::File { at, .. } => at.map(|(line, _)| line),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::File { path, at: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                at: Some((line, column)),
            } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One finding about what was given, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Diagnostic {
    /// About a value whose name and origin only the caller knows; see [`Self::about`].
    pub(in crate::config) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            origin: Origin::Settings,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The same about `what`, which was given at `origin`.
    pub(in crate::config) fn about(self, what: impl fmt::Display, origin: Origin) -> Self {
        Self {
            origin,
            message: format!("{what}: {}", self.message),
            hint: self.hint,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n    {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Everything found so far.
#[derive(Debug, Default)]
pub(in crate::config) struct Diagnostics {
    /// The agent does not start with these.
    pub(in crate::config) errors: Vec<Diagnostic>,
    /// What works but is probably not meant.
    pub(in crate::config) warnings: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(in crate::config) fn error(
        &mut self,
        origin: &Origin,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(Diagnostic {
            origin: origin.clone(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(in crate::config) fn warning(
        &mut self,
        origin: &Origin,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.warnings.push(Diagnostic {
            origin: origin.clone(),
            message: message.into(),
            hint: hint.into(),
        });
    }
}
