//! From what a payload says to a value of the type its field is held as.

use std::borrow::Cow;

use dunlin_sync::sample::{FieldType, Value};

use crate::config::settings::NanPolicy;

/// Integers below this survive the way through a float.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// One place of a payload, before its field's type is known.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    /// Nothing: JSON null, an empty CSV cell.
    Null,
    /// JSON true or false.
    Bool(bool),
    /// A number as it was written; may be `NaN` or `Infinity`.
    Number(&'a str),
    /// A number that was computed.
    Float(f64),
    /// A JSON string.
    Text(Cow<'a, str>),
    /// Characters without quotes around them, whose type is in the eye of the field.
    Bare(&'a str),
}

/// Why a cell does not become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    WrongType,
    Nan,
    BadText,
}

impl Cell<'_> {
    /// The type a field gets from this cell at first sight; `None` if it says nothing.
    pub(super) fn inferred(&self) -> Option<FieldType> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(FieldType::Bool),
            // Always a float, so that 21 followed by 21.5 is no conflict.
            Self::Number(_) | Self::Float(_) => Some(FieldType::F64),
            Self::Text(_) => Some(FieldType::Text),
            Self::Bare(text) if parse_bool(text).is_some() => Some(FieldType::Bool),
            Self::Bare(text) if text.parse::<f64>().is_ok() => Some(FieldType::F64),
            Self::Bare(_) => Some(FieldType::Text),
        }
    }

    /// What came, for an error.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Number(text) => format!("the number {}", super::quoted(text)),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {}", super::quoted(text)),
            Self::Bare(text) => super::quoted(text),
        }
    }

    /// The value of this cell in a field of type `kind`; `Ok(None)`: missing.
    pub(super) fn value(&self, kind: FieldType, nan: NanPolicy) -> Result<Option<Value>, Misfit> {
        match (kind, self) {
            (_, Self::Null) => Ok(None),
            (FieldType::F64, Self::Number(text) | Self::Bare(text)) => {
                float(parse(text)?, nan).map(|number| number.map(Value::F64))
            }
            (FieldType::F64, Self::Float(number)) => {
                float(*number, nan).map(|number| number.map(Value::F64))
            }
            (FieldType::F32, Self::Number(text) | Self::Bare(text)) => match text.parse::<f32>() {
                Ok(number) if number.is_finite() => Ok(Some(Value::F32(number))),
                _ => single(parse(text)?, nan),
            },
            (FieldType::F32, Self::Float(number)) => single(*number, nan),
            (FieldType::I64, Self::Number(text) | Self::Bare(text)) => match text.parse() {
                Ok(integer) => Ok(Some(Value::I64(integer))),
                Err(_) => integral(parse(text)?, nan),
            },
            (FieldType::I64, Self::Float(number)) => integral(*number, nan),
            (FieldType::Bool, Self::Bool(truth)) => Ok(Some(Value::Bool(*truth))),
            (FieldType::Bool, Self::Bare(text)) => parse_bool(text)
                .map(|truth| Some(Value::Bool(truth)))
                .ok_or(Misfit::WrongType),
            (FieldType::Text, Self::Text(text)) => clean(text),
            (FieldType::Text, Self::Bare(text)) => clean(text),
            _ => Err(Misfit::WrongType),
        }
    }
}

/// Whether a text may be kept: no quote, back-tick, NUL or other control character.
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

fn clean(text: &str) -> Result<Option<Value>, Misfit> {
    if is_clean(text) {
        Ok(Some(Value::Text(text.into())))
    } else {
        Err(Misfit::BadText)
    }
}

fn parse(text: &str) -> Result<f64, Misfit> {
    text.parse().map_err(|_| Misfit::WrongType)
}

fn float(number: f64, nan: NanPolicy) -> Result<Option<f64>, Misfit> {
    match nan {
        _ if number.is_finite() => Ok(Some(number)),
        NanPolicy::Refuse => Err(Misfit::Nan),
        NanPolicy::Missing => Ok(None),
    }
}

fn single(number: f64, nan: NanPolicy) -> Result<Option<Value>, Misfit> {
    let Some(number) = float(number, nan)? else {
        return Ok(None);
    };
    let single = number as f32;
    if single.is_finite() {
        Ok(Some(Value::F32(single)))
    } else {
        Err(Misfit::WrongType)
    }
}

fn integral(number: f64, nan: NanPolicy) -> Result<Option<Value>, Misfit> {
    let Some(number) = float(number, nan)? else {
        return Ok(None);
    };
    if number.fract() == 0.0 && number.abs() < EXACT_INTEGERS_END {
        Ok(Some(Value::I64(number as i64)))
    } else {
        Err(Misfit::WrongType)
    }
}

#[cfg(test)]
mod tests;
