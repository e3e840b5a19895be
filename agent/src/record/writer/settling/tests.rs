use dunlin_sync::sample::{Field, FieldType, Origin, Value};

use super::*;
use crate::record::decode::{Group, Record};

fn field(name: &str) -> Field {
    Field {
        name: name.into(),
        kind: FieldType::F64,
    }
}

/// Records each with a value at these positions.
fn decoded(new_fields: &[&str], records: &[&[u32]]) -> Decoded {
    let value = |column: &u32| (*column, Value::F64(1.0));
    let record = |columns: &&[u32]| Record {
        source_ts: None,
        values: columns.iter().map(value).collect::<Vec<_>>().into(),
    };
    Decoded {
        new_fields: new_fields.iter().map(|name| field(name)).collect(),
        groups: vec![Group {
            tags: vec![],
            records: records.iter().map(record).collect(),
        }],
        ..Decoded::default()
    }
}

fn schema(origins: &[(Stage, Option<u32>)]) -> Arc<Schema> {
    let origins = origins.iter().map(|(stage, second_of)| Origin {
        second_of: *second_of,
        stage: *stage,
        ..Origin::default()
    });
    Arc::new(Schema {
        fields: ["a", "b", "c"][..origins.len()]
            .iter()
            .map(|name| field(name))
            .collect(),
        origins: origins.collect(),
        ..Schema::default()
    })
}

#[test]
fn a_field_is_settled_with_so_many_values_of_either_column() {
    let mut settling = Settling::default();
    let first = decoded(&["a", "b"], &[&[0], &[0]]);
    assert_eq!(settling.reached(None, &first, 4), [(0, Stage::Begun)]);
    let held = schema(&[
        (Stage::Begun, None),
        (Stage::Empty, None),
        (Stage::Settled, Some(0)),
    ]);
    let next = decoded(&[], &[&[2, 1], &[2]]);
    assert_eq!(
        settling.reached(Some(&held), &next, 4),
        [(1, Stage::Begun), (0, Stage::Settled)]
    );
    // It is said once.
    assert_eq!(settling.reached(Some(&held), &next, 4), []);
}

#[test]
fn what_an_earlier_version_began_is_settled_in_time_and_never_taken_for_empty() {
    let mut settling = Settling::default();
    let held = schema(&[(Stage::Unknown, None)]);
    assert_eq!(settling.reached(Some(&held), &decoded(&[], &[&[0]]), 2), []);
    let settled = [(0, Stage::Settled)];
    assert_eq!(
        settling.reached(Some(&held), &decoded(&[], &[&[0]]), 2),
        settled
    );
    // No count at all: with the first value.
    let mut settling = Settling::default();
    let first = settling.reached(None, &decoded(&["a"], &[&[0]]), 0);
    assert_eq!(first, [(0, Stage::Begun), (0, Stage::Settled)]);
}
