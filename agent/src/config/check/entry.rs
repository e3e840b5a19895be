//! One table of the file, read key by key with its places.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::{
    diagnostic::{Diagnostics, Origin, suggest},
    read::{parse, source::Source},
    schema::kind::TypedKind,
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
    pub(super) fn read<T>(
        &self,
        key: &str,
        kind: &TypedKind<T>,
        found: &mut Diagnostics,
    ) -> Option<T> {
        match parse::from_toml(&kind.kind, self.raw(key)?.get_ref()) {
            Ok(value) => Some((kind.read)(&value)),
            Err(diagnostic) => {
                self.error(key, diagnostic.message, diagnostic.hint, found);
                None
            }
        }
    }

    /// true or false.
    pub(super) fn flag(&self, key: &str, default: bool, found: &mut Diagnostics) -> bool {
        let Some(value) = self.raw(key) else {
            return default;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let type_name = parse::type_name(value.get_ref());
            let hint = "write true or false, without quotes";
            self.error(key, format!("is {type_name}"), hint, found);
            default
        })
    }

    /// A number within bounds, ends included; `default` also after a mistake.
    #[cfg(feature = "learning")]
    pub(super) fn real(
        &self,
        key: &str,
        default: f64,
        (min, max): (f64, f64),
        found: &mut Diagnostics,
    ) -> f64 {
        let Some(value) = self.raw(key) else {
            return default;
        };
        match parse::float(value.get_ref()) {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                let hint = format!("write a number from {min} to {max}");
                self.error(key, "is no such number", hint, found);
                default
            }
        }
    }

    /// A list of texts of some bytes; nothing if there is none.
    #[cfg(feature = "learning")]
    pub(super) fn texts(
        &self,
        key: &str,
        bytes_max: usize,
        found: &mut Diagnostics,
    ) -> Vec<String> {
        let Some(value) = self.raw(key) else {
            return Vec::new();
        };
        let list = value.get_ref().as_array();
        let texts = list.map(|list| {
            let texts = list.iter().map(|item| {
                let text = item.get_ref().as_str()?;
                (1..=bytes_max)
                    .contains(&text.len())
                    .then(|| text.to_owned())
            });
            texts.collect::<Option<Vec<_>>>()
        });
        texts.flatten().unwrap_or_else(|| {
            let hint = format!("write {key} = [\"one\", \"another\"]");
            self.error(key, "is no list of names", hint, found);
            Vec::new()
        })
    }

    /// A share from 0 to 1.
    pub(super) fn share(&self, key: &str, default: f64, found: &mut Diagnostics) -> f64 {
        let Some(value) = self.raw(key) else {
            return default;
        };
        match parse::float(value.get_ref()) {
            Some(share) if (0.0..=1.0).contains(&share) => share,
            _ => {
                self.error(key, "is no share", "write a number from 0 to 1", found);
                default
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
