//! `InfluxDB` line protocol, as Telegraf, client libraries and devices send it:
//! `measurement,tag=value field=1.5,other="text" 1700000000000000000`, one point a line.
//!
//! What is read
//! - blank lines and lines that start with `#` are skipped; a line ends with `\n` or `\r\n`;
//! - in measurements `\,` and `\ ` stand for the second character, in tag keys, tag values and field
//!   keys `\=` too; any other backslash is a backslash, and so is the first of two. That is how
//!   `InfluxDB` 1 and 2 read, and what Telegraf writes: its paths (`C:\dir`, `\\server`) are not escaped;
//! - in quoted strings `\"` and `\\` stand for the second character; a line break is part of the string;
//! - field values are decimals (`1`, `.5`, `1e-3`), integers (`1i`), unsigned integers (`1u`), quoted
//!   strings, and `t`, `T`, `true`, `True`, `TRUE` and their counterparts. `nan` and `inf` are no line
//!   protocol, but `printf` writes them: they come out as numbers, for whoever has a rule for them.
//!
//! As `InfluxDB` does, a tag without a value and an unescaped `=` in a tag's value are refused. Not
//! looked at: whether a key is in one line twice.

use std::borrow::Cow;

use super::{Reason, Reject, builder::Builder, names::clean_tag, value::Cell};
use crate::base::source_time::decimal_ns;

/// One point.
#[derive(Clone, Debug)]
struct Line<'a> {
    /// Never empty.
    measurement: Cow<'a, str>,
    /// Keys and values as they came, none of them empty.
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// At least one. Numbers are [`Cell::Number`] as they were written, integers [`Cell::Integer`] in
    /// the range of `i64` or `u64`.
    fields: Vec<(Cow<'a, str>, Cell<'a>)>,
    /// A whole number, possibly negative and of any length; its unit is not part of the protocol.
    time: Option<&'a str>,
}

/// One record a line. Its time is in the rule's unit, or told by its size; without one it has none.
pub(super) fn decode(text: &str, builder: &mut Builder<'_>) -> Result<(), Reject> {
    let rule = builder.rule();
    for line in lines(text) {
        let line = line?;
        let tags = rule.payload_tags.iter().map(|tag| {
            let keys = tag.at.as_ref().map_or(&[][..], |at| &at.0);
            clean_tag(&line.said_at(keys))
        });
        builder.set_tags(tags.collect());
        builder.begin()?;
        for (key, cell) in &line.fields {
            builder.put(key, cell)?;
        }
        let time = line.time.map(|time| {
            let ns = decimal_ns(time, rule.time_rule.unit);
            ns.ok_or_else(|| {
                Reject::new(Reason::BadTime, "a time outside 1677 to 2262 (time_unit)")
            })
        });
        builder.set_source_ts(time.transpose()?);
        builder.end()?;
    }
    if builder.begun() == 0 {
        return Err(Reject::new(Reason::Empty, "no line with a point"));
    }
    Ok(())
}

impl Line<'_> {
    /// What a tag's pointer leads to: `/measurement`, `/tags/KEY` or `/series`, which is all of them.
    fn said_at(&self, keys: &[Box<str>]) -> String {
        match keys.iter().map(|key| &**key).collect::<Vec<_>>()[..] {
            ["measurement" | "name"] => self.measurement.to_string(),
            ["tags", key] => {
                let mut tags = self.tags.iter();
                let found = tags.find(|(own, _)| own == key);
                found.map_or_else(String::new, |(_, value)| value.to_string())
            }
            _ => {
                let mut tags: Vec<String> =
                    self.tags.iter().map(|(k, v)| format!(",{k}={v}")).collect();
                // The same series, whatever the order.
                tags.sort_unstable();
                format!("{}{}", self.measurement, tags.concat())
            }
        }
    }
}

/// The points of `text`, in their order. The first error, which names line and column (in bytes, from
/// 1), is the last item.
fn lines(text: &str) -> Lines<'_> {
    Lines { text, at: 0 }
}

/// Points in a text that is refused: lines that are neither blank nor comments.
pub(super) fn count(text: &str) -> u64 {
    let is_point = |line: &&str| {
        !matches!(
            line.trim_ascii_start().as_bytes().first(),
            None | Some(b'#')
        )
    };
    text.lines().filter(is_point).count() as u64
}

/// See [`lines`].
#[derive(Clone, Debug)]
struct Lines<'a> {
    text: &'a str,
    /// Bytes read so far; always on a character's boundary.
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_to_point();
        self.peek()?;
        let line = self.line();
        if line.is_err() {
            self.at = self.text.len();
        }
        Some(line)
    }
}

impl<'a> Lines<'a> {
    fn line(&mut self) -> Result<Line<'a>, Reject> {
        let measurement = self.name(is_special_in_measurement);
        if measurement.is_empty() {
            return Err(self.expected("a measurement"));
        }
        let mut tags = Vec::new();
        while self.take(b',') {
            let key = self.key("a tag's key")?;
            let value = self.name(is_special);
            if value.is_empty() {
                return Err(self.expected("a tag's value"));
            }
            tags.push((key, value));
        }
        if !self.take(b' ') {
            return Err(self.expected("`,` or a space before the fields"));
        }
        self.skip(b' ');
        let mut fields = Vec::new();
        loop {
            let key = self.key("a field's key")?;
            fields.push((key, self.value()?));
            if !self.take(b',') {
                break;
            }
        }
        let time = self.time()?;
        if !self.take_line_end() {
            return Err(self.expected("the end of the line"));
        }
        Ok(Line {
            measurement,
            tags,
            fields,
            time,
        })
    }

    /// A key of a tag or field with the `=` behind it.
    fn key(&mut self, what: &str) -> Result<Cow<'a, str>, Reject> {
        let key = self.name(is_special);
        if key.is_empty() {
            return Err(self.expected(what));
        }
        if !self.take(b'=') {
            return Err(self.expected("`=` behind the key"));
        }
        Ok(key)
    }

    /// Up to a special character without a backslash before it, or the end of the line.
    fn name(&mut self, is_special: impl Fn(u8) -> bool) -> Cow<'a, str> {
        self.unescaped(&is_special, |byte| {
            is_special(byte) || matches!(byte, b'\n' | b'\r')
        })
    }

    /// Up to a byte that ends it; a backslash goes where what follows it can be escaped.
    fn unescaped(
        &mut self,
        is_escapable: impl Fn(u8) -> bool,
        is_end: impl Fn(u8) -> bool,
    ) -> Cow<'a, str> {
        let mut from = self.at;
        let mut unescaped = String::new();
        while let Some(byte) = self.peek() {
            if byte == b'\\' && self.byte(self.at + 1).is_some_and(&is_escapable) {
                unescaped.push_str(self.slice(from, self.at));
                from = self.at + 1;
                self.at += 2;
            } else if is_end(byte) {
                break;
            } else {
                self.at += 1;
            }
        }
        let rest = self.slice(from, self.at);
        if unescaped.is_empty() {
            // No escape, or one at the very beginning, whose second character begins the rest.
            return Cow::Borrowed(rest);
        }
        unescaped.push_str(rest);
        Cow::Owned(unescaped)
    }

    fn value(&mut self) -> Result<Cell<'a>, Reject> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let begin = self.at;
        while self
            .peek()
            .is_some_and(|byte| !matches!(byte, b',' | b' ' | b'\n' | b'\r'))
        {
            self.at += 1;
        }
        let text = self.slice(begin, self.at);
        let value = match text {
            "t" | "T" | "true" | "True" | "TRUE" => Some(Cell::Bool(true)),
            "f" | "F" | "false" | "False" | "FALSE" => Some(Cell::Bool(false)),
            _ => number(text),
        };
        value.ok_or_else(|| {
            self.at = begin;
            self.expected("a field's value (number, integer in 64 bits, boolean or quoted string)")
        })
    }

    fn string(&mut self) -> Result<Cell<'a>, Reject> {
        let begin = self.at;
        self.at += 1;
        let text = self.unescaped(|byte| matches!(byte, b'"' | b'\\'), |byte| byte == b'"');
        if !self.take(b'"') {
            self.at = begin;
            return Err(self.reject("a string without its closing quote"));
        }
        Ok(Cell::Text(text))
    }

    /// The timestamp, if there is one, with the spaces around it.
    fn time(&mut self) -> Result<Option<&'a str>, Reject> {
        if !self.take(b' ') {
            return Ok(None);
        }
        self.skip(b' ');
        let begin = self.at;
        let is_negative = self.take(b'-');
        let digits_begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == digits_begin {
            return if is_negative {
                Err(self.expected("the digits of a timestamp"))
            } else {
                Ok(None)
            };
        }
        let time = self.slice(begin, self.at);
        self.skip(b' ');
        Ok(Some(time))
    }

    /// Over what comes before a point: blanks, empty lines, comments.
    fn skip_to_point(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
    }

    /// Over `\n` or `\r\n`; the text's end is a line's end too, and so is a `\r` before it.
    fn take_line_end(&mut self) -> bool {
        match (self.peek(), self.byte(self.at + 1)) {
            (None, _) => true,
            (Some(b'\n'), _) | (Some(b'\r'), None) => {
                self.at += 1;
                true
            }
            (Some(b'\r'), Some(b'\n')) => {
                self.at += 2;
                true
            }
            _ => false,
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    fn skip(&mut self, byte: u8) {
        while self.take(byte) {}
    }

    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        // Both ends are next to ASCII characters or to the text's ends.
        self.text.get(from..to).unwrap_or_default()
    }

    #[cold]
    fn expected(&self, what: &str) -> Reject {
        self.reject(&format!("expected {what}"))
    }

    #[cold]
    fn reject(&self, what: &str) -> Reject {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().len() + 1;
        Reject::new(
            Reason::NotInflux,
            format!("line {line}, column {column}: {what}"),
        )
    }
}

fn is_special_in_measurement(byte: u8) -> bool {
    matches!(byte, b',' | b' ')
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ')
}

fn number(text: &str) -> Option<Cell<'_>> {
    if let Some(integer) = text.strip_suffix('i') {
        let integer: i64 = without_plus(integer)?.parse().ok()?;
        return Some(Cell::Integer(integer.into()));
    }
    if let Some(integer) = text.strip_suffix('u') {
        let integer: u64 = without_plus(integer)?.parse().ok()?;
        return Some(Cell::Integer(integer.into()));
    }
    is_decimal(text).then_some(Cell::Number(text))
}

/// Rust parses `+1`, which is no number here.
fn without_plus(text: &str) -> Option<&str> {
    (!text.starts_with('+')).then_some(text)
}

/// `-1`, `1.`, `.5`, `1.5e-3`; `nan`, `inf` and `infinity` in any case.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if ["nan", "inf", "infinity"]
        .iter()
        .any(|name| unsigned.eq_ignore_ascii_case(name))
    {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        !digits.is_empty() && are_digits(digits)
    };
    !(whole.is_empty() && fraction.is_empty())
        && are_digits(whole)
        && are_digits(fraction)
        && exponent.is_none_or(is_exponent)
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
