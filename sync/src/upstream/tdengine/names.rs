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

/// The supertable of a schema.
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Field, FieldType};

    fn schema(tags: &[&str], fields: &[&str]) -> Schema {
        Schema {
            id: 0,
            name: "s".into(),
            tag_names: tags.iter().map(ToString::to_string).collect(),
            fields: fields
                .iter()
                .map(|name| Field {
                    name: (*name).into(),
                    kind: FieldType::F64,
                })
                .collect(),
        }
    }

    fn stream(name: &str, tags: &[&str]) -> Stream {
        Stream {
            id: 0,
            schema: 0,
            name: name.into(),
            tags: tags.iter().map(ToString::to_string).collect(),
            first_tags: None,
        }
    }

    #[test]
    fn sha_256_is_what_it_says() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de");
    }

    #[test]
    fn plain_names_stay_and_others_are_marked() {
        assert_eq!(identifier("Vibration_2", 64), "Vibration_2");
        assert_eq!(identifier("split", 64), "split");
        let dotted = identifier("plant/../`x`", 64);
        assert!(dotted.starts_with("plant_____x__x"), "{dotted}");
        assert_ne!(identifier("a.b", 64), identifier("a/b", 64));
        // Passing off a plain name for the altered form of another does not work.
        assert_ne!(identifier(&dotted, 64), dotted);
    }

    #[test]
    fn tags_that_change_and_the_device_behind_a_name_do_not_change_the_subtable() {
        let of = schema(&["device", "site"], &[]);
        let at_first = stream("vib/m1", &["d", "north"]);
        let name = subtable(&at_first, &of);
        let changed = Stream {
            tags: vec!["d".into(), "south".into(), "more".into()],
            first_tags: Some(at_first.tags.clone()),
            ..at_first.clone()
        };
        assert_eq!(subtable(&changed, &of), name);
        let marked = Stream {
            name: "vib/m1#d".into(),
            ..at_first
        };
        assert_eq!(subtable(&marked, &of), name);
    }

    #[test]
    fn fixed_columns_and_tags_keep_their_names_against_fields() {
        let (tags, fields) = columns(&schema(
            &["device", "fold"],
            &["ts", "is_train", "device", "x", "TS"],
        ));
        assert_eq!(tags[0], "device");
        assert!(tags[1].starts_with("fold_x"));
        assert!(fields[0].starts_with("ts_x"));
        assert!(fields[1].starts_with("is_train_x"));
        assert!(fields[2].starts_with("device_x"));
        assert_eq!(fields[3], "x");
        assert!(fields[4].starts_with("TS_x"));
    }

    #[test]
    fn subtables_differ_by_device_and_by_where_captures_end() {
        let schema = schema(&["device", "a", "b"], &[]);
        let names = [
            subtable(&stream("s/x/y", &["d1", "x", "y"]), &schema),
            subtable(&stream("s/x/y", &["d2", "x", "y"]), &schema),
            subtable(&stream("s/x/y", &["d1", "x/y", ""]), &schema),
        ];
        assert_ne!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
        assert!(names[0].starts_with("s_x_y_x"));
    }

    #[test]
    fn literals_escape_what_ends_them() {
        let mut sql = String::new();
        push_literal(&mut sql, "it's \\ \"q\"\n\r\t\u{fc}`");
        assert_eq!(sql, "'it\\'s \\\\ \\\"q\\\"\\n\\r\\t\u{fc}`'");
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,300}",
            "[a-zA-Z0-9_]{0,200}",
            "[`'\"./\\\\;-]{1,20}",
            "[a-z]{0,4}_x[0-9a-f]{24}",
        ]
    }

    proptest! {
        #[test]
        fn identifiers_are_safe_and_deterministic(name in any_name(), bytes_max in 32..=192usize) {
            let id = identifier(&name, bytes_max);
            prop_assert!(!id.is_empty() && id.len() <= bytes_max);
            prop_assert!(id.bytes().all(is_plain));
            prop_assert_eq!(&id, &identifier(&name, bytes_max));
            prop_assert!(id == name || looks_altered(&id));
        }

        #[test]
        fn different_names_never_meet(names in prop::collection::hash_set(any_name(), 2..40)) {
            let mut seen = HashMap::new();
            for name in names {
                let id = identifier(&name, COLUMN_BYTES_MAX);
                // Its own altered form is a name like any other.
                for name in [name, id.clone()] {
                    let id = identifier(&name, COLUMN_BYTES_MAX);
                    if let Some(other) = seen.insert(id, name.clone()) {
                        prop_assert_eq!(other, name);
                    }
                }
            }
        }

        #[test]
        fn columns_of_a_schema_are_distinct(
            tags in prop::collection::btree_set("(ts|fold|x|y|[a-z.]{1,3})", 0..4),
            fields in prop::collection::btree_set("(ts|is_train|FOLD|x|y|[a-z.]{1,3})", 0..6),
        ) {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let (tags, fields) = columns(&schema(&tags, &fields));
            let mut all: Vec<&str> = FIXED.to_vec();
            all.extend(tags.iter().chain(&fields).map(String::as_str));
            let mut distinct = all.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(all.len(), distinct.len());
        }

        #[test]
        fn subtables_are_short_and_plain(name in ".{0,400}", tag in ".{0,400}") {
            let id = subtable(&stream(&name, &[&tag]), &schema(&["device"], &[]));
            prop_assert!(id.len() <= TABLE_BYTES_MAX && id.bytes().all(is_plain));
        }

        #[test]
        fn tag_values_fit(value in ".{0,400}") {
            let stored = tag_value(&value);
            prop_assert!(stored.len() <= TAG_BYTES_MAX && !stored.contains('\0'));
            prop_assert!(stored == value || value.len() > TAG_BYTES_MAX || value.contains('\0'));
        }

        #[test]
        fn literals_read_back(text in ".{0,60}") {
            let mut sql = String::new();
            push_literal(&mut sql, &text);
            let mut chars = sql.chars();
            prop_assert_eq!(chars.next(), Some('\''));
            let mut read = String::new();
            loop {
                match chars.next().unwrap() {
                    '\'' => break,
                    '\\' => read.push(match chars.next().unwrap() {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    }),
                    other => read.push(other),
                }
            }
            prop_assert_eq!(chars.next(), None);
            prop_assert_eq!(read, text);
        }
    }
}
