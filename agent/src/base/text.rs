//! Numbers, times and foreign text as people read them.

use std::fmt::Write as _;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one` or `many` of something.
pub(crate) fn of(number: u64, one: &str) -> String {
    let ending = match number {
        1 => "",
        _ if one.ends_with("sh") || one.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {one}{ending}", count(number))
}

/// Bytes as people read them.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {}", units[unit])
}

/// Seconds as people read them: the largest unit that fits, one digit where it helps.
pub(crate) fn seconds(seconds: f64) -> String {
    let units = [
        (365.25 * 86_400.0, "years"),
        (86_400.0, "days"),
        (3_600.0, "h"),
        (60.0, "min"),
    ];
    let unit = units.into_iter().find(|(size, _)| seconds >= 1.5 * size);
    let (value, name) = unit.map_or((seconds, "s"), |(size, name)| (seconds / size, name));
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {name}")
}

/// A time to the second, UTC.
pub(crate) fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns))
        .map(|time| format!("{time:.0}"))
        .unwrap_or_default()
}

/// Text from the network, fit for a terminal: line breaks and tabs stay, other control characters
/// are written out.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            out.extend(character.escape_debug());
        } else {
            out.push(character);
        }
    }
    out
}

/// Sixteen bytes a line, with their characters.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let mut pairs = String::new();
        for byte in line {
            // Writing to a String cannot fail.
            let _ok = write!(pairs, "{byte:02x} ");
        }
        let text: String = line
            .iter()
            .map(|b| {
                if b.is_ascii_graphic() || *b == b' ' {
                    char::from(*b)
                } else {
                    '.'
                }
            })
            .collect();
        let _ok = writeln!(out, "{:08x}  {pairs:48} {text}", index * 16);
    }
    out
}

/// Text from the network made fit for a log line: escaped, at most 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("`");
    let mut characters = text.chars();
    for character in characters.by_ref().take(64) {
        quoted.extend(character.escape_debug());
    }
    if characters.next().is_some() {
        quoted.push_str("...");
    }
    quoted.push('`');
    quoted
}

/// Names out of a list with commas between; a comma or back-slash inside one has a back-slash in front.
#[cfg_attr(not(feature = "learning"), allow(unreachable_pub))]
pub fn names(list: &str) -> Vec<String> {
    let (mut names, mut name, mut chars) = (Vec::new(), String::new(), list.chars());
    if list.is_empty() {
        return names;
    }
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            ',' => names.push(std::mem::take(&mut name)),
            c => name.push(c),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests;
