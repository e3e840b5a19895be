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
        origins: Vec::new(),
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
