//! The commands, one file each. Each returns an [`Exit`]; only `main` ends the process.

pub mod attempt;
#[cfg(feature = "learning")]
pub mod backtest;
#[cfg(feature = "learning")]
pub mod builder;
#[cfg(feature = "learning")]
mod centre;
pub mod check;
#[cfg(feature = "learning")]
pub mod cohort;
pub mod connection;
#[cfg(feature = "demo")]
pub mod demo;
pub mod discover;
pub mod doctor;
#[cfg(feature = "learning")]
pub mod evaluate;
pub mod export;
#[cfg(feature = "learning")]
pub mod fleet;
pub mod grid;
pub mod import;
pub mod init;
#[cfg(feature = "learning")]
pub mod jobs;
#[cfg(feature = "learning")]
pub mod learning;
mod listening;
#[cfg(feature = "learning")]
pub mod models;
pub mod quarantine;
#[cfg(feature = "learning")]
pub mod release;
pub mod run;
pub mod session;
pub mod simulate;
pub mod status;
pub mod tap;
pub mod terminal;
pub mod upload;

#[cfg(feature = "learning")]
use std::io::{ErrorKind, Write as _};
use std::{fmt, process::ExitCode};

/// Why a command ends other than well. The numbers are documented in the README.
#[derive(Debug)]
pub enum Exit {
    /// 1: it was tried and failed.
    Failed(String),
    /// 2: what was asked or configured is wrong; trying again will not help.
    Usage(String),
    /// 3: it worked, and what it found is not well (`check`, `status --verify`).
    Found(String),
}

impl Exit {
    /// The process's exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Found(_) => 3,
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Found(text) => f.write_str(text),
        }
    }
}

/// Mistakes in a configuration, one a line.
impl From<Vec<crate::config::Diagnostic>> for Exit {
    fn from(mistakes: Vec<crate::config::Diagnostic>) -> Self {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Self::Usage(lines.join("\n"))
    }
}

/// What a command ends with.
pub type Outcome = Result<(), Exit>;

/// Loads the configuration; warnings go to the log, mistakes become one [`Exit::Usage`].
///
/// # Errors
/// All mistakes, one a line.
pub fn settings(
    file: Option<&std::path::Path>,
    overrides: &crate::config::Overrides,
) -> Result<crate::config::settings::Settings, Exit> {
    let checked = crate::config::check(file, overrides);
    let settings = checked.settings?;
    crate::app::logging::init(&settings.log).map_err(|error| Exit::Usage(error.to_string()))?;
    for warning in checked.warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// One value as one line of JSON.
#[cfg(feature = "learning")]
fn print_json<T: serde::Serialize>(value: &T) -> Outcome {
    let text = serde_json::to_string(value);
    print(&(text.map_err(|error| Exit::Failed(error.to_string()))? + "\n"))
}

/// Prints a text that may be longer than its reader cares for, such as `head`.
#[cfg(feature = "learning")]
fn print(text: &str) -> Outcome {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Exit::Failed(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}
