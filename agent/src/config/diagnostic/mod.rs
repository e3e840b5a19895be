//! What is wrong with a configuration, where, and what to do about it. Never a secret.

pub(in crate::config) mod suggest;

use std::{fmt, path::PathBuf};

/// Where a value came from; ordered by precedence, weakest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
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

impl Place {
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

impl fmt::Display for Place {
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

/// One mistake: the agent does not start with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n    {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistake {}

/// Something that works but is probably not meant; same parts as a mistake.
pub type Warning = Mistake;

/// Everything found so far.
#[derive(Debug, Default)]
pub(in crate::config) struct Findings {
    pub(in crate::config) mistakes: Vec<Mistake>,
    pub(in crate::config) warnings: Vec<Warning>,
}

impl Findings {
    pub(in crate::config) fn mistake(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            place: place.clone(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(in crate::config) fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.warnings.push(Warning {
            place: place.clone(),
            message: message.into(),
            hint: hint.into(),
        });
    }
}

/// Why a value cannot be taken, and what to write instead; without the value where it may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Wrong {
    pub(in crate::config) message: String,
    pub(in crate::config) hint: String,
}

pub(in crate::config) fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        message: message.into(),
        hint: hint.into(),
    }
}
