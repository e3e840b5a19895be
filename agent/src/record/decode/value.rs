//! From what a payload says to a value of the type its field is held as.

use std::borrow::Cow;

use dunlin_sync::sample::{FieldType, Value};

use super::float;
use crate::config::settings::{Conversion, MissingWords, NanPolicy, StreamRule};

/// Integers below this survive the way through a float.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;
/// Decimal digits that a float holds whatever they are: a text of more is a number by accident, such as
/// that of a card.
const TEXT_DIGITS_MAX: usize = 15;
/// Shorter numbers are below [`EXACT_INTEGERS_END`].
pub(super) const LARGE_INTEGER_BYTES_MIN: usize = 16;

/// One place of a payload, before its field's type is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// Nothing: JSON null, an empty CSV cell.
    Null,
    /// JSON true or false.
    Bool(bool),
    /// A number as it was written; may be `NaN` or `Infinity`.
    Number(&'a str),
    /// A whole number of a binary format.
    Integer(i128),
    /// A number that was computed, or of a binary format.
    Float(f64),
    /// A JSON string.
    Text(Cow<'a, str>),
    /// Characters without quotes around them, whose type is in the eye of the field.
    Bare(&'a str),
    /// Bytes of a binary format.
    Bytes(&'a [u8]),
}

/// Why a cell does not become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    WrongType,
    Nan,
    BadText,
}

/// How a field takes what comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking<'r> {
    pub(super) nan: NanPolicy,
    /// Words that say there is no value.
    pub(super) missing: &'r MissingWords,
    /// Somebody has said which type it is, so that everything is made into that.
    pub(super) is_declared: bool,
    /// What else was said.
    pub(super) conversion: Option<&'r Conversion>,
}

impl<'r> Taking<'r> {
    /// Of a field of `rule` that nobody has declared.
    pub(super) fn inferred(rule: &'r StreamRule) -> Self {
        Self {
            nan: rule.nan,
            missing: &rule.missing,
            is_declared: false,
            conversion: None,
        }
    }

    /// What is no number at all follows the rule for that (`nan`).
    fn is_missing_number(&self, text: &str) -> bool {
        self.missing.has_number() && self.is_missing(text) && text.parse().is_ok_and(f64::is_finite)
    }

    pub(super) fn is_missing(&self, text: &str) -> bool {
        text.is_empty() || self.missing.contains(text)
    }
}

impl Cell<'_> {
    /// The type a field gets from this cell at first sight; `None` if it says nothing.
    pub(super) fn inferred(&self, taking: &Taking<'_>) -> Option<FieldType> {
        match self {
            Self::Null => None,
            Self::Number(text) if taking.is_missing_number(text) => None,
            Self::Bool(_) => Some(FieldType::Bool),
            // Nearly always a float, so that 21 followed by 21.5 is no conflict.
            Self::Number(text) if large_integer(text).is_some() => Some(FieldType::I64),
            Self::Integer(whole) if is_large(*whole) => Some(FieldType::I64),
            Self::Number(_) | Self::Integer(_) | Self::Float(_) => Some(FieldType::F64),
            Self::Text(text) if taking.is_missing(text.trim()) => None,
            Self::Text(text) if is_plain_number(text.trim()) => Some(FieldType::F64),
            Self::Bare(text) if taking.is_missing(text) => None,
            Self::Bare(text) if parse_bool(text).is_some() => Some(FieldType::Bool),
            Self::Bare(text) if text.parse::<f64>().is_ok() => Some(FieldType::F64),
            Self::Text(_) | Self::Bare(_) | Self::Bytes(_) => Some(FieldType::Text),
        }
    }

    /// What came, for an error.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Number(text) => format!("the number {}", super::quoted(text)),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {}", super::quoted(text)),
            Self::Bare(text) => super::quoted(text),
            Self::Bytes(bytes) => format!("{} bytes of binary data", bytes.len()),
        }
    }

    /// The value of this cell in a field of type `kind`; `Ok(None)`: missing.
    pub(super) fn value(
        &self,
        kind: FieldType,
        taking: &Taking<'_>,
    ) -> Result<Option<Value>, Misfit> {
        let Some(conversion) = taking.conversion else {
            return self.plain_value(kind, taking);
        };
        if let Some(value) = self.text().and_then(|text| conversion.word(&text)) {
            return Ok(Some(value.clone()));
        }
        let converted = self.text().and_then(|text| {
            let number = matches!(kind, FieldType::F64 | FieldType::F32 | FieldType::I64);
            (number && matches!(self, Self::Text(_) | Self::Bare(_)))
                .then(|| conversion.decimal(text.trim()).into_owned())
        });
        let value = match &converted {
            Some(number) => Cell::Bare(number).plain_value(kind, taking)?,
            None => self.plain_value(kind, taking)?,
        };
        match value.map(|value| conversion.scaled(value)) {
            Some(Value::F64(number)) if !number.is_finite() => Err(Misfit::WrongType),
            Some(Value::F32(number)) if !number.is_finite() => Err(Misfit::WrongType),
            scaled => Ok(scaled),
        }
    }

    fn plain_value(&self, kind: FieldType, taking: &Taking<'_>) -> Result<Option<Value>, Misfit> {
        let nan = taking.nan;
        let trimmed = match self {
            Self::Text(text) => Some(text.trim()),
            Self::Bare(text) => Some(*text),
            _ => None,
        };
        let is_missing = match self {
            Self::Number(text) => taking.is_missing_number(text),
            _ => trimmed.is_some_and(|text| taking.is_missing(text)),
        };
        if kind != FieldType::Text && is_missing {
            return Ok(None);
        }
        match (kind, self) {
            (_, Self::Null) => Ok(None),
            (_, Self::Bytes(_)) => Err(Misfit::WrongType),
            (FieldType::Text, Self::Text(text)) => clean(text),
            (FieldType::Text, Self::Bare(text)) => clean(text),
            (FieldType::Text, other) if taking.is_declared => other
                .text()
                .map_or(Err(Misfit::WrongType), |text| clean(&text)),
            (FieldType::Bool, Self::Bool(truth)) => Ok(Some(Value::Bool(*truth))),
            (FieldType::Bool, _) => self
                .as_bool(trimmed, taking.is_declared)
                .map(|truth| Some(Value::Bool(truth)))
                .ok_or(Misfit::WrongType),
            (FieldType::F64 | FieldType::F32 | FieldType::I64, Self::Bool(truth))
                if taking.is_declared =>
            {
                number_of(kind, f64::from(u8::from(*truth)), nan)
            }
            (FieldType::F64 | FieldType::F32, Self::Integer(whole)) => {
                if !taking.is_declared && is_large(*whole) {
                    return Err(Misfit::WrongType);
                }
                number_of(kind, *whole as f64, nan)
            }
            (FieldType::I64, Self::Integer(whole)) => i64::try_from(*whole)
                .map(|whole| Some(Value::I64(whole)))
                .map_err(|_| Misfit::WrongType),
            (FieldType::F64 | FieldType::F32 | FieldType::I64, Self::Float(number)) => {
                number_of(kind, *number, nan)
            }
            (FieldType::F64, Self::Number(text)) if !taking.is_declared => {
                if large_integer(text).is_some() {
                    return Err(Misfit::WrongType);
                }
                number_of(kind, parse(text)?, nan)
            }
            // A code of digits, which a number would change.
            (FieldType::F64 | FieldType::F32 | FieldType::I64, Self::Text(text))
                if !taking.is_declared && !is_plain_number(text.trim()) =>
            {
                Err(Misfit::WrongType)
            }
            (FieldType::F64 | FieldType::F32 | FieldType::I64, _) => {
                let text = match self {
                    Self::Number(text) => text,
                    _ => trimmed.unwrap_or_default(),
                };
                parsed(kind, text, taking)
            }
            _ => Err(Misfit::WrongType),
        }
    }

    fn as_bool(&self, trimmed: Option<&str>, is_declared: bool) -> Option<bool> {
        let word = match self {
            Self::Number(text) if is_declared => text,
            Self::Integer(0) if is_declared => "0",
            Self::Integer(1) if is_declared => "1",
            _ => trimmed?,
        };
        let declared = || is_declared.then(|| declared_bool(word))?;
        parse_bool(word).or_else(declared)
    }

    /// As it would be written without quotes; `None` of what has no text.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null | Self::Bytes(_) => return None,
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Number(text) | Self::Bare(text) => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
        })
    }
}

/// Whether a name may be kept: no quote, back-tick, NUL or other control character.
pub(super) fn is_clean(text: &str) -> bool {
    !text
        .bytes()
        .any(|byte| byte < b' ' || matches!(byte, b'"' | b'\'' | b'`' | 0x7f))
        && (text.is_ascii() || !text.chars().any(char::is_control))
}

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Whether a text may be kept: no control character but tab and line break.
fn is_text(text: &str) -> bool {
    let kept = |character| matches!(character, '\t' | '\n' | '\r');
    let is_bad = |byte| (byte < b' ' && !kept(char::from(byte))) || byte == 0x7f;
    !text.bytes().any(is_bad)
        && (text.is_ascii() || !text.chars().any(|c| c.is_control() && !kept(c)))
}

/// Words for a state, in a field that is declared to be one.
fn declared_bool(word: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|other| word.eq_ignore_ascii_case(other));
    if is(["1", "on", "yes"]) {
        Some(true)
    } else if is(["0", "off", "no"]) {
        Some(false)
    } else {
        None
    }
}

/// An integer that a float might change, if `text` is one.
pub(super) fn large_integer(text: &str) -> Option<i64> {
    if text.len() < LARGE_INTEGER_BYTES_MIN {
        return None;
    }
    let whole = text.parse::<i64>().ok()?;
    is_large(i128::from(whole)).then_some(whole)
}

/// Whether a whole number fits 64 bits and a float might change it.
fn is_large(whole: i128) -> bool {
    i64::try_from(whole).is_ok() && whole.unsigned_abs() >= EXACT_INTEGERS_END as u128
}

/// Whether a text is a decimal as JSON writes it (so no code with leading zeros), of no more digits than a
/// float holds.
fn is_plain_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        // `12e5` is as likely a number in hexadecimal.
        && exponent.is_none_or(|exponent| {
            is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
                && (fraction.is_some() || exponent.starts_with(['+', '-']))
        })
        && whole.len() + fraction.map_or(0, str::len) <= TEXT_DIGITS_MAX
}

fn clean(text: &str) -> Result<Option<Value>, Misfit> {
    if is_text(text) {
        Ok(Some(Value::Text(text.into())))
    } else {
        Err(Misfit::BadText)
    }
}

fn parse(text: &str) -> Result<f64, Misfit> {
    float::parse(text).ok_or(Misfit::WrongType)
}

/// The number that `text` is, without a way through another type where one would change it.
fn parsed(kind: FieldType, text: &str, taking: &Taking<'_>) -> Result<Option<Value>, Misfit> {
    let nan = taking.nan;
    match kind {
        FieldType::F64 if !taking.is_declared => {
            // What a float writes so it takes back.
            let changes = |whole: i64| (whole as f64).to_string() != whole.to_string();
            if large_integer(text).is_some_and(changes) {
                return Err(Misfit::WrongType);
            }
        }
        FieldType::I64 => {
            if let Ok(integer) = text.parse() {
                return Ok(Some(Value::I64(integer)));
            }
        }
        FieldType::F32 => {
            if let Some(number) = text.parse().ok().filter(|number: &f32| number.is_finite()) {
                return Ok(Some(Value::F32(number)));
            }
        }
        _ => {}
    }
    let number = match parse(text) {
        Ok(number) => number,
        Err(misfit) => {
            let word = taking.is_declared.then(|| declared_bool(text)).flatten();
            let truth = word.or_else(|| parse_bool(text).filter(|_| taking.is_declared));
            f64::from(u8::from(truth.ok_or(misfit)?))
        }
    };
    number_of(kind, number, nan)
}

/// `number` in a field of type `kind`.
fn number_of(kind: FieldType, number: f64, nan: NanPolicy) -> Result<Option<Value>, Misfit> {
    match (kind, nan) {
        _ if number.is_finite() => {}
        (_, NanPolicy::Refuse) => return Err(Misfit::Nan),
        (_, NanPolicy::Missing) => return Ok(None),
    }
    match kind {
        FieldType::F64 => Ok(Some(Value::F64(number))),
        FieldType::F32 if (number as f32).is_finite() => Ok(Some(Value::F32(number as f32))),
        FieldType::I64 if number.fract() == 0.0 && number.abs() < EXACT_INTEGERS_END => {
            Ok(Some(Value::I64(number as i64)))
        }
        _ => Err(Misfit::WrongType),
    }
}

#[cfg(test)]
mod tests;
