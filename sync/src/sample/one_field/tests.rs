use crate::sample::{Field, FieldType, Origin, Schema};

fn schema(fields: &[(&str, FieldType, Option<u32>)]) -> Schema {
    let field = |(name, kind, _): &(&str, FieldType, Option<u32>)| Field {
        name: (*name).to_owned(),
        kind: *kind,
    };
    let origin = |(_, _, second_of): &(&str, FieldType, Option<u32>)| Origin {
        second_of: *second_of,
        ..Origin::default()
    };
    Schema {
        fields: fields.iter().map(field).collect(),
        origins: fields.iter().map(origin).collect(),
        ..Schema::default()
    }
}

#[test]
fn names_alone_make_no_two_columns_one_field() {
    let schema = schema(&[
        ("status", FieldType::F64, None),
        ("status_text", FieldType::Text, None),
    ]);
    assert_eq!(schema.seconds_of(0).count(), 0);
    assert!(!schema.is_second(1));
    assert_eq!(schema.kind_of(1), FieldType::Text);
}

#[test]
fn a_field_is_a_number_where_one_of_its_columns_is_or_else_a_flag() {
    let kinds = [
        (FieldType::I64, FieldType::F64, FieldType::F64),
        (FieldType::Bool, FieldType::F64, FieldType::F64),
        (FieldType::Text, FieldType::I64, FieldType::F64),
        (FieldType::Text, FieldType::Bool, FieldType::Bool),
        (FieldType::Bool, FieldType::Text, FieldType::Bool),
        (FieldType::Text, FieldType::Text, FieldType::Text),
        (FieldType::I64, FieldType::I64, FieldType::I64),
    ];
    for (first, second, both) in kinds {
        let schema = schema(&[
            ("x", first, None),
            ("y", FieldType::F32, None),
            ("x_2", second, Some(0)),
        ]);
        assert_eq!(schema.kind_of(0), both, "{first} and {second}");
        assert_eq!(schema.seconds_of(0).collect::<Vec<_>>(), [2]);
        assert_eq!(schema.kind_of(2), second, "named itself");
    }
}
