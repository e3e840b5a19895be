//! Lines and columns.

use super::*;

#[test]
fn csv_with_a_header() {
    let timed = StreamRule {
        time: Some("/at".into()),
        fields: vec![at("/B", declared("b", FieldType::I64))],
        ..csv(true)
    };
    let decoded = ok(
        &timed,
        "\u{feff}at, B,state\n1.5,7,\n, ,\"on\"\n\n2,8,off\n",
    );
    assert_eq!(decoded.new_fields.len(), 2);
    assert_eq!(
        decoded.new_fields[1],
        declared("state", FieldType::Text).field
    );
    let records = &decoded.records();
    assert_eq!(records.len(), 3);
    assert_eq!(
        (records[0].source_ts, &*row(records[0])),
        (Some(1_500_000_000), &[Some(Value::I64(7))][..])
    );
    assert_eq!(
        (records[1].source_ts, &*row(records[1])),
        (None, &[None, t("on")][..])
    );
    assert_eq!(row(records[2]), [Some(Value::I64(8)), t("off")]);
    for (payload, reason) in [
        ("", Reason::Empty),
        ("at,b\n", Reason::Empty),
        ("a,a\n1,2\n", Reason::NotCsv),
        ("a,b\n1\n", Reason::NotCsv),
        ("a,b\n1,2,3\n", Reason::NotCsv),
        ("at,B\nnoon,1\n", Reason::BadTime),
        ("B\n1.5\n", Reason::WrongType),
        ("x\na\u{1b}b\n", Reason::BadText),
        ("x\ninf\n", Reason::Nan),
    ] {
        assert_eq!(refused(&timed, payload).0, reason, "{payload}");
    }
}

#[test]
fn csv_without_a_header() {
    let plain = StreamRule {
        fields: vec![
            declared("a", FieldType::F64),
            declared("b", FieldType::Text),
        ],
        ..csv(false)
    };
    let decoded = ok(&plain, "1,on\n2,off");
    assert_eq!(row(decoded.records()[1]), [f(2.0), t("off")]);
    assert_eq!(refused(&plain, "1\n2,off"), (Reason::NotCsv, 2));
    assert_eq!(refused(&plain, "1,on,3").0, Reason::NotCsv);
    let placed = StreamRule {
        time: Some("2".into()),
        fields: vec![
            at("/1", declared("a", FieldType::F64)),
            declared("b", FieldType::Text),
        ],
        ..csv(false)
    };
    let decoded = ok(&placed, "on,1,5,rest\n");
    assert_eq!(decoded.records()[0].source_ts, Some(5_000_000_000));
    assert_eq!(row(decoded.records()[0]), [f(1.0), t("on")]);
    let named = StreamRule {
        time: Some("at".into()),
        ..plain
    };
    assert_eq!(refused(&named, "1,on").0, Reason::NotCsv);
}
