//! What flags and the environment say; they win over the file.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::config::{
    diagnostic::{Diagnostics, Origin, suggest},
    schema::{
        self, DATABASE_FLAG, DATABASE_VARIABLE_PREFIX, SETTINGS, Setting, TOPIC_FLAG,
        TOPIC_VARIABLE, VARIABLE_PREFIX, kind::Kind,
    },
};

/// Settings from the command line and from `DUNLIN_...` variables.
///
/// As part of a clap command (`#[command(flatten)]`) it adds the flags and takes the variables of
/// this process too. Debug output shows names, never values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// By path.
    flags: BTreeMap<&'static str, String>,
    /// By name; `None`: not UTF-8.
    variables: BTreeMap<String, Option<String>>,
    /// `[NAME=]FILTER` as given.
    topics: Vec<String>,
    /// `KEY=VALUE` as given.
    database: Vec<String>,
}

/// A text and where it was given.
pub(in crate::config) type Override<'a> = (Origin, &'a str);

impl Overrides {
    /// Sets the flag of the setting at `path`, such as `mqtt.url`.
    ///
    /// # Panics
    /// If there is no such setting: a mistake in the program, not in its input.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<String>) -> Self {
        let setting = schema::find(path);
        let setting = setting.unwrap_or_else(|| panic!("there is no setting `{path}`"));
        self.flags.insert(setting.path, value.into());
        self
    }

    /// Adds a `--topic [NAME=]FILTER`.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Takes every variable of ours among `variables`.
    #[must_use]
    pub fn with_variables(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if name.starts_with(VARIABLE_PREFIX) {
                self.variables.insert(name, value.into_string().ok());
            }
        }
        self
    }

    /// The override of one setting, flag before variable. An empty variable counts as not set
    /// where empty is no value.
    pub(in crate::config) fn of(&self, setting: &Setting) -> Option<Override<'_>> {
        if let Some(value) = self.flags.get(setting.path) {
            return Some((Origin::Flag(format!("--{}", setting.flag())), value));
        }
        let variable = setting.variable();
        let value = self.variables.get(&variable)?.as_deref()?;
        let may_be_empty = matches!(setting.kind, Kind::Listen | Kind::Text { bytes_min: 0, .. });
        (may_be_empty || !value.is_empty()).then_some((Origin::Variable(variable), value))
    }

    /// Every topic given: those of the flags, or else those of the variable.
    pub(in crate::config) fn topics(&self) -> Vec<Override<'_>> {
        if !self.topics.is_empty() {
            let flag = || Origin::Flag(format!("--{TOPIC_FLAG}"));
            return self.topics.iter().map(|t| (flag(), t.as_str())).collect();
        }
        let origin = || Origin::Variable(TOPIC_VARIABLE.into());
        let variable = self.variables.get(TOPIC_VARIABLE);
        variable
            .and_then(Option::as_deref)
            .into_iter()
            .flat_map(str::lines)
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| (origin(), line))
            .collect()
    }

    /// Options of the central database as (origin, key, value), weakest first.
    pub(in crate::config) fn database(
        &self,
        found: &mut Diagnostics,
    ) -> Vec<(Origin, String, String)> {
        let mut options = Vec::new();
        for (name, value) in &self.variables {
            let key = name.strip_prefix(DATABASE_VARIABLE_PREFIX);
            if let (Some(key), Some(value)) = (key, value) {
                let origin = Origin::Variable(name.clone());
                options.push((origin, key.to_lowercase(), value.clone()));
            }
        }
        for option in &self.database {
            let origin = Origin::Flag(format!("--{DATABASE_FLAG}"));
            match option.split_once('=') {
                Some((key, value)) => options.push((origin, key.into(), value.into())),
                None => found.error(
                    &origin,
                    format!("`{option}` has no ="),
                    "write KEY=VALUE, such as keep=3650",
                ),
            }
        }
        options
    }

    /// Variables that cannot be read (mistakes) or that nothing reads (warnings).
    pub(in crate::config) fn check_variables(&self, found: &mut Diagnostics) {
        let known: Vec<String> = SETTINGS
            .iter()
            .map(Setting::variable)
            .chain([TOPIC_VARIABLE.into()])
            .collect();
        for (name, value) in &self.variables {
            let origin = Origin::Variable(name.clone());
            let is_ours = known.contains(name) || name.starts_with(DATABASE_VARIABLE_PREFIX);
            if is_ours {
                if value.is_none() {
                    found.error(&origin, "is not UTF-8", "write it in UTF-8");
                }
                continue;
            }
            let near = suggest::nearest(name, known.iter().map(String::as_str));
            found.warning(
                &origin,
                "no setting has this name; it is ignored",
                near.map(|near| format!("did you mean {near}?"))
                    .unwrap_or_default(),
            );
        }
    }
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overrides")
            .field("flags", &self.flags.keys())
            .field("variables", &self.variables.keys())
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut overrides = Self::default();
        overrides.update_from_arg_matches(matches)?;
        Ok(overrides.with_variables(std::env::vars_os()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            // A password has no flag: to ask for it is an error, not a None.
            if let Ok(Some(value)) = matches.try_get_one::<String>(setting.path) {
                self.flags.insert(setting.path, value.clone());
            }
        }
        for (flag, list) in [
            (TOPIC_FLAG, &mut self.topics),
            (DATABASE_FLAG, &mut self.database),
        ] {
            if let Ok(Some(values)) = matches.try_get_many::<String>(flag) {
                list.extend(values.cloned());
            }
        }
        Ok(())
    }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        schema::flags(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        schema::flags(command)
    }
}

#[cfg(test)]
mod tests;
