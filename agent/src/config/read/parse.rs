//! From what was written (in TOML, a flag or a variable) to a value of its kind.

use std::net::SocketAddr;

use toml::de::DeValue;

use super::urls;
use crate::config::{
    diagnostic::{Diagnostic, suggest},
    schema::{
        DefaultValue,
        key::Key,
        kind::{Kind, Unit, Value},
    },
};

/// Reads a value of the file.
pub(in crate::config) fn from_toml(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Diagnostic> {
    match (kind, value) {
        (Kind::Integer { .. } | Kind::Bytes { .. } | Kind::Duration { .. }, v)
            if v.as_integer().is_some() =>
        {
            let number = integer(v).ok_or_else(|| outside(kind, "the number"))?;
            in_range(kind, number)
        }
        (Kind::Choice(_), v) if v.as_integer().is_some() => {
            let number = integer(v).unwrap_or(-1);
            from_text(kind, &number.to_string())
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Real { min, max }, _) => match float(value) {
            Some(real) if (*min..=*max).contains(&real) => Ok(Value::Real(real)),
            Some(_) => Err(outside(kind, "the number")),
            None => Err(wrong_type(kind, value)),
        },
        (Kind::Texts { bytes_max }, DeValue::Array(list)) => {
            let texts = list.iter().map(|item| item.get_ref().as_str());
            let is_kept = |text: &&str| (1..=*bytes_max).contains(&text.len());
            let texts = texts.map(|text| text.filter(is_kept).map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            let wrong = || Diagnostic::new("is no list of names", expected(kind));
            texts.map(Value::Texts).ok_or_else(wrong)
        }
        (Kind::Texts { bytes_max }, DeValue::String(text)) if text.len() <= *bytes_max => {
            Ok(Value::Texts(vec![text.to_string()]))
        }
        (Kind::Integer { .. } | Kind::Flag, _) => Err(wrong_type(kind, value)),
        (_, DeValue::String(text)) => from_text(kind, text),
        _ => Err(wrong_type(kind, value)),
    }
}

/// Reads the text of a flag, a variable or a default.
pub(in crate::config) fn from_text(kind: &Kind, text: &str) -> Result<Value, Diagnostic> {
    let kept = || Ok(Value::Text(text.to_owned()));
    match *kind {
        Kind::Integer { .. } => match text.trim().parse::<i128>() {
            Ok(number) => in_range(kind, number),
            Err(_) => Err(Diagnostic::new(
                format!("`{text}` is not a whole number"),
                expected(kind),
            )),
        },
        Kind::Bytes { .. } => {
            let number = scaled(text, &BYTE_UNITS, 1).ok_or_else(|| {
                Diagnostic::new(format!("`{text}` is not a number of bytes"), expected(kind))
            })?;
            in_range(kind, number)
        }
        Kind::Duration { unit, .. } => {
            let number = scaled(text, &TIME_UNITS, unit.ns()).ok_or_else(|| {
                Diagnostic::new(format!("`{text}` is not a time"), expected(kind))
            })?;
            in_range(kind, number)
        }
        Kind::Choice(words) if words().contains(&text) => kept(),
        Kind::Choice(words) => Err(Diagnostic::new(
            format!("`{text}` is not known here"),
            suggest::hint(text, &words()),
        )),
        Kind::Text {
            bytes_min,
            bytes_max,
        } => {
            check_text(text, bytes_min, bytes_max)?;
            kept()
        }
        Kind::Listen => {
            if !text.is_empty() && text.parse::<SocketAddr>().is_err() {
                return Err(Diagnostic::new(
                    format!("`{text}` is not an address with a port"),
                    "write 127.0.0.1:9464, [::1]:9464, 0.0.0.0:9464 for every interface, or \"\" for off",
                ));
            }
            kept()
        }
        Kind::Path => {
            check_text(text, 1, 4096)?;
            Ok(Value::Path(text.into()))
        }
        Kind::Secret => {
            // Never the text itself in the message.
            check_text(text, 1, 65_535)?;
            kept()
        }
        Kind::Url(schemes) => {
            urls::check(text, schemes)?;
            kept()
        }
        Kind::Flag => match text {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(Diagnostic::new("is neither true nor false", expected(kind))),
        },
        Kind::Real { min, max } => match text.trim().parse() {
            Ok(real) if (min..=max).contains(&real) => Ok(Value::Real(real)),
            _ => Err(outside(kind, &format!("`{text}`"))),
        },
        Kind::Texts { .. } => Err(Diagnostic::new("is no list", expected(kind))),
        Kind::Other => Err(Diagnostic::new("is a text", "see the README")),
    }
}

/// What `key` is unless it is set.
pub(in crate::config) fn default_of<T>(key: &Key<T>) -> T {
    let value = match key.setting.default {
        DefaultValue::Is(text) => from_text(&key.setting.kind, text).ok(),
        _ => None,
    };
    debug_assert!(value.is_some(), "{}: the default cannot be read", key.path);
    (key.read)(&value.unwrap_or(Value::Number(0)))
}

/// Length and control characters; messages never repeat the text.
pub(in crate::config) fn check_text(
    text: &str,
    bytes_min: usize,
    bytes_max: usize,
) -> Result<(), Diagnostic> {
    if text.len() < bytes_min {
        return Err(Diagnostic::new(
            "is empty",
            "write a value, or leave the key out",
        ));
    }
    if text.len() > bytes_max {
        return Err(Diagnostic::new(
            format!("has {} bytes", text.len()),
            format!("use at most {bytes_max}"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Diagnostic::new(
            "holds a control character",
            "use printable characters",
        ));
    }
    Ok(())
}

/// What a TOML value is, in words.
pub(in crate::config) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true/false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A TOML integer; `None` beyond 128 bits.
pub(in crate::config) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A TOML number, whole or not.
pub(in crate::config) fn float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => integer(value).map(|number| number as f64),
    }
}

fn wrong_type(kind: &Kind, value: &DeValue<'_>) -> Diagnostic {
    let hint = match (kind, value) {
        (Kind::Integer { .. }, DeValue::String(_)) => {
            format!("{}, without quotes", expected(kind))
        }
        (Kind::Text { .. } | Kind::Path | Kind::Secret | Kind::Url(_), _) => {
            "write it in quotes: \"...\"".into()
        }
        _ => expected(kind),
    };
    Diagnostic::new(format!("is {}", type_name(value)), hint)
}

/// What to write, in words.
fn expected(kind: &Kind) -> String {
    match *kind {
        Kind::Integer { min, max } => format!("write a whole number from {min} to {max}"),
        Kind::Bytes { min, max } => format!(
            "write a number of bytes, or a text such as \"512 MiB\", from {} to {}",
            bytes_in_words(min),
            bytes_in_words(max)
        ),
        Kind::Duration { unit, min, max } => format!(
            "write a number of {}, or a text such as \"2 h\" (ms, s, min, h, d), from {min} to {max} {}",
            match unit {
                Unit::Millis => "milliseconds",
                Unit::Seconds => "seconds",
            },
            unit.symbol()
        ),
        Kind::Choice(words) => one_of(&words()),
        Kind::Flag => "write true or false, without quotes".into(),
        Kind::Real { min, max } => format!("write a number from {min} to {max}"),
        Kind::Texts { bytes_max } => {
            format!("write [\"one\", \"another\"], each of 1 to {bytes_max} bytes")
        }
        _ => "write a text in quotes".into(),
    }
}

/// Which words may be used.
pub(in crate::config) fn one_of(words: &[&str]) -> String {
    format!("use one of: {}", words.join(", "))
}

fn outside(kind: &Kind, what: &str) -> Diagnostic {
    Diagnostic::new(format!("{what} is out of range"), expected(kind))
}

fn in_range(kind: &Kind, number: i128) -> Result<Value, Diagnostic> {
    let (Kind::Integer { min, max } | Kind::Bytes { min, max } | Kind::Duration { min, max, .. }) =
        *kind
    else {
        return Ok(Value::Text(number.to_string()));
    };
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        _ => Err(outside(kind, &number.to_string())),
    }
}

/// Bytes in a unit, by its name in lower case.
const BYTE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Nanoseconds in a unit.
const TIME_UNITS: [(&str, u64); 6] = [
    ("", 0),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// `"1.5 GiB"` as a number of `base`; a bare number counts in `base` already.
/// `None` if it is no number, the unit is unknown, or it is not a whole number of `base`.
fn scaled(text: &str, units: &[(&str, u64)], base: u64) -> Option<i128> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let factor = if unit.is_empty() { base } else { *factor };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    // Fixed point with the fraction's own digits: exact where a float would round.
    let scale = 10_i128.pow(fraction.len() as u32);
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let total = digits.checked_mul(i128::from(factor))?;
    let unit_total = scale.checked_mul(i128::from(base))?;
    (total % unit_total == 0).then_some(total / unit_total)
}

fn bytes_in_words(bytes: u64) -> String {
    for (name, size) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {name}", bytes / size);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests;
