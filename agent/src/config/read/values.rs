//! Reads the file into values with their places, then lays variables and flags over them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    overrides::Overrides,
    parse::{self as value, Value},
    urls,
};
use crate::config::{
    diagnostic::{Diagnostic, Diagnostics, Origin, suggest},
    schema::{
        self as registry, DATABASE_TABLE, DefaultValue, Kind, RECIPE_TABLE, SETTINGS, STREAM_TABLE,
    },
};

/// No configuration is longer; a device file or a log named by mistake is.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of a file, and how to name places in it.
pub(in crate::config) struct Source {
    path: PathBuf,
    text: String,
    /// Byte at which each line starts.
    line_starts: Vec<usize>,
}

impl Source {
    /// SHA-256 of the file, in hexadecimal.
    pub(in crate::config) fn sha256(&self) -> String {
        let hash = Sha256::digest(self.text.as_bytes());
        hash.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ok = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads a file.
    pub(in crate::config) fn open(path: &Path, found: &mut Diagnostics) -> Option<Self> {
        let origin = Origin::File {
            path: path.to_owned(),
            at: None,
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run dunlin as a user who may read it, or let its group do so: chmod 640, chgrp"
                }
                _ => "`dunlin init` writes one; name it with -c",
            };
            found.error(&origin, format!("cannot be read: {error}"), hint);
            return None;
        }
        if bytes.len() as u64 > FILE_BYTES_MAX {
            found.error(&origin, "is longer than 1 MiB", "name a dunlin.toml");
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let newlines = text.match_indices('\n');
                let after = newlines.map(|(at, _)| at + 1);
                Some(Self {
                    path: path.to_owned(),
                    line_starts: std::iter::once(0).chain(after).collect(),
                    text,
                })
            }
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = before.split(|b| *b == b'\n').count();
                let origin = Origin::File {
                    path: path.to_owned(),
                    at: Some((line, 1)),
                };
                found.error(&origin, "is not UTF-8", "save the file as UTF-8");
                None
            }
        }
    }

    /// Where `span` starts.
    pub(in crate::config) fn origin(&self, span: Range<usize>) -> Origin {
        let start = self.text.floor_char_boundary(span.start);
        let line = self
            .line_starts
            .partition_point(|line_start| *line_start <= start);
        let line_start = self.line_starts[line - 1];
        let column = self.text[line_start..start].chars().count() + 1;
        Origin::File {
            path: self.path.clone(),
            at: Some((line, column)),
        }
    }

    /// Parses the text as far as it goes; mistakes of syntax are reported, all of them.
    pub(in crate::config) fn parse(&self, found: &mut Diagnostics) -> DeTable<'_> {
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors {
            let end = self.text.len();
            let origin = self.origin(error.span().unwrap_or(end..end));
            found.error(
                &origin,
                format!("not TOML: {}", error.message()),
                "texts stand in quotes, tables in [brackets], each setting on its own line",
            );
        }
        document.into_inner()
    }
}

/// A value and where it was given.
#[derive(Clone, Debug)]
struct Given {
    value: Value,
    origin: Origin,
}

/// Every scalar setting, after file, variables and flags.
pub(in crate::config) struct Values {
    given: BTreeMap<&'static str, Given>,
    /// Settings given with a mistake: nothing more is said about them.
    bad: BTreeSet<&'static str>,
    /// Where to point when something is missing.
    pub(in crate::config) nowhere: Origin,
}

/// The parts of the file that are not scalar settings.
#[derive(Default)]
pub(in crate::config) struct Tables<'a> {
    /// Each `[[stream]]` with its span.
    pub(in crate::config) streams: Vec<&'a Spanned<DeValue<'a>>>,
    /// `stream` is there, but is no list.
    pub(in crate::config) stream_is_bad: bool,
    /// Each `[[recipe]]` with its span.
    pub(in crate::config) recipes: Vec<&'a Spanned<DeValue<'a>>>,
    /// `[upstream.database]`.
    pub(in crate::config) database: Option<&'a DeTable<'a>>,
    /// The first password written in the file.
    pub(in crate::config) password: Option<Origin>,
}

impl Values {
    /// Nothing but defaults.
    pub(in crate::config) fn defaults(nowhere: Origin) -> Self {
        let mut given = BTreeMap::new();
        for setting in SETTINGS {
            if let DefaultValue::Is(text) = setting.default
                && let Ok(value) = value::from_text(&setting.kind, text)
            {
                let origin = Origin::Settings;
                given.insert(setting.path, Given { value, origin });
            }
        }
        Self {
            given,
            bad: BTreeSet::new(),
            nowhere,
        }
    }

    /// Lays the file over it.
    pub(in crate::config) fn read_file<'a>(
        &mut self,
        source: &Source,
        document: &'a DeTable<'a>,
        found: &mut Diagnostics,
    ) -> Tables<'a> {
        let mut tables = Tables::default();
        self.read_table(source, document, "", &mut tables, found);
        tables
    }

    fn read_table<'a>(
        &mut self,
        source: &Source,
        table: &'a DeTable<'a>,
        prefix: &str,
        tables: &mut Tables<'a>,
        found: &mut Diagnostics,
    ) {
        for (key, spanned) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            let value_origin = source.origin(spanned.span());
            let value = spanned.get_ref();
            if let Some(setting) = registry::find(&path) {
                if holds_password(setting, value) {
                    tables.password.get_or_insert(value_origin.clone());
                }
                let read = value::from_toml(&setting.kind, value);
                self.take(setting, read, value_origin, found);
            } else if path == STREAM_TABLE {
                if let Some(list) = value.as_array() {
                    tables.streams.extend(list.iter());
                } else {
                    tables.stream_is_bad = true;
                    found.error(
                        &source.origin(key.span()),
                        format!("stream: is {}", value::type_name(value)),
                        "each stream starts with [[stream]], in double brackets",
                    );
                }
            } else if path == RECIPE_TABLE {
                if let Some(list) = value.as_array() {
                    tables.recipes.extend(list.iter());
                } else {
                    found.error(
                        &source.origin(key.span()),
                        format!("recipe: is {}", value::type_name(value)),
                        "each recipe starts with [[recipe]], in double brackets",
                    );
                }
            } else if path == DATABASE_TABLE || is_table(&path) {
                match value.as_table() {
                    Some(options) if path == DATABASE_TABLE => tables.database = Some(options),
                    Some(inner) => self.read_table(source, inner, &path, tables, found),
                    None => found.error(
                        &value_origin,
                        format!("{path}: is {}", value::type_name(value)),
                        format!("write [{path}] on a line of its own and its settings below"),
                    ),
                }
            } else {
                found.error(
                    &source.origin(key.span()),
                    format!("{path}: there is no such setting"),
                    unknown_hint(prefix, key.get_ref()),
                );
            }
        }
    }

    /// Lays variables and flags over it.
    pub(in crate::config) fn read_overrides(
        &mut self,
        overrides: &Overrides,
        found: &mut Diagnostics,
    ) {
        overrides.check_variables(found);
        for setting in SETTINGS {
            if let Some((origin, text)) = overrides.of(setting) {
                let read = value::from_text(&setting.kind, text);
                self.take(setting, read, origin, found);
            }
        }
    }

    fn take(
        &mut self,
        setting: &'static registry::Setting,
        read: Result<Value, Diagnostic>,
        origin: Origin,
        found: &mut Diagnostics,
    ) {
        match read {
            Ok(value) => {
                self.given.insert(setting.path, Given { value, origin });
            }
            Err(diagnostic) => {
                self.bad.insert(setting.path);
                found.errors.push(diagnostic.about(setting.path, origin));
            }
        }
    }

    /// The text at `path`, unless nothing is set.
    pub(in crate::config) fn text(&self, path: &str) -> Option<&str> {
        match &self.given.get(path)?.value {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }

    /// The number at `path`, unless nothing is set.
    pub(in crate::config) fn maybe_number(&self, path: &str) -> Option<u64> {
        match self.given.get(path)?.value {
            Value::Number(number) => Some(number),
            Value::Text(_) => None,
        }
    }

    /// The number at `path`, whose setting has a default.
    pub(in crate::config) fn number(&self, path: &str) -> u64 {
        debug_assert!(self.maybe_number(path).is_some(), "{path} has no default");
        self.maybe_number(path).unwrap_or_default()
    }

    /// Where `path` was given.
    pub(in crate::config) fn origin(&self, path: &str) -> Origin {
        match self.given.get(path) {
            Some(given) if given.origin != Origin::Settings => given.origin.clone(),
            _ => self.nowhere.clone(),
        }
    }

    /// Whether `path` was set by somebody.
    pub(in crate::config) fn is_set(&self, path: &str) -> bool {
        self.given
            .get(path)
            .is_some_and(|given| given.origin != Origin::Settings)
    }

    /// Whether a mistake in `path` was reported already.
    pub(in crate::config) fn is_bad(&self, path: &str) -> bool {
        self.bad.contains(path)
    }
}

fn is_table(path: &str) -> bool {
    let mut settings = SETTINGS.iter();
    settings.any(|setting| setting.table_and_key().0 == path)
}

fn holds_password(setting: &registry::Setting, value: &DeValue<'_>) -> bool {
    match setting.kind {
        Kind::Secret => true,
        Kind::Url(_) => value.as_str().is_some_and(urls::holds_password),
        _ => false,
    }
}

/// A near name in the same table, or the same name in another.
fn unknown_hint(prefix: &str, key: &str) -> String {
    let beside: Vec<&str> = SETTINGS
        .iter()
        .filter_map(|setting| {
            let (table, name) = setting.table_and_key();
            match prefix {
                "" if !table.is_empty() => Some(table),
                _ => (table == prefix).then_some(name),
            }
        })
        .chain((prefix.is_empty()).then_some(STREAM_TABLE))
        .chain((prefix.is_empty()).then_some(RECIPE_TABLE))
        .chain((prefix == "upstream").then_some("database"))
        .collect();
    if let Some(near) = suggest::nearest(key, beside.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let elsewhere: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.table_and_key().1 == key)
        .map(|setting| match setting.table_and_key().0 {
            "" => format!("`{key}` at the top of the file, before the first [table]"),
            table => format!("`{key}` under [{table}]"),
        })
        .collect();
    if !elsewhere.is_empty() {
        return format!("did you mean {}?", elsewhere.join(" or "));
    }
    let known: BTreeSet<&str> = beside.into_iter().collect();
    let known: Vec<&str> = known.into_iter().collect();
    format!("known here: {}", known.join(", "))
}
