//! Fields that come with a second type.

use dunlin_sync::sample::{Origin, Stage};

use super::*;
use crate::config::settings::OnMisfit;

/// What a schema that holds `fields` makes of the only record of `payload`: names and values.
fn beside(rule: &StreamRule, fields: &[(&str, FieldType)], payload: &str) -> Vec<(String, Value)> {
    let held = schema(fields);
    let decoded = decode(rule, Some(&held), payload.as_bytes()).unwrap();
    assert_eq!(decoded.records().len(), 1);
    let names = held.fields.iter().chain(&decoded.new_fields);
    let values = row(decoded.records()[0]).into_iter();
    names
        .map(|field| field.name.clone())
        .zip(values)
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn named(values: &[(&str, Option<Value>)]) -> Vec<(String, Value)> {
    let values = values.iter().cloned();
    values
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[test]
fn a_second_type_goes_beside_the_first_and_costs_nothing() {
    let decoded = ok(
        &rule(),
        r#"[{"state":1,"x":1},{"state":"ok","x":2},{"x":3,"state":true},{"state":2},{"state":"off"}]"#,
    );
    let names: Vec<&str> = decoded
        .new_fields
        .iter()
        .map(|field| &*field.name)
        .collect();
    assert_eq!(names, ["state", "x", "state_text", "state_bool"]);
    let values: Vec<_> = decoded.records().into_iter().map(row).collect();
    let on = Some(Value::Bool(true));
    assert_eq!(values[0], [f(1.0), f(1.0)]);
    assert_eq!(values[1], [None, f(2.0), t("ok")]);
    assert_eq!(values[2], [None, f(3.0), None, on]);
    assert_eq!(values[3], [f(2.0)]);
    assert_eq!(values[4], [None, None, t("off")]);
    let told: Vec<_> = decoded
        .seconds
        .iter()
        .map(|second| (&*second.field, second.held, &*second.second, second.kind))
        .collect();
    assert_eq!(
        told,
        [
            ("state", FieldType::F64, "state_text", FieldType::Text),
            ("state", FieldType::F64, "state_bool", FieldType::Bool)
        ]
    );
    // Once it is held it is no news.
    let held = schema(&[("state", FieldType::F64), ("state_text", FieldType::Text)]);
    let again = decode(&rule(), Some(&held), br#"{"state":"ok"}"#).unwrap();
    assert_eq!(row(again.records()[0]), [None, t("ok")]);
    assert_eq!((again.seconds, again.new_fields), (vec![], vec![]));
}

#[test]
fn numbers_behind_a_word_have_a_field_of_their_own() {
    let held = [("temperature", FieldType::Text)];
    assert_eq!(
        beside(&rule(), &held, r#"{"temperature":21.5}"#),
        named(&[("temperature_f64", f(21.5))])
    );
    assert_eq!(
        beside(&csv(true), &[("t", FieldType::F64)], "t\nworn\n"),
        named(&[("t_text", t("worn"))])
    );
    assert_eq!(
        beside(
            &senml(),
            &[("t", FieldType::F64)],
            r#"[{"n":"t","vs":"worn"}]"#
        ),
        named(&[("t_text", t("worn"))])
    );
    // Objects where a value was: what lies in them has names of its own.
    assert_eq!(
        beside(&rule(), &[("t", FieldType::F64)], r#"{"t":{"v":1}}"#),
        named(&[("t.v", f(1.0))])
    );
}

#[test]
fn a_field_of_that_name_keeps_what_is_its_own() {
    let text = ("state_text", FieldType::Text);
    let number = ("state_text", FieldType::F64);
    let state = ("state", FieldType::F64);
    for payload in [
        r#"{"state":"ok","state_text":"fine"}"#,
        r#"{"state_text":"fine","state":"ok"}"#,
    ] {
        assert_eq!(
            beside(&rule(), &[state, text], payload),
            named(&[("state_text", t("fine")), ("state_text_2", t("ok"))]),
            "{payload}"
        );
        // Not held before, either.
        assert_eq!(
            beside(&rule(), &[state], payload),
            named(&[("state_text", t("fine")), ("state_text_2", t("ok"))]),
            "{payload}"
        );
    }
    assert_eq!(
        beside(
            &rule(),
            &[state, number],
            r#"{"state_text":1,"state":"ok"}"#
        ),
        named(&[("state_text", f(1.0)), ("state_text_2", t("ok"))])
    );
    // Another type in the second field goes beside that one.
    assert_eq!(
        beside(&rule(), &[state, text], r#"{"state":"ok","state_text":1}"#),
        named(&[("state_text_2", t("ok")), ("state_text_f64", f(1.0))])
    );
    let declaring = StreamRule {
        fields: vec![declared("state_text", FieldType::Text)],
        ..rule()
    };
    assert_eq!(
        beside(&declaring, &[state, text], r#"{"state":"ok"}"#),
        named(&[("state_text_2", t("ok"))])
    );
    let elsewhere = StreamRule {
        fields: vec![at("/a/b", declared("state_text", FieldType::Text))],
        ..rule()
    };
    assert_eq!(
        beside(
            &elsewhere,
            &[state, text],
            r#"{"state":"ok","a":{"b":"x"}}"#
        ),
        named(&[("state_text", t("x")), ("state_text_2", t("ok"))])
    );
    assert_eq!(
        refused(&rule(), r#"{"state":1,"state":"ok"}"#).0,
        Reason::NotJson,
        "one name twice is still that"
    );
}

#[test]
fn what_is_declared_is_refused_if_it_does_not_fit() {
    let declaring = StreamRule {
        fields: vec![declared("state", FieldType::F64)],
        ..rule()
    };
    assert_eq!(
        refused(&declaring, r#"{"state":"ok"}"#).0,
        Reason::WrongType
    );
    let strict = StreamRule {
        fields: vec![declared("x", FieldType::F64)],
        infer: false,
        ..rule()
    };
    let held = schema(&[("x", FieldType::F64), ("state", FieldType::F64)]);
    let reject = decode(&strict, Some(&held), br#"{"state":"ok"}"#).unwrap_err();
    assert_eq!(reject.reason, Reason::WrongType, "nothing new is wanted");
}

#[test]
fn a_declaration_against_what_is_held_is_obeyed() {
    let declaring = StreamRule {
        fields: vec![
            declared("hum", FieldType::F64),
            declared("temperature", FieldType::F64),
        ],
        ..rule()
    };
    let held = [("temperature", FieldType::Text), ("hum", FieldType::F64)];
    assert_eq!(
        beside(&declaring, &held, r#"{"temperature":21.5,"hum":40}"#),
        named(&[("hum", f(40.0)), ("temperature_f64", f(21.5))])
    );
    let more = [held[0], held[1], ("temperature_f64", FieldType::F64)];
    assert_eq!(
        beside(&declaring, &more, r#"{"hum":40,"temperature":21.5}"#),
        named(&[("hum", f(40.0)), ("temperature_f64", f(21.5))])
    );
    let word = decode(
        &declaring,
        Some(&schema(&more)),
        br#"{"temperature":"hot"}"#,
    );
    assert_eq!(word.unwrap_err().reason, Reason::WrongType);
    let required = StreamRule {
        fields: vec![DeclaredField {
            required: true,
            ..declared("temperature", FieldType::F64)
        }],
        ..rule()
    };
    let none = decode(&required, Some(&schema(&more)), br#"{"hum":1}"#).unwrap_err();
    assert_eq!(none.reason, Reason::MissingField);
}

#[test]
fn no_more_fields_than_the_rule_allows() {
    let names: Vec<String> = (0..10).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let reject = decode(&rule(), Some(&schema(&fields)), br#"{"f1":"x"}"#).unwrap_err();
    assert_eq!(reject.reason, Reason::TooManyFields);
    let wide = StreamRule {
        fields_max: 1_000,
        ..rule()
    };
    let names: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let texts: Vec<String> = (0..100)
        .rev()
        .map(|n| format!(r#""f{n}":"v{n}""#))
        .collect();
    let decoded = decode(
        &wide,
        Some(&schema(&fields)),
        format!("{{{}}}", texts.join(",")).as_bytes(),
    )
    .unwrap();
    assert_eq!(decoded.new_fields.len(), 100);
    for (field, value) in decoded
        .new_fields
        .iter()
        .zip(&row(decoded.records()[0])[100..])
    {
        let number = field
            .name
            .strip_prefix('f')
            .unwrap()
            .strip_suffix("_text")
            .unwrap();
        assert_eq!(*value, t(&format!("v{number}")));
    }
}

/// As [`schema`], each field with which it is beside and how far it has come.
fn known(fields: &[(&str, FieldType, Option<u32>, Stage)]) -> Schema {
    let plain: Vec<_> = fields
        .iter()
        .map(|(name, kind, ..)| (*name, *kind))
        .collect();
    let origin = |(_, _, second_of, stage): &(&str, FieldType, Option<u32>, Stage)| Origin {
        second_of: *second_of,
        stage: *stage,
        ..Origin::default()
    };
    Schema {
        origins: fields.iter().map(origin).collect(),
        ..schema(&plain)
    }
}

fn into(rule: &StreamRule, held: &Schema, payload: &str) -> (Vec<(String, Value)>, Decoded) {
    let decoded = decode(rule, Some(held), payload.as_bytes()).unwrap();
    let names = held.fields.iter().chain(&decoded.new_fields);
    let values = row(decoded.records()[0]).into_iter();
    let values = names
        .map(|field| field.name.clone())
        .zip(values)
        .filter_map(|(name, value)| Some((name, value?)));
    (values.collect(), decoded)
}

#[test]
fn a_field_of_its_own_never_takes_the_values_of_another() {
    let held = known(&[
        ("state", FieldType::F64, None, Stage::Begun),
        ("state_text", FieldType::Text, None, Stage::Begun),
    ]);
    let (values, decoded) = into(&rule(), &held, r#"{"state":"ok"}"#);
    assert_eq!(values, named(&[("state_text_2", t("ok"))]));
    assert_eq!(decoded.seconds[0].second, "state_text_2");
    // Nor one that came with an earlier record of the publish.
    let decoded = ok(
        &rule(),
        r#"[{"state":1,"state_text":"fine"},{"state":"ok"}]"#,
    );
    let second = &decoded.seconds[0];
    assert_eq!((&*second.field, &*second.second), ("state", "state_text_2"));
}

#[test]
fn a_column_of_an_earlier_version_is_taken_over_once_it_is_used_unless_its_name_may_be_anything() {
    let held = known(&[
        ("state", FieldType::Text, None, Stage::Unknown),
        ("state_f64", FieldType::F64, None, Stage::Unknown),
        ("t", FieldType::F64, None, Stage::Unknown),
        ("t_text", FieldType::Text, None, Stage::Unknown),
        ("u_f64", FieldType::F64, None, Stage::Unknown),
        ("u", FieldType::Text, None, Stage::Unknown),
    ]);
    let payload = r#"{"state":1,"t":"worn","u":2}"#;
    let (values, decoded) = into(&rule(), &held, payload);
    let expected = named(&[
        ("state_f64", f(1.0)),
        ("t_text", t("worn")),
        ("u_f64", f(2.0)),
    ]);
    assert_eq!(values, expected);
    // `u_f64` was there before `u`.
    let told: Vec<_> = decoded
        .seconds
        .iter()
        .map(|second| &*second.second)
        .collect();
    assert_eq!(told, ["state_f64"]);
    let declaring = StreamRule {
        fields: vec![declared("state", FieldType::F64)],
        ..rule()
    };
    let (values, decoded) = into(&declaring, &held, r#"{"state":1}"#);
    assert_eq!(values, named(&[("state_f64", f(1.0))]));
    assert_eq!((decoded.seconds.len(), decoded.new_fields.len()), (1, 0));
    // Once it is known there is nothing to say.
    let mut held = held;
    held.origins[1].second_of = Some(0);
    assert!(
        into(&declaring, &held, r#"{"state":1}"#)
            .1
            .changes_nothing()
    );
}

#[test]
fn a_settled_field_opens_no_column_and_what_comes_is_in_quarantine() {
    let held = known(&[
        ("state", FieldType::F64, None, Stage::Settled),
        ("mode", FieldType::F64, None, Stage::Settled),
        ("mode_text", FieldType::Text, Some(1), Stage::Settled),
    ]);
    let payload = r#"{"state":"ok","mode":"auto"}"#;
    let lenient = StreamRule {
        on_misfit: OnMisfit::Missing,
        ..rule()
    };
    let (values, decoded) = into(&lenient, &held, payload);
    assert_eq!(
        values,
        named(&[("mode_text", t("auto"))]),
        "it is there already"
    );
    assert!(decoded.changes_nothing());
    assert!(decoded.misfits.missing.has(1, "state"));
    let detail = decoded.misfits.summary();
    assert!(detail.contains("infer_records"), "{detail}");
    let refusing = StreamRule {
        on_misfit: OnMisfit::Refuse,
        ..rule()
    };
    let reject = decode(&refusing, Some(&held), payload.as_bytes()).unwrap_err();
    assert_eq!(reject.reason, Reason::WrongType);
    // A counter becomes large at any time.
    let (values, _) = into(&rule(), &held, r#"{"state":9007199254740993}"#);
    assert_eq!(
        values,
        named(&[("state_i64", Some(Value::I64(9_007_199_254_740_993)))])
    );
    // What is declared is what it is, however late.
    let declaring = StreamRule {
        fields: vec![declared("state", FieldType::Text)],
        ..rule()
    };
    let (values, decoded) = into(&declaring, &held, r#"{"state":"ok"}"#);
    assert_eq!(values, named(&[("state_text", t("ok"))]));
    assert_eq!(decoded.seconds.len(), 1);
}

#[test]
fn a_declaration_changes_the_type_in_place_where_nothing_was_stored_under_the_old_one() {
    let declaring = StreamRule {
        fields: vec![declared("t", FieldType::F64)],
        ..rule()
    };
    let held = known(&[("t", FieldType::I64, None, Stage::Empty)]);
    let (values, decoded) = into(&declaring, &held, r#"{"t":21.5}"#);
    assert_eq!(values, named(&[("t", f(21.5))]));
    assert_eq!(decoded.retyped, [declared("t", FieldType::F64).field]);
    assert!(decoded.seconds.is_empty() && decoded.new_fields.is_empty());
    for stage in [Stage::Unknown, Stage::Begun, Stage::Settled] {
        let held = known(&[("t", FieldType::I64, None, stage)]);
        let (values, decoded) = into(&declaring, &held, r#"{"t":21.5}"#);
        assert_eq!(values, named(&[("t_f64", f(21.5))]), "{stage:?}");
        assert!(decoded.retyped.is_empty());
    }
}
