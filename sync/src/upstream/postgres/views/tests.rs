#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    sample::{Field, FieldType, Origin, Schema},
    upstream::{
        postgres::{
            choice::{Choice, choose},
            state::State,
        },
        told::Told,
    },
};

fn choice(tags: &[&str], fields: &[(&str, FieldType, Option<u32>)]) -> Choice {
    let schema = Schema {
        name: "s".into(),
        tag_names: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        fields: fields
            .iter()
            .map(|(name, kind, _)| Field {
                name: (*name).into(),
                kind: *kind,
            })
            .collect(),
        origins: fields
            .iter()
            .map(|(_, _, second_of)| Origin {
                second_of: *second_of,
                ..Origin::default()
            })
            .collect(),
        ..Schema::default()
    };
    choose(&schema, &State::default(), &Told::default())
}

fn first(choice: &Choice, there: Option<&Relation>) -> View {
    view("n", 0, &choice.parts, &choice.tags, &choice.fields, there)
}

fn made(view: &View) -> Relation {
    let columns = view
        .columns
        .iter()
        .map(|name| (name.clone(), String::new()));
    Relation {
        columns: columns.collect(),
        comment: Some(view.comment.clone()),
        ..Relation::default()
    }
}

#[test]
fn columns_that_are_one_field_are_one_of_a_type_that_all_of_them_have() {
    let fields = [
        ("a", FieldType::F64, None),
        ("a_i64", FieldType::I64, Some(0)),
        ("b", FieldType::F64, None),
        ("b_text", FieldType::Text, Some(2)),
        ("c_text", FieldType::Text, None),
    ];
    let choice = choice(&["device"], &fields);
    let view = first(&choice, None);
    let names = [
        "time",
        "device",
        "stream",
        "ts",
        "is_train",
        "fold",
        "source_ts",
        "a",
        "b",
        "c_text",
    ];
    assert_eq!(view.columns, names);
    let numbers = "coalesce(t.\"a\"::double precision, t.\"a_i64\"::double precision) AS \"a\"";
    assert!(view.select.contains(numbers), "{}", view.select);
    let texts = "coalesce(t.\"b\"::text, t.\"b_text\"::text) AS \"b\"";
    assert!(view.select.contains(texts), "{}", view.select);
}

#[test]
fn names_in_a_view_are_each_there_once_whatever_tags_and_fields_are_called() {
    let fields = [("time", FieldType::F64, None), ("m'", FieldType::F64, None)];
    let choice = choice(&["z", "ts", "m'", "device"], &fields);
    let view = first(&choice, None);
    let names = [
        "time",
        "device",
        "m'",
        "ts_2",
        "z",
        "stream",
        "ts",
        "is_train",
        "fold",
        "source_ts",
        "time_2",
        "m'_2",
    ];
    assert_eq!(view.columns, names);
    assert!(
        view.select.contains("s.tags ->> E'm''' AS \"m'\""),
        "{}",
        view.select
    );
}

#[test]
fn a_view_that_is_as_it_is_to_be_stays_and_one_that_grows_only_grows() {
    let a = ("a", FieldType::F64, None);
    let old = first(&choice(&["device"], &[a]), None);
    let there = made(&old);
    let same = first(&choice(&["device"], &[a]), Some(&there));
    assert!(same.is_made(Some(&there)) && same.extends(Some(&there)));
    let b = ("b", FieldType::F64, None);
    let grown = first(&choice(&["device", "line"], &[b, a]), Some(&there));
    assert!(!grown.is_made(Some(&there)) && grown.extends(Some(&there)));
    assert_eq!(grown.columns[..8], old.columns);
    assert_eq!(grown.columns[8..], ["line", "b"]);
    let other = first(&choice(&["device"], &[b]), Some(&there));
    assert!(!other.extends(Some(&there)), "a column has gone");
    assert!(!old.is_made(None) && old.extends(None));
}

#[test]
fn a_view_has_no_more_columns_than_the_server_takes() {
    let names: Vec<String> = (0..4_000).map(|number| format!("f{number}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (&**name, FieldType::Bool, None))
        .collect();
    let choice = choice(&["device"], &fields);
    let view = first(&choice, None);
    assert_eq!(view.columns.len(), COLUMNS_MAX);
    let joined = view.select.matches("LEFT JOIN").count();
    assert_eq!(joined, 1, "only what is shown is joined");
}
