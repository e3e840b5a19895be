#![allow(clippy::unwrap_used)]

use dunlin_sync::sample::{Field, Origin};

use super::*;
use crate::{config::settings::DeclaredField, topic::TopicFilter};

const MARCH_NS: i64 = 1_772_366_400_000_000_000;

fn schema(fields: &[(&str, FieldType, Option<u32>, Stage)]) -> Vec<Arc<Schema>> {
    let field = |(name, kind, ..): &(&str, FieldType, Option<u32>, Stage)| Field {
        name: (*name).into(),
        kind: *kind,
    };
    let origin = |(_, _, second_of, stage): &(&str, FieldType, Option<u32>, Stage)| Origin {
        since_ns: Some(MARCH_NS),
        second_of: *second_of,
        stage: *stage,
        ..Origin::default()
    };
    vec![Arc::new(Schema {
        name: "vibration".into(),
        fields: fields.iter().map(field).collect(),
        origins: fields.iter().map(origin).collect(),
        ..Schema::default()
    })]
}

fn rule(name: &str, kind: FieldType) -> Vec<StreamRule> {
    let declared = DeclaredField {
        field: Field {
            name: name.into(),
            kind,
        },
        pointer: None,
        required: false,
        conversion: None,
    };
    let filter = TopicFilter::parse("plant/vibration").unwrap();
    vec![StreamRule {
        fields: vec![declared],
        ..StreamRule::new("vibration".into(), filter)
    }]
}

#[test]
fn says_what_is_held_as_what_since_when_and_what_will_be() {
    let held = schema(&[("temperature", FieldType::I64, None, Stage::Settled)]);
    assert_eq!(
        told(&held, &rule("temperature", FieldType::F64)),
        [
            "`vibration`: `temperature` is held as i64 since 2026-03-01; from now on as f64 in \
          `temperature_f64`; both are one field in views and cohorts"
        ]
    );
    assert!(told(&held, &rule("temperature", FieldType::I64)).is_empty());
    assert!(told(&held, &[]).is_empty());
    let held = schema(&[
        ("temperature", FieldType::I64, None, Stage::Settled),
        ("temperature_f64", FieldType::F64, Some(0), Stage::Settled),
    ]);
    let now = "`vibration`: `temperature` is held as i64 since 2026-03-01, as f64 in \
               `temperature_f64` since 2026-03-01; both are one field in views and cohorts";
    assert_eq!(told(&held, &[]), [now]);
    assert_eq!(told(&held, &rule("temperature", FieldType::F64)), [now]);
    let third = told(&held, &rule("temperature", FieldType::Text));
    assert!(third[0].ends_with(
        "from now on as text in `temperature_text`; all are one field in views and cohorts"
    ));
    let held = schema(&[("temperature", FieldType::I64, None, Stage::Empty)]);
    assert_eq!(
        told(&held, &rule("temperature", FieldType::F64)),
        ["`vibration`: `temperature` is f64 from now on; nothing was stored as i64"]
    );
}

#[test]
fn many_fields_are_counted() {
    let names: Vec<String> = (0..60).map(|number| format!("f{number}")).collect();
    let fields: Vec<_> = (0..60_u32)
        .map(|number| {
            let second_of = number.checked_sub(30);
            (
                &*names[number as usize],
                FieldType::F64,
                second_of,
                Stage::Settled,
            )
        })
        .collect();
    let lines = told(&schema(&fields), &[]);
    assert_eq!((lines.len(), &*lines[20]), (21, "and 10 fields more"));
}
