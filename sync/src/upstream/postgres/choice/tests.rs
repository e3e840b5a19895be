#![allow(clippy::unwrap_used)]

use super::*;
use crate::sample::Stage;
use crate::upstream::postgres::state::Relation;

fn schema(fields: &[(&str, FieldType)]) -> Schema {
    let fields = fields.iter().map(|(name, kind)| Field {
        name: (*name).into(),
        kind: *kind,
    });
    Schema {
        name: "s".into(),
        tag_names: vec!["device".into()],
        fields: fields.collect(),
        ..Schema::default()
    }
}

/// What is there after everything in `choice` was done.
fn applied(choice: &Choice) -> State {
    let mut state = State {
        tags: choice.tags.clone(),
        fields: choice.fields.clone(),
        ..State::default()
    };
    for (number, part) in choice.parts.iter().enumerate() {
        state.tables.push((part.table.clone(), part.view.clone()));
        let fixed = fixed_columns(number).iter();
        let fixed = fixed.map(|name| ((*name).to_owned(), "i64".to_owned()));
        let relation = Relation {
            oid: number as u32 + 1,
            columns: fixed.chain(part.columns.clone()).collect(),
            columns_ever: part.columns_ever,
            comment: None,
        };
        state.relations.insert(part.table.clone(), relation);
    }
    state
}

fn column_of(choice: &Choice, position: usize) -> &str {
    &choice.places[position].as_ref().unwrap().column
}

#[test]
fn what_was_chosen_once_is_chosen_again_and_changes_nothing() {
    let kinds = [FieldType::F64, FieldType::F32, FieldType::Text];
    let names: Vec<String> = (0..3_000).map(|number| format!("f{number}")).collect();
    let fields = names.iter().enumerate();
    let fields: Vec<_> = fields.map(|(at, name)| (&**name, kinds[at % 3])).collect();
    let schema = schema(&fields);
    let told = Told::default();
    let first = choose(&schema, &State::default(), &told);
    assert!(first.changes_tables());
    assert!(first.parts.len() > 3);
    for (number, part) in first.parts.iter().enumerate() {
        assert!(part.row_bytes <= ROW_BYTES_MAX, "{number}");
        assert!(part.columns.len() < COLUMNS_MAX, "{number}");
    }
    let again = choose(&schema, &applied(&first), &told);
    assert!(!again.changes_tables());
    let places = |choice: &Choice| -> Vec<Place> {
        choice
            .places
            .iter()
            .map(|place| place.clone().unwrap())
            .collect()
    };
    assert_eq!(places(&again), places(&first));
}

#[test]
fn a_column_of_another_type_has_one_beside_it_and_four_of_them_are_the_end() {
    let told = Told::default();
    let mut state = State::default();
    let number = schema(&[("a", FieldType::F64)]);
    state = applied(&choose(&number, &state, &told));
    let text = schema(&[("a", FieldType::Text)]);
    let beside = choose(&text, &state, &told);
    assert_eq!(column_of(&beside, 0), "a_text");
    let known = &beside.fields["a_text"];
    assert_eq!(known.noted.second_of.as_deref(), Some("a"));
    state = applied(&beside);
    // A float of 32 bits fits into one of 64, not the other way round.
    let single = schema(&[("a", FieldType::F32), ("b", FieldType::F32)]);
    let narrow = choose(&single, &state, &told);
    assert_eq!((column_of(&narrow, 0), column_of(&narrow, 1)), ("a", "b"));
    state = applied(&narrow);
    let double = schema(&[("b", FieldType::F64)]);
    assert_eq!(column_of(&choose(&double, &state, &told), 0), "b_f64");
    // What is there counts, not what was noted.
    for relation in state.relations.values_mut() {
        for (_, kind) in &mut relation.columns {
            *kind = "int4".into();
        }
    }
    let mut fields = vec![("a".to_owned(), FieldType::Text)];
    for _ in 0..BESIDE_MAX {
        let taken = choose(&text, &state, &told);
        let Ok(place) = &taken.places[0] else { break };
        fields.push((place.column.clone(), FieldType::Text));
        state = applied(&taken);
        for relation in state.relations.values_mut() {
            for (_, kind) in &mut relation.columns {
                *kind = "int4".into();
            }
        }
    }
    let refusal = choose(&text, &state, &told).places[0].clone().unwrap_err();
    assert!(
        refusal.can_heal && refusal.reason.contains("rename or drop"),
        "{refusal:?}"
    );
}

#[test]
fn names_that_mean_something_to_the_server_or_to_us_are_given_others() {
    let long = "l".repeat(64);
    let fields = [
        ("ts", FieldType::F64),
        ("ctid", FieldType::F64),
        (&*long, FieldType::F64),
        ("nul\0", FieldType::F64),
    ];
    let mut schema = schema(&fields);
    schema.name = "dunlin_streams".into();
    let choice = choose(&schema, &State::default(), &Told::default());
    assert_eq!(
        (column_of(&choice, 0), column_of(&choice, 1)),
        ("ts_2", "ctid_2")
    );
    assert_eq!(column_of(&choice, 2).len(), 63);
    assert!(!choice.places[3].as_ref().unwrap_err().can_heal);
    assert_eq!(choice.parts[0].table, "t_dunlin_streams");
}

#[test]
fn a_field_of_its_own_for_anybody_is_one_for_good() {
    let told = Told::default();
    let mut both = schema(&[("a", FieldType::F64), ("a_text", FieldType::Text)]);
    both.origins = vec![
        Origin {
            stage: Stage::Begun,
            ..Origin::default()
        },
        Origin {
            second_of: Some(0),
            ..Origin::default()
        },
    ];
    let state = applied(&choose(&both, &State::default(), &told));
    assert_eq!(state.fields["a_text"].noted.second_of.as_deref(), Some("a"));
    both.origins[1] = Origin {
        stage: Stage::Begun,
        ..Origin::default()
    };
    let own = choose(&both, &state, &told);
    assert_eq!(own.fields["a_text"].noted.second_of.as_deref(), Some(""));
    both.origins[1] = Origin {
        second_of: Some(0),
        ..Origin::default()
    };
    let still = choose(&both, &applied(&own), &told);
    assert!(!still.changes_tables());
}
