#![allow(clippy::unwrap_used, clippy::float_cmp)]

use dunlin_sync::{
    rows::Column,
    sample::{Field, FieldType, Schema, Value},
};
use proptest::prelude::*;

use super::*;

type Row = [Option<Value>; 5];

fn schema() -> Schema {
    let field = |name: &str, kind| Field {
        name: name.into(),
        kind,
    };
    Schema {
        id: 0,
        name: "press".into(),
        tag_names: vec!["device".into(), "machine".into(), "a".into()],
        fields: vec![
            field("a", FieldType::F64),
            field("b", FieldType::I64),
            field("ok", FieldType::Bool),
            field("s", FieldType::Text),
            field("odd name", FieldType::F32),
        ],
        origins: Vec::new(),
    }
}

fn tags() -> Vec<String> {
    vec!["pi".into(), "press-7".into(), "tagged".into()]
}

fn check(text: &str) -> Result<Checked, ConditionError> {
    Condition::parse(text)?.check(&schema(), &tags())
}

fn takes(text: &str, row: &Row) -> bool {
    let checked = check(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let columns: Vec<Column> = checked
        .fields()
        .iter()
        .map(|(field, kind)| {
            // A row of another kind before and after: places must not be mixed up.
            let mut column = Column::empty(*kind);
            column.push(None).unwrap();
            column.push(row[*field].clone()).unwrap();
            column.push(None).unwrap();
            column
        })
        .collect();
    checked.takes(&columns.iter().collect::<Vec<_>>(), 1)
}

fn row() -> Row {
    [
        Some(Value::F64(41.5)),
        Some(Value::I64(-3)),
        Some(Value::Bool(true)),
        Some(Value::Text("höt_100%".into())),
        None,
    ]
}

#[test]
fn conditions_mean_what_they_say() {
    for text in [
        "a > 40 and machine = \"press-7\"",
        "a>40 AND machine='press-7'",
        "not (a <= 40 or ok = false)",
        "ok",
        "not not ok",
        "ok = (a > b)",
        "a + b * 2 = 35.5",
        "(a + b) * 2 = 77",
        "-b = 3 and - -b = -3 and b % 2 = -1 and 6 / b = -2",
        "10 - 3 - 2 = 5 and 12 / 3 / 2 = 2",
        "b in (1, -3, 7)",
        "b not in (1, 2)",
        "a between 41 and 42 and ok",
        "a not between 1 and 2",
        "s like 'h_t%'",
        "s like '%100%'",
        "s not like 'h_'",
        "s in ('x', 'höt_100%') and s > 'a'",
        "`odd name` is null and a is not null",
        "(`odd name` > 1) is null",
        "`odd name` > 1 or ok",
        "not (`odd name` > 1 and not ok)",
        "tag.a = 'tagged' and device <> 'pj'",
        "a / 0 is null",
        "'it''s' = \"it's\" and .5 = 5e-1",
        "false or true",
    ] {
        assert!(takes(text, &row()), "{text}");
    }
    for text in [
        "`odd name` > 1",
        "not `odd name` > 1",
        "`odd name` not in (1)",
        "`odd name` = `odd name`",
        "b in (1, `odd name`)",
        "b not in (1, `odd name`)",
        "a / 0 = a / 0",
        "0 / 0 = 0",
        "s like 'H%'",
        "s like ''",
    ] {
        assert!(!takes(text, &row()), "{text}");
    }
    let nan = [Some(Value::F64(f64::NAN)), None, None, None, None];
    assert!(takes("a is null", &nan));
    assert!(!takes("a = a or a != a", &nan));
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    for (text, at, words) in [
        ("", 1, "not the end"),
        ("a >", 4, "a name, a value or `(` is expected, not the end"),
        ("a > 1 b", 7, "`and`, `or` or the end is expected, not `b`"),
        ("a > 1 ; drop table x", 7, "';' means nothing here"),
        ("(a > 1", 7, "`)` is expected"),
        ("s = 'x", 5, "never closed"),
        ("ü > 1 and s = 'é' and nope = 1", 1, "no field or tag `ü`"),
        (
            "s = 'é' and nope = 1",
            13,
            "fields: a, b, ok, s, odd name; tags: device, machine, a",
        ),
        ("sqrt(a) > 1", 1, "there are none"),
        ("a > 1e999", 5, "is no number"),
        ("a > 0x10", 5, "is no number"),
        ("a > 1.2.3", 5, "is no number"),
        ("a not 1", 7, "`in`, `between` or `like` is expected"),
        ("a is 1", 6, "`null` is expected"),
        ("a in 1", 6, "`(` is expected"),
        ("a in ()", 7, "is expected"),
        ("a between 1 or 2", 13, "`and` is expected"),
        ("s like b", 8, "a pattern in quotes"),
        ("a like 'x'", 1, "`like` is for texts"),
        ("a", 1, "a condition is expected"),
        ("s and ok", 1, "a condition is expected"),
        ("a > 'x'", 5, "a number cannot be compared with a text"),
        ("s in (1)", 7, "a text cannot be compared with a number"),
        ("ok > false", 1, "no order"),
        ("1 < a < 3", 7, "is expected"),
        ("s + 1 > 2", 1, "a number is expected"),
        ("a = null", 5, "is expected"),
        ("a > 1 AND", 10, "the end"),
        ("\u{202e}a > 1", 1, "means nothing here"),
        ("a > 1\u{0}", 6, "means nothing here"),
    ] {
        let error = check(text).unwrap_err();
        assert!(error.what.contains(words), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().starts_with("condition, character "));
    }
}

#[test]
fn neither_depth_nor_length_does_harm() {
    let deep = |open: &str, close: &str, times| {
        Condition::parse(&format!("{}ok{}", open.repeat(times), close.repeat(times)))
    };
    for (open, close) in [("(", ")"), ("not ", ""), ("ok = (", ")")] {
        assert!(deep(open, close, 40).is_ok(), "{open}");
        for times in [60, 500] {
            let error = deep(open, close, times).unwrap_err();
            assert!(error.what.contains("deep"), "{open}: {error}");
        }
    }
    assert!(
        Condition::parse(&format!("a{} > 1", " + 1".repeat(1_000)))
            .unwrap_err()
            .what
            .contains("deep")
    );
    assert!(
        Condition::parse(&format!("{}b > 1", "- ".repeat(2_000)))
            .unwrap_err()
            .what
            .contains("deep")
    );
    let long = vec!["ok"; 500].join(" and ");
    assert!(takes(&long, &row()));
    let error = Condition::parse(&"a".repeat(5_000)).unwrap_err();
    assert!(error.what.contains("at most 4096"), "{error}");
    let list = format!("b in ({}-3)", "1,".repeat(1_500));
    assert!(takes(&list, &row()));
}

#[test]
fn a_condition_travels_as_its_text() {
    let condition = Condition::parse("a > 1 and s = \"x\"").unwrap();
    let json = serde_json::to_string(&condition).unwrap();
    assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition);
    assert!(serde_json::from_str::<Condition>("\"a >\"").is_err());
}

/// A condition with its meaning worked out beside it, by a second and simpler way.
#[derive(Clone, Debug)]
struct Naive {
    text: String,
    number: Option<f64>,
    truth: Option<bool>,
}

fn number(text: impl Into<String>, number: Option<f64>) -> Naive {
    Naive {
        text: text.into(),
        number: number.filter(|number| !number.is_nan()),
        truth: None,
    }
}

fn truth(text: impl Into<String>, truth: Option<bool>) -> Naive {
    Naive {
        text: text.into(),
        number: None,
        truth,
    }
}

fn any_number(a: Option<f64>, b: Option<i64>) -> impl Strategy<Value = Naive> {
    let leaf = prop_oneof![
        Just(number("a", a)),
        Just(number("B".to_lowercase(), b.map(|b| b as f64))),
        (0_u32..20).prop_map(|n| number(n.to_string(), Some(f64::from(n)))),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        (inner.clone(), inner, 0..5).prop_map(|(x, y, op)| {
            let (sign, value) = match (op, x.number.zip(y.number)) {
                (0, both) => ("+", both.map(|(x, y)| x + y)),
                (1, both) => ("-", both.map(|(x, y)| x - y)),
                (2, both) => ("*", both.map(|(x, y)| x * y)),
                (3, both) => ("/", both.filter(|(_, y)| *y != 0.0).map(|(x, y)| x / y)),
                (_, both) => ("%", both.map(|(x, y)| x % y)),
            };
            number(format!("({} {sign} {})", x.text, y.text), value)
        })
    })
}

fn any_truth(a: Option<f64>, b: Option<i64>) -> impl Strategy<Value = Naive> {
    let compared = (any_number(a, b), any_number(a, b), 0..6).prop_map(|(x, y, op)| {
        let both = x.number.zip(y.number);
        let (sign, value) = match op {
            0 => ("=", both.map(|(x, y)| x == y)),
            1 => ("<>", both.map(|(x, y)| x != y)),
            2 => ("<", both.map(|(x, y)| x < y)),
            3 => ("<=", both.map(|(x, y)| x <= y)),
            4 => (">", both.map(|(x, y)| x > y)),
            _ => (">=", both.map(|(x, y)| x >= y)),
        };
        truth(format!("{}{sign}{}", x.text, y.text), value)
    });
    let between = (any_number(a, b), any_number(a, b), any_number(a, b)).prop_map(|(x, y, z)| {
        let low = x.number.zip(y.number).map(|(x, y)| x >= y);
        let high = x.number.zip(z.number).map(|(x, z)| x <= z);
        let value = match (low, high) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        truth(
            format!("{} between {} and {}", x.text, y.text, z.text),
            value,
        )
    });
    let null = any_number(a, b)
        .prop_map(|x| truth(format!("{} is not null", x.text), Some(x.number.is_some())));
    prop_oneof![compared, between, null].prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0..3).prop_map(|(x, y, op)| match op {
            0 => truth(format!("not ({})", x.text), x.truth.map(|x| !x)),
            1 => {
                let value = match (x.truth, y.truth) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                truth(format!("({} and {})", x.text, y.text), value)
            }
            _ => {
                let value = match (x.truth, y.truth) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                };
                truth(format!("({} or {})", x.text, y.text), value)
            }
        })
    })
}

fn any_case() -> impl Strategy<Value = (Row, Naive)> {
    let a = prop::option::of(prop_oneof![
        (-20_i32..20).prop_map(f64::from),
        Just(f64::NAN),
        Just(f64::INFINITY),
    ]);
    (a, prop::option::of(-20_i64..20)).prop_flat_map(|(a, b)| {
        let row: Row = [a.map(Value::F64), b.map(Value::I64), None, None, None];
        any_truth(a.filter(|a| !a.is_nan()), b).prop_map(move |naive| (row.clone(), naive))
    })
}

proptest! {
    #[test]
    fn judging_agrees_with_a_naive_evaluator((row, naive) in any_case()) {
        prop_assume!(naive.text.len() <= TEXT_BYTES_MAX);
        prop_assert_eq!(takes(&naive.text, &row), naive.truth == Some(true), "{}", naive.text);
    }

    #[test]
    fn nothing_panics_and_places_lie_inside(text in "[abs(),'\"`=<>!+*/% .0-9inotdrlke\\PC-]{0,60}") {
        if let Err(error) = check(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{error}");
        }
    }

    #[test]
    fn any_text_at_all_is_read_or_refused(text: String) {
        let _ = check(&text);
    }
}

#[test]
fn a_field_of_several_types_is_read_as_what_it_is_compared_with() {
    let field = |name: &str, kind| Field {
        name: name.into(),
        kind,
    };
    let beside = |second_of| dunlin_sync::sample::Origin {
        second_of,
        ..Default::default()
    };
    let schema = Schema {
        fields: vec![
            field("state", FieldType::Text),
            field("ready", FieldType::Bool),
            field("state_f64", FieldType::F64),
            field("ready_f64", FieldType::F64),
        ],
        origins: [None, None, Some(0), Some(1)].map(beside).to_vec(),
        ..Schema::default()
    };
    let looked_at = |text: &str| {
        let checked = Condition::parse(text).unwrap().check(&schema, &[]);
        checked.map(|checked| checked.fields().last().copied().unwrap())
    };
    let expected = [
        ("state > 4", (0, FieldType::F64)),
        ("state = 'ok'", (0, FieldType::Text)),
        ("state in ('ok', 'worn')", (0, FieldType::Text)),
        ("state like 'o%'", (0, FieldType::Text)),
        ("ready", (1, FieldType::Bool)),
        ("ready = true", (1, FieldType::Bool)),
        ("ready = 1", (1, FieldType::F64)),
        ("state_f64 > 4", (2, FieldType::F64)),
    ];
    for (text, field) in expected {
        assert_eq!(looked_at(text).unwrap(), field, "{text}");
    }
    for text in ["ready = 'x'", "state", "state_f64 = 'ok'"] {
        looked_at(text).unwrap_err();
    }
}
