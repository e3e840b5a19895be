//! Examines a device and a configuration: what will be in the agent's way, and what to do about it.
//!
//! Promises: every finding that is not well says what to do; nothing is changed, except that a small
//! file is written into the data directory and removed, to measure the disk; everything remote has a
//! time-out; no finding holds a secret.

mod broker;
mod clock;
mod data;
mod disk;
mod files;
mod kept_back;
mod machine;
mod upstream;
mod window;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    config::{Diagnostic, settings::Settings},
    record::clock::System,
};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, until something happens.
    Warning,
    /// The agent cannot do its work like this.
    Problem,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How well it is.
    pub level: Level,
    /// What it is like.
    pub what: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

/// Everything found, in the order of looking.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        about: &'static str,
        level: Level,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding {
            about,
            level,
            what: what.into(),
            advice: advice.into(),
        });
    }

    fn ok(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(about, Level::Ok, what, "");
    }

    fn note(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(about, Level::Note, what, advice);
    }

    fn warning(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(about, Level::Warning, what, advice);
    }

    /// Names a warning before everything else.
    fn warning_first(
        &mut self,
        about: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let finding = Finding {
            about,
            level: Level::Warning,
            what: what.into(),
            advice: advice.into(),
        };
        self.0.insert(0, finding);
    }

    fn problem(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(about, Level::Problem, what, advice);
    }
}

/// Where the kernel tells about the machine.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }
}

/// What is examined.
#[derive(Debug)]
pub struct Patient<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// The file it came from.
    pub file: Option<&'a Path>,
    /// What works in it but is probably not meant.
    pub warnings: &'a [Diagnostic],
    /// Where the machine is described.
    pub roots: Roots,
}

/// Looks at everything.
pub async fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let (settings, roots) = (patient.settings, &patient.roots);
    let mut found = Findings::default();
    files::examine(patient.file, patient.warnings, &mut found);
    clock::examine(&System::default(), &roots.sys, settings, &mut found);
    machine::examine(roots, heat_limit_c(settings), &mut found);
    disk::examine(settings, &mut found);
    data::examine(settings, &mut found).await;
    broker::examine(settings, &mut found).await;
    upstream::examine(settings, &mut found).await;
    found.0
}

/// Above this learning pauses, degrees Celsius; `None`: nothing is learnt.
#[cfg(feature = "learning")]
fn heat_limit_c(settings: &Settings) -> Option<f64> {
    let learn = &settings.learn;
    (!learn.recipes.is_empty()).then_some(learn.temperature_c_max)
}

#[cfg(not(feature = "learning"))]
const fn heat_limit_c(_settings: &Settings) -> Option<f64> {
    None
}

#[cfg(test)]
mod tests;
