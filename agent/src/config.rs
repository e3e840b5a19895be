//! Configuration: a file, variables and flags, checked as a whole.
//!
//! Promises: every mistake is reported, not only the first, each with its place, what is wrong and
//! what to do; what [`load`] returns needs no further check; no message holds a secret.
//!
//! Precedence: flag, then variable, then file, then default. Relative paths in the file (and the
//! default data directory, if there is a file) are relative to the file's directory; those of
//! flags and variables to the working directory.
//!
//! `schema` says which settings there are; `read` finds out what was given for each; `check` looks
//! at them together.

mod check;
mod diagnostic;
mod read;
pub(crate) mod schema;
pub mod settings;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use self::{
    check::{inputs::Inputs, secrets},
    diagnostic::Diagnostics,
    read::{
        source::Source,
        values::{Tables, Values},
    },
    schema::keys::device,
};
pub use self::{
    diagnostic::{Diagnostic, Origin},
    read::overrides::Overrides,
};
use crate::{config::settings::Settings, own::Own};

/// A whole configuration for a real broker and a real database, in twenty lines.
pub const EXAMPLE: &str = r#"device = "press-7"

[mqtt]
url = "mqtt://broker.example:1883"

[upstream]
url = "tdengine://root:taosdata@tdengine.example:6041/plant"

[upstream.database]
keep = 3650

[[stream]]
name = "vibration"
topic = "plant/+line/+machine/vibration"
time = "/time"
split = { method = "block", train = 0.8, run_s = 60 }

[[stream]]
name = "temperature"
topic = "plant/+line/+machine/temperature"
format = "number"
"#;

/// The outcome of looking at a configuration.
#[derive(Debug)]
pub struct Checked {
    /// The settings, or every mistake in the order of the file, then variables, then flags.
    pub settings: Result<Settings, Vec<Diagnostic>>,
    /// What works but is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// A time as it is written for a setting in milliseconds: `250`, `"2 s"`, `"1.5 h"`.
///
/// # Errors
/// A text for people.
pub(crate) fn millis(text: &str) -> Result<u64, String> {
    let kind = schema::kind::count_of_millis::<u64>(0, i64::MAX as u64 / 1_000_000);
    let read = read::parse::from_text(&kind.kind, text);
    read.map(|value| (kind.read)(&value))
        .map_err(|diagnostic| format!("{}; {}", diagnostic.message, diagnostic.hint))
}

/// Reads and checks `file` (if any), the variables and the flags.
///
/// # Errors
/// Every mistake found.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Settings, Vec<Diagnostic>> {
    check(file, overrides).settings
}

/// As [`load`], with the warnings.
pub fn check(file: Option<&Path>, overrides: &Overrides) -> Checked {
    checked(file, overrides, check::settings)
}

/// As [`load`], for a program with recipes or upstreams of its own, which a `[[recipe]]` names as
/// `algorithm = "custom:NAME"`, and `[upstream]` as `url = "custom:NAME"`.
///
/// # Errors
/// Every mistake found.
pub fn load_with(
    file: Option<&Path>,
    overrides: &Overrides,
    own: &Own,
) -> Result<Settings, Vec<Diagnostic>> {
    check_with(file, overrides, own).settings
}

/// As [`check`], of a file that is not there yet.
pub(crate) fn check_text(path: &Path, text: &str, overrides: &Overrides) -> Checked {
    let mut found = Diagnostics::default();
    let source = Source::of_text(path, text.to_owned());
    let settings = with_source(
        Some(path),
        Some(&source),
        overrides,
        &mut found,
        check::settings,
    );
    finished(Some(settings), found)
}

/// As [`load_with`], with the warnings.
pub fn check_with(file: Option<&Path>, overrides: &Overrides, own: &Own) -> Checked {
    checked(file, overrides, |inputs, found| {
        let own = Some(own);
        check::settings(&Inputs { own, ..*inputs }, found)
    })
}

fn checked(
    file: Option<&Path>,
    overrides: &Overrides,
    build: impl FnOnce(&Inputs<'_>, &mut Diagnostics) -> Settings,
) -> Checked {
    let mut found = Diagnostics::default();
    let settings = with_inputs(file, overrides, &mut found, build);
    finished(settings, found)
}

fn finished(settings: Option<Settings>, mut found: Diagnostics) -> Checked {
    found.errors.sort();
    found.warnings.sort();
    Checked {
        settings: match settings {
            Some(settings) if found.errors.is_empty() => Ok(settings),
            _ => Err(found.errors),
        },
        warnings: found.warnings,
    }
}

/// The data directory alone, for commands that talk to a running agent or read what it left:
/// mistakes elsewhere do not matter to them.
///
/// # Errors
/// Every mistake, if the file cannot be read, is not TOML, or `data_dir` cannot be used.
pub fn data_dir(file: Option<&Path>, overrides: &Overrides) -> Result<PathBuf, Vec<Diagnostic>> {
    let mut found = Diagnostics::default();
    let dir = with_inputs(file, overrides, &mut found, |inputs, found| {
        let before = found.errors.len();
        let dir = check::data_dir(inputs.values, found);
        let is_sound = found.errors.len() == before
            && inputs.syntax_is_sound
            && !inputs.values.is_bad(&device::DATA_DIR);
        is_sound.then_some(dir)
    });
    found.errors.sort();
    dir.flatten().ok_or(found.errors)
}

/// Reads everything given and hands it to `then`; `None` if the file cannot be read.
fn with_inputs<T>(
    file: Option<&Path>,
    overrides: &Overrides,
    found: &mut Diagnostics,
    then: impl FnOnce(&Inputs<'_>, &mut Diagnostics) -> T,
) -> Option<T> {
    let source = match file.map(|path| Source::open(path, found)) {
        Some(None) => {
            let nowhere = nowhere(file);
            Values::new(nowhere, base(file)).read_overrides(overrides, found);
            return None;
        }
        source => source.flatten(),
    };
    Some(with_source(file, source.as_ref(), overrides, found, then))
}

fn nowhere(file: Option<&Path>) -> Origin {
    file.map_or(Origin::Settings, |path| Origin::File {
        path: path.to_owned(),
        at: None,
    })
}

fn base(file: Option<&Path>) -> &Path {
    file.and_then(Path::parent).unwrap_or(Path::new(""))
}

fn with_source<T>(
    file: Option<&Path>,
    source: Option<&Source>,
    overrides: &Overrides,
    found: &mut Diagnostics,
    then: impl FnOnce(&Inputs<'_>, &mut Diagnostics) -> T,
) -> T {
    let mut values = Values::new(nowhere(file), base(file));
    let document = source.map(|source| source.parse(found)).unwrap_or_default();
    let broken_lines: BTreeSet<_> = found
        .errors
        .iter()
        .map(|error| error.origin.line())
        .collect();
    let syntax_errors = found.errors.len();
    let mut tables = Tables::default();
    if let (Some(source), Some(path)) = (source, file) {
        tables = values.read_file(source, &document, found);
        if let Some(origin) = &tables.password {
            secrets::warn_if_readable_by_others("this file", path, origin, found);
        }
    }
    values.read_overrides(overrides, found);
    let inputs = Inputs {
        values: &values,
        source,
        tables: &tables,
        overrides,
        syntax_is_sound: syntax_errors == 0,
        own: None,
    };
    let result = then(&inputs, found);
    if syntax_errors > 0 {
        // What a broken line was to say is not known: what seems missing may be there, and what
        // the parser made of the rest of the line was not written by anybody.
        let mut index = 0;
        found.errors.retain(|error| {
            index += 1;
            let is_consequence = match error.origin {
                Origin::Settings => true,
                Origin::File { .. } => {
                    error.origin.line().is_none() || broken_lines.contains(&error.origin.line())
                }
                _ => false,
            };
            index <= syntax_errors || !is_consequence
        });
    }
    result
}

// Their small configurations name no upstream: the default is a SQLite file.
#[cfg(all(test, feature = "sqlite"))]
mod tests;
