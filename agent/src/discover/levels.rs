//! What the levels of topics say by themselves, and filters made of them.

use super::words;
use crate::topic::is_tag_name;

/// From so many on, serial numbers of which none comes twice may be those of messages.
pub(super) const MESSAGES_MIN: usize = 8;

/// One level of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    /// A tag, named later.
    Tag,
    /// Any, and no tag.
    Any,
    /// It names the field.
    Field,
    /// It and all that follow name the field.
    RestField,
}

/// Whether a level names one of many of a kind, as a number, an address or a serial number does.
pub(super) fn is_id(level: &str) -> bool {
    let digits = level.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || level.starts_with('$') || is_version(level) {
        return false;
    }
    level.ends_with(|c: char| c.is_ascii_digit()) || is_serial(level)
}

/// Whether a level is a number, an address or a serial number that nobody else has.
pub(super) fn is_serial(level: &str) -> bool {
    let digits = level.bytes().filter(u8::is_ascii_digit).count();
    let mut parts = level.split(|c: char| !c.is_ascii_alphanumeric());
    let is_hex = |part: &str| {
        let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
        part.len() >= 6 && has_digit && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    !is_version(level) && (digits >= 4 || parts.any(is_hex))
}

/// `v3`, `mc_v3`, `v1.6`, `spBv1.0`.
fn is_version(level: &str) -> bool {
    let number = level.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some(before) = number.strip_suffix(['v', 'V']) else {
        return false;
    };
    let version = &level[number.len()..];
    before.is_empty() || before.ends_with(['_', '-', '.']) || version.contains('.')
}

/// Whether a level is a list of properties (`a=1&b=2`).
pub(super) fn is_property_bag(level: &str) -> bool {
    level.contains('=')
}

/// The filter as it is written, with a name for each tag that is none of `taken`.
pub(super) fn written(parts: &[Part], taken: &[String]) -> String {
    let mut names: Vec<String> = taken.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut before: Option<&str> = None;
    let mut levels = Vec::new();
    for part in parts {
        let level = match part {
            Part::Literal(literal) => literal.clone(),
            Part::Any => "+".to_owned(),
            Part::Field => "{field}".to_owned(),
            Part::RestField => "#{field}".to_owned(),
            Part::Tag => {
                let name = tag_name(before, &names);
                names.push(name.to_ascii_lowercase());
                format!("+{name}")
            }
        };
        before = match part {
            Part::Literal(literal) => Some(literal),
            _ => None,
        };
        levels.push(level);
    }
    levels.join("/")
}

/// What a tag is called behind the level `before`.
fn tag_name(before: Option<&str>, taken: &[String]) -> String {
    let named = before
        .filter(|before| words::names_a_kind_of_thing(before))
        .map(|before| before.strip_suffix('s').unwrap_or(before).to_lowercase());
    let named = named.map(|name| match &*name {
        "device" => "device_id".to_owned(),
        _ => name,
    });
    let names = named
        .into_iter()
        .chain(["thing".to_owned(), "part".to_owned()]);
    let numbered = (2..).map(|number| format!("part_{number}"));
    let mut names = names.chain(numbered);
    let free = names.find(|name| is_tag_name(name) && !taken.contains(&name.to_ascii_lowercase()));
    free.unwrap_or_default()
}

/// A name for a rule, made of the literal levels; `taken` are the names of others.
pub(super) fn rule_name(parts: &[Part], taken: &[String]) -> String {
    let literals = parts.iter().filter_map(|part| match part {
        Part::Literal(literal) if !literal.is_empty() => Some(literal.as_str()),
        _ => None,
    });
    let joined = literals.collect::<Vec<_>>().join("_");
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let mut name: String = joined.chars().map(kept).take(50).collect();
    let is_reserved = name.starts_with("sqlite_") || name.starts_with("dunlin_");
    if is_reserved || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name = format!("s_{}", name.trim_matches('_'));
    }
    let name = name.trim_end_matches('_').to_owned();
    let name = if name == "s" && joined != "s" {
        "all".to_owned()
    } else {
        name
    };
    let mut numbered = (2..).map(|number| format!("{name}_{number}"));
    if !taken.contains(&name) {
        return name;
    }
    numbered
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}
