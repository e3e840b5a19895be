//! Keys: the settings with the types of their values.

use std::{ops::Deref, path::PathBuf};

use super::{
    kind::{TypedKind, Value},
    setting::{DefaultValue, Setting},
};
use crate::config::settings::Secret;

/// A setting that always has a value, a `T`: it has a default.
pub(in crate::config) struct Key<T> {
    pub(in crate::config) setting: Setting,
    pub(in crate::config) read: fn(&Value) -> T,
}

impl<T> Key<T> {
    /// `default` is written as in a variable.
    pub(in crate::config) const fn new(
        path: &'static str,
        kind: TypedKind<T>,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            setting: Setting::new(path, kind.kind, DefaultValue::Is(default), help),
            read: kind.read,
        }
    }
}

/// A setting whose value, a `T`, may be missing.
pub(in crate::config) struct OptionalKey<T> {
    pub(in crate::config) setting: Setting,
    pub(in crate::config) read: fn(&Value) -> T,
}

impl<T> OptionalKey<T> {
    pub(in crate::config) const fn new(
        path: &'static str,
        kind: TypedKind<T>,
        default: DefaultValue,
        help: &'static str,
    ) -> Self {
        Self {
            setting: Setting::new(path, kind.kind, default, help),
            read: kind.read,
        }
    }
}

impl<T> Deref for Key<T> {
    type Target = Setting;

    fn deref(&self) -> &Setting {
        &self.setting
    }
}

impl<T> Deref for OptionalKey<T> {
    type Target = Setting;

    fn deref(&self) -> &Setting {
        &self.setting
    }
}

/// The keys that the broker and the central database both have, each in its own table.
pub(in crate::config) struct ConnectionKeys {
    /// How the URL asks for TLS.
    pub(in crate::config) tls_form: &'static str,
    pub(in crate::config) url: OptionalKey<String>,
    pub(in crate::config) password: OptionalKey<Secret>,
    pub(in crate::config) password_file: OptionalKey<PathBuf>,
    pub(in crate::config) ca_file: OptionalKey<PathBuf>,
    pub(in crate::config) cert_file: OptionalKey<PathBuf>,
    pub(in crate::config) key_file: OptionalKey<PathBuf>,
    pub(in crate::config) backoff_ms_min: Key<u64>,
    pub(in crate::config) backoff_ms_max: Key<u64>,
}
