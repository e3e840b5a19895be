//! What was given for each setting, and where: the file, with variables and flags laid over it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{overrides::Overrides, parse, source::Source, urls};
use crate::config::{
    diagnostic::{Diagnostic, Diagnostics, Origin, suggest},
    schema::{
        self, DATABASE_TABLE, DefaultValue, RECIPE_TABLE, SETTINGS, STREAM_TABLE, Setting,
        key::{Key, OptionalKey},
        kind::{Kind, Value},
    },
};

/// A value and where it was given.
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
    /// What paths are relative to, unless a flag or a variable names them: the directory of the file;
    /// empty for the working directory.
    pub(in crate::config) base: PathBuf,
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
    pub(in crate::config) fn new(nowhere: Origin, base: &Path) -> Self {
        Self {
            given: BTreeMap::new(),
            bad: BTreeSet::new(),
            nowhere,
            base: base.to_owned(),
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
            let key_origin = source.origin(key.span());
            let value_origin = source.origin(spanned.span());
            let value = spanned.get_ref();
            if let Some(setting) = schema::find(&path) {
                if holds_password(setting, value) {
                    tables.password.get_or_insert(value_origin.clone());
                }
                let read = parse::from_toml(&setting.kind, value);
                self.take(setting, read, value_origin, found);
            } else if path == STREAM_TABLE {
                let list = list("stream", value, &key_origin, found);
                tables.stream_is_bad |= list.is_none();
                tables.streams.extend(list.into_iter().flatten());
            } else if path == RECIPE_TABLE {
                let list = list("recipe", value, &key_origin, found);
                tables.recipes.extend(list.into_iter().flatten());
            } else if path == DATABASE_TABLE || is_table(&path) {
                match value.as_table() {
                    Some(options) if path == DATABASE_TABLE => tables.database = Some(options),
                    Some(inner) => self.read_table(source, inner, &path, tables, found),
                    None => found.error(
                        &value_origin,
                        format!("{path}: is {}", parse::type_name(value)),
                        format!("write [{path}] on a line of its own and its settings below"),
                    ),
                }
            } else {
                found.error(
                    &key_origin,
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
                let read = parse::from_text(&setting.kind, text);
                self.take(setting, read, origin, found);
            }
        }
    }

    fn take(
        &mut self,
        setting: &'static Setting,
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

    pub(in crate::config) fn get<T>(&self, key: &Key<T>) -> T {
        self.value(key)
            .map_or_else(|| parse::default_of(key), |value| (key.read)(&value))
    }

    /// The value of `key`, if it has one.
    pub(in crate::config) fn maybe<T>(&self, key: &OptionalKey<T>) -> Option<T> {
        self.value(key).map(|value| (key.read)(&value))
    }

    /// What was given, or else the default.
    fn value(&self, setting: &Setting) -> Option<Value> {
        let value = match (self.given.get(setting.path), setting.default) {
            (Some(given), _) => given.value.clone(),
            (None, DefaultValue::Is(text)) => parse::from_text(&setting.kind, text).ok()?,
            (None, _) => return None,
        };
        Some(match (value, self.origin(setting)) {
            (Value::Path(path), Origin::File { .. } | Origin::Settings) => {
                Value::Path(self.base.join(path))
            }
            (value, _) => value,
        })
    }

    /// Where `setting` was given.
    pub(in crate::config) fn origin(&self, setting: &Setting) -> Origin {
        let given = self.given.get(setting.path);
        given.map_or(&self.nowhere, |given| &given.origin).clone()
    }

    /// Whether `setting` was set by somebody.
    pub(in crate::config) fn is_set(&self, setting: &Setting) -> bool {
        self.given.contains_key(setting.path)
    }

    /// Whether a mistake in `setting` was reported already.
    pub(in crate::config) fn is_bad(&self, setting: &Setting) -> bool {
        self.bad.contains(setting.path)
    }
}

/// The `[[stream]]` or `[[recipe]]` entries; a mistake if they are none.
fn list<'a>(
    what: &str,
    value: &'a DeValue<'a>,
    key_origin: &Origin,
    found: &mut Diagnostics,
) -> Option<&'a [Spanned<DeValue<'a>>]> {
    let list = value.as_array();
    if list.is_none() {
        found.error(
            key_origin,
            format!("{what}: is {}", parse::type_name(value)),
            format!("each {what} starts with [[{what}]], in double brackets"),
        );
    }
    list.map(|list| &list[..])
}

fn is_table(path: &str) -> bool {
    let mut settings = SETTINGS.iter();
    settings.any(|setting| setting.table_and_key().0 == path)
}

fn holds_password(setting: &Setting, value: &DeValue<'_>) -> bool {
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
        .filter(|setting| setting.key() == key)
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
