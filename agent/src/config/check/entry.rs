//! One table of the file, read key by key with its places.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::{
    diagnostic::{Diagnostics, Origin, suggest},
    read::{parse, source::Source},
    schema::{
        DefaultValue, Setting,
        key::{Key, OptionalKey},
        kind::{Kind, TypedKind, Value},
    },
};

/// A table, and what to call it in messages.
pub(super) struct Entry<'a> {
    pub(super) source: &'a Source,
    pub(super) table: &'a DeTable<'a>,
    /// Such as `stream.split`.
    pub(super) what: String,
    pub(super) origin: Origin,
}

impl<'a> Entry<'a> {
    /// `value` as a table; a mistake if it is none.
    pub(super) fn of(
        source: &'a Source,
        value: &'a Spanned<DeValue<'a>>,
        what: impl Into<String>,
        hint: &str,
        found: &mut Diagnostics,
    ) -> Option<Self> {
        let (what, origin) = (what.into(), source.origin(value.span()));
        let Some(table) = value.get_ref().as_table() else {
            let type_name = parse::type_name(value.get_ref());
            found.error(&origin, format!("{what}: is {type_name}"), hint);
            return None;
        };
        Some(Self {
            source,
            table,
            what,
            origin,
        })
    }

    /// The value of `key`, as it stands in the file.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Where the value of `key` stands; the table itself without it.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        self.raw(key)
            .map_or_else(|| self.origin.clone(), |v| self.source.origin(v.span()))
    }

    /// A mistake about `key`.
    pub(super) fn error(
        &self,
        key: &str,
        message: impl std::fmt::Display,
        hint: impl Into<String>,
        found: &mut Diagnostics,
    ) {
        let message = format!("{}.{key}: {message}", self.what);
        found.error(&self.origin_of(key), message, hint);
    }

    /// The value of `key`; `None` without it and after a mistake.
    pub(super) fn read<T>(&self, key: &OptionalKey<T>, found: &mut Diagnostics) -> Option<T> {
        self.value(key.key(), &key.setting.kind, key.read, found)
    }

    /// The value of `key`, or its default, also after a mistake.
    pub(super) fn get<T>(&self, key: &Key<T>, found: &mut Diagnostics) -> T {
        self.given(key, found)
            .unwrap_or_else(|| parse::default_of(key))
    }

    /// The value of `key`, which is no default; `None` without it and after a mistake.
    pub(super) fn given<T>(&self, key: &Key<T>, found: &mut Diagnostics) -> Option<T> {
        self.value(key.key(), &key.setting.kind, key.read, found)
    }

    /// The value under a name that the user has chosen.
    pub(super) fn chosen<T>(
        &self,
        name: &str,
        kind: &TypedKind<T>,
        found: &mut Diagnostics,
    ) -> Option<T> {
        self.value(name, &kind.kind, kind.read, found)
    }

    fn value<T>(
        &self,
        name: &str,
        kind: &Kind,
        read: fn(&Value) -> T,
        found: &mut Diagnostics,
    ) -> Option<T> {
        match parse::from_toml(kind, self.raw(name)?.get_ref()) {
            Ok(value) => Some(read(&value)),
            Err(diagnostic) => {
                self.error(name, diagnostic.message, diagnostic.hint, found);
                None
            }
        }
    }

    /// A mistake for each of `settings` that must be there and is not.
    pub(super) fn require(&self, settings: &[Setting], found: &mut Diagnostics) {
        for setting in settings {
            if let DefaultValue::Required(example) = setting.default
                && self.raw(setting.key()).is_none()
            {
                let hint = format!("add {} = {}", setting.key(), setting.written(example));
                self.error(setting.key(), "is missing", hint, found);
            }
        }
    }

    /// A mistake for every key that is not known.
    pub(super) fn refuse_others(&self, known: &[&str], found: &mut Diagnostics) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                found.error(
                    &self.source.origin(key.span()),
                    format!("{}.{name}: there is no such setting", self.what),
                    suggest::hint(name, known),
                );
            }
        }
    }

    /// Keys and values in the order in which they were written.
    pub(super) fn in_order(&self) -> Vec<(&'a str, &'a Spanned<DeValue<'a>>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| (key.get_ref().as_ref(), value))
            .collect()
    }
}
