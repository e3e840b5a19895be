//! Identifiers and literals that are safe whatever a topic or a payload holds.
//!
//! A name made of ASCII letters, digits and `_` within the limit stays as it is. Any other becomes
//! `readable_prefix_x` and 24 hexadecimal digits of its SHA-256: always the same for the same name,
//! never the same for two. A name that already looks like that is altered too, so the two kinds
//! cannot meet. Case is kept; `TDengine` tells `A` from `a` inside back-ticks.

use std::fmt::Write as _;

use rustls::{SupportedCipherSuite, crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256};

use crate::sample::{Schema, Stream};

/// Longest name of a column or tag. The connector copies names into 65-byte fields unchecked.
pub(super) const COLUMN_BYTES_MAX: usize = 64;
/// Longest name of a table.
pub(super) const TABLE_BYTES_MAX: usize = 192;
/// Bytes of a tag's value; longer ones are cut and marked with their hash.
pub(super) const TAG_BYTES_MAX: usize = 256;
/// The columns every table has, in order.
pub(super) const FIXED: [&str; 4] = ["ts", "is_train", "fold", "source_ts"];

const HASH_DIGITS: usize = 24;
const SUFFIX_BYTES: usize = HASH_DIGITS + 2;
/// Readable bytes at the front of a subtable's name.
const SUBTABLE_PREFIX_BYTES_MAX: usize = 100;

/// The first 96 bits of SHA-256, in hexadecimal: names are chosen by strangers, who could make two
/// names meet under a weaker hash.
fn hash(data: &[u8]) -> String {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        unreachable!("a TLS 1.3 suite by its name");
    };
    let digest = suite.common.hash_provider.hash(data);
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in &digest.as_ref()[..HASH_DIGITS / 2] {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn looks_altered(name: &str) -> bool {
    name.len() >= SUFFIX_BYTES && {
        let (mark, digits) = name.as_bytes()[name.len() - SUFFIX_BYTES..].split_at(2);
        mark == b"_x" && digits.iter().all(u8::is_ascii_hexdigit)
    }
}

fn suffixed(readable: &str, prefix_bytes_max: usize, hashed: &[u8]) -> String {
    let mut name: String = readable
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(prefix_bytes_max)
        .collect();
    name.push_str("_x");
    name.push_str(&hash(hashed));
    name
}

fn altered(name: &str, bytes_max: usize) -> String {
    suffixed(name, bytes_max - SUFFIX_BYTES, name.as_bytes())
}

/// The identifier for `name`, at most `bytes_max` (>= 32) bytes of ASCII letters, digits and `_`.
pub(super) fn identifier(name: &str, bytes_max: usize) -> String {
    let keep = !name.is_empty()
        && name.len() <= bytes_max
        && name.bytes().all(is_plain)
        && !looks_altered(name);
    if keep {
        name.to_owned()
    } else {
        altered(name, bytes_max)
    }
}

pub(super) fn supertable(schema: &Schema) -> String {
    identifier(&schema.name, TABLE_BYTES_MAX)
}

/// The supertable numbered `part` (from 0) of a schema that needs several.
pub(super) fn part(schema: &Schema, part: usize) -> String {
    identifier(&format!("{}_{}", schema.name, part + 1), TABLE_BYTES_MAX)
}

/// The same where another schema has the name that [`part`] gives.
pub(super) fn part_beside(schema: &Schema, part: usize) -> String {
    let name = format!("{}_{}", schema.name, part + 1);
    let hashed = format!("part\0{name}");
    suffixed(&name, TABLE_BYTES_MAX - SUFFIX_BYTES, hashed.as_bytes())
}

/// The subtable of a stream under the supertable numbered `part`; `first` is that under the first.
pub(super) fn subtable_of_part(first: &str, part: usize) -> String {
    match part {
        0 => first.to_owned(),
        part => format!("{first}_{}", part + 1),
    }
}

/// The subtable of a stream: readable, and unique for schema and the tag values that the stream was
/// declared with (the device's tag is one of them, so devices sharing a database never share a table).
pub(super) fn subtable(stream: &Stream, schema: &Schema) -> String {
    let mut identity = Vec::new();
    for part in std::iter::once(&schema.name).chain(stream.naming_tags()) {
        identity.extend_from_slice(&(part.len() as u64).to_le_bytes());
        identity.extend_from_slice(part.as_bytes());
    }
    suffixed(stream.plain_name(), SUBTABLE_PREFIX_BYTES_MAX, &identity)
}

/// The columns of a schema's tags and fields. Whichever meets a fixed column, or as a field meets a
/// tag, takes an altered name of its own kind.
pub(super) fn columns(schema: &Schema) -> (Vec<String>, Vec<String>) {
    let tags: Vec<String> = schema
        .tag_names
        .iter()
        .map(|tag| unless_taken("tag", tag, &is_fixed))
        .collect();
    let fields = schema.fields.iter();
    let fields = fields.map(|field_| field(&field_.name, &tags)).collect();
    (tags, fields)
}

/// The column of a field called `name` beside `tags`.
pub(super) fn field(name: &str, tags: &[String]) -> String {
    unless_taken("field", name, &|name| {
        is_fixed(name) || tags.iter().any(|tag| tag == name)
    })
}

fn unless_taken(kind: &str, name: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let plain = identifier(name, COLUMN_BYTES_MAX);
    if is_taken(&plain) {
        let hashed = format!("{kind}\0{name}");
        suffixed(name, COLUMN_BYTES_MAX - SUFFIX_BYTES, hashed.as_bytes())
    } else {
        plain
    }
}

fn is_fixed(name: &str) -> bool {
    FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name))
}

/// A tag's value as stored: at most [`TAG_BYTES_MAX`] bytes, without NUL.
pub(super) fn tag_value(value: &str) -> String {
    if value.len() <= TAG_BYTES_MAX && !value.contains('\0') {
        return value.to_owned();
    }
    let mut end = (TAG_BYTES_MAX - SUFFIX_BYTES).min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    format!(
        "{}_x{}",
        value[..end].replace('\0', "_"),
        hash(value.as_bytes())
    )
}

/// Appends `text` as a quoted SQL literal. A NUL must have been refused before.
pub(super) fn push_literal(sql: &mut String, text: &str) {
    sql.push('\'');
    for c in text.chars() {
        match c {
            '\'' => sql.push_str("\\'"),
            '"' => sql.push_str("\\\""),
            '\\' => sql.push_str("\\\\"),
            '\n' => sql.push_str("\\n"),
            '\r' => sql.push_str("\\r"),
            '\t' => sql.push_str("\\t"),
            other => sql.push(other),
        }
    }
    sql.push('\'');
}

#[cfg(test)]
mod tests;
