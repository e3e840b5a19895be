//! What may be written for a setting, and the type that it becomes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::config::settings::{Secret, choice::Choice};

/// What a value may look like. Ranges include both ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Kind {
    /// A whole number.
    Integer { min: u64, max: u64 },
    /// A number of bytes, or a text such as `"512 MiB"`.
    Bytes { min: u64, max: u64 },
    /// A time in the unit that the setting's name ends in, or a text such as `"2 h"`; `unit` is that
    /// of a bare number, of `min` and of `max`.
    Duration { unit: Unit, min: u64, max: u64 },
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    /// Text without control characters.
    Text { bytes_min: usize, bytes_max: usize },
    /// `host:port` to listen on; empty for off.
    Listen,
    /// A file or directory.
    Path,
    /// A URL with one of these schemes; may hold user and password.
    Url(&'static [&'static str]),
    /// true or false.
    Flag,
    /// A number, fraction or not.
    Real { min: f64, max: f64 },
    /// A list of texts of at most so many bytes each.
    Texts { bytes_max: usize },
    /// Something else, read by the code that knows it.
    Other,
    /// A password: no flag, because a command line is visible to everybody on the machine.
    Secret,
}

/// Unit of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Unit {
    Millis,
    Seconds,
}

impl Unit {
    /// Nanoseconds in one.
    pub(in crate::config) const fn ns(self) -> u64 {
        match self {
            Self::Millis => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }

    pub(in crate::config) const fn symbol(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Seconds => "s",
        }
    }
}

/// A value that is of its kind.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Value {
    /// Of a number, bytes or a duration, this in the kind's unit.
    Number(u64),
    Flag(bool),
    Real(f64),
    Texts(Vec<String>),
    Path(PathBuf),
    /// Of everything else.
    Text(String),
}

impl Value {
    /// The number; 0 of a value that is none.
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            _ => 0,
        }
    }

    /// The text; empty of a value that is none.
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The path; empty of a value that is none.
    fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            _ => PathBuf::new(),
        }
    }
}

/// A kind whose values are read as a `T`.
pub(in crate::config) struct TypedKind<T> {
    pub(in crate::config) kind: Kind,
    /// The `T` in a value of this kind.
    pub(in crate::config) read: fn(&Value) -> T,
}

// Derived, both would ask it of `T` too.
impl<T> Clone for TypedKind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedKind<T> {}

/// A whole number that a setting can be.
pub(in crate::config) trait Whole {
    const MAX: u64;

    /// `number`, which is [`Self::MAX`] at most.
    fn of(number: u64) -> Self;
}

impl Whole for u8 {
    const MAX: u64 = Self::MAX as u64;

    fn of(number: u64) -> Self {
        number as Self
    }
}

impl Whole for u16 {
    const MAX: u64 = Self::MAX as u64;

    fn of(number: u64) -> Self {
        number as Self
    }
}

impl Whole for u32 {
    const MAX: u64 = Self::MAX as u64;

    fn of(number: u64) -> Self {
        number as Self
    }
}

impl Whole for u64 {
    const MAX: u64 = Self::MAX;

    fn of(number: u64) -> Self {
        number
    }
}

impl Whole for usize {
    const MAX: u64 = Self::MAX as u64;

    fn of(number: u64) -> Self {
        number as Self
    }
}

const fn whole<T: Whole>(kind: Kind, max: u64) -> TypedKind<T> {
    assert!(max <= T::MAX, "the type holds the whole range");
    TypedKind {
        kind,
        read: |value| T::of(value.number()),
    }
}

pub(in crate::config) const fn integer<T: Whole>(min: u64, max: u64) -> TypedKind<T> {
    whole(Kind::Integer { min, max }, max)
}

pub(in crate::config) const fn bytes<T: Whole>(min: u64, max: u64) -> TypedKind<T> {
    whole(Kind::Bytes { min, max }, max)
}

const fn seconds_kind(min: u64, max: u64) -> Kind {
    Kind::Duration {
        unit: Unit::Seconds,
        min,
        max,
    }
}

const fn millis_kind(min: u64, max: u64) -> Kind {
    Kind::Duration {
        unit: Unit::Millis,
        min,
        max,
    }
}

pub(in crate::config) const fn seconds(min: u64, max: u64) -> TypedKind<Duration> {
    TypedKind {
        kind: seconds_kind(min, max),
        read: |value| Duration::from_secs(value.number()),
    }
}

pub(in crate::config) const fn millis(min: u64, max: u64) -> TypedKind<Duration> {
    TypedKind {
        kind: millis_kind(min, max),
        read: |value| Duration::from_millis(value.number()),
    }
}

/// A duration that is kept as its number of seconds.
pub(in crate::config) const fn count_of_seconds<T: Whole>(min: u64, max: u64) -> TypedKind<T> {
    whole(seconds_kind(min, max), max)
}

/// A duration that is kept as its number of milliseconds.
pub(in crate::config) const fn count_of_millis<T: Whole>(min: u64, max: u64) -> TypedKind<T> {
    whole(millis_kind(min, max), max)
}

pub(in crate::config) const fn choice<T: Choice>() -> TypedKind<T> {
    TypedKind {
        kind: Kind::Choice(words::<T>),
        read: chosen,
    }
}

/// The words that stand for a `T`.
pub(in crate::config) fn words<T: Choice>() -> Vec<&'static str> {
    T::CHOICES.iter().map(|(word, _)| *word).collect()
}

fn chosen<T: Choice>(value: &Value) -> T {
    let mut choices = T::CHOICES.iter();
    let found = choices.find(|(word, _)| *word == value.text());
    // Only one of the words becomes a value of this kind.
    found.unwrap_or(&T::CHOICES[0]).1.clone()
}

pub(in crate::config) const fn text(bytes_min: usize, bytes_max: usize) -> TypedKind<String> {
    TypedKind {
        kind: Kind::Text {
            bytes_min,
            bytes_max,
        },
        read: |value| value.text().to_owned(),
    }
}

/// An address to listen on; `None`: off.
pub(in crate::config) const fn listen() -> TypedKind<Option<SocketAddr>> {
    TypedKind {
        kind: Kind::Listen,
        read: |value| value.text().parse().ok(),
    }
}

pub(in crate::config) const fn path() -> TypedKind<PathBuf> {
    TypedKind {
        kind: Kind::Path,
        read: Value::path,
    }
}

pub(in crate::config) const fn flag() -> TypedKind<bool> {
    TypedKind {
        kind: Kind::Flag,
        read: |value| matches!(value, Value::Flag(true)),
    }
}

pub(in crate::config) const fn real(min: f64, max: f64) -> TypedKind<f64> {
    TypedKind {
        kind: Kind::Real { min, max },
        read: |value| match value {
            Value::Real(real) => *real,
            _ => 0.0,
        },
    }
}

pub(in crate::config) const fn texts(bytes_max: usize) -> TypedKind<Vec<String>> {
    TypedKind {
        kind: Kind::Texts { bytes_max },
        read: |value| match value {
            Value::Texts(texts) => texts.clone(),
            _ => Vec::new(),
        },
    }
}

/// What the code that knows it reads.
pub(in crate::config) const fn other() -> TypedKind<()> {
    TypedKind {
        kind: Kind::Other,
        read: |_| (),
    }
}

/// A URL as it is written.
pub(in crate::config) const fn url(schemes: &'static [&'static str]) -> TypedKind<String> {
    TypedKind {
        kind: Kind::Url(schemes),
        read: |value| value.text().to_owned(),
    }
}

pub(in crate::config) const fn secret() -> TypedKind<Secret> {
    TypedKind {
        kind: Kind::Secret,
        read: |value| Secret::new(value.text().to_owned()),
    }
}
