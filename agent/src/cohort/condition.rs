//! Conditions: `temperature > 40 and machine = "press-7"`, over the fields and tags of a stream.
//!
//! Promises: a condition is bounded in length and depth before anything is built of it; what is not
//! understood is refused with the place; names and types are checked against a stream once, and rows
//! are then judged on typed columns, with no text parsed.
//!
//! Words: `and or not`, `= == != <> < <= > >=`, `+ - * / %`, `in (..)`, `between .. and ..`,
//! `like '..'` (`%` any characters, `_` one), `is [not] null`, `true`, `false`, numbers, texts in
//! single or double quotes (a quote is doubled inside), names bare or in back-ticks. A tag that a
//! field hides is `tag.<name>`.
//!
//! Meaning, as in SQL: a missing value (NaN is one) makes a comparison unknown, and only rows that are
//! surely meant are taken. Numbers are compared as 64-bit floats.

mod check;
mod parse;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::check::Checked;
use self::parse::Expr;

/// Longest condition, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting of a condition.
pub(super) const DEPTH_MAX: usize = 48;

/// A condition that cannot be understood, or does not fit a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("condition, character {at}: {what}")]
pub struct ConditionError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What is wrong and what may stand there.
    pub what: String,
}

impl ConditionError {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
        }
    }
}

/// A condition that is well formed; the names in it are not checked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    expr: Expr,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`ConditionError`], with the place.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > TEXT_BYTES_MAX {
            let what = format!(
                "it is {} bytes long; at most {TEXT_BYTES_MAX} are read",
                text.len()
            );
            return Err(ConditionError::new(1, what));
        }
        Ok(Self {
            text: text.to_owned(),
            expr: parse::parse(token::tokens(text)?)?,
        })
    }

    /// The condition for rows of a stream with `fields` and tags.
    ///
    /// # Errors
    /// [`ConditionError`] for an unknown name or types that do not go together.
    pub fn check(
        &self,
        schema: &dunlin_sync::sample::Schema,
        tags: &[String],
    ) -> Result<Checked, ConditionError> {
        check::check(&self.expr, schema, tags)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        Self::parse(&text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.text
    }
}
