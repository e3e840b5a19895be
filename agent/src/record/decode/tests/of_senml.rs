//! Packs of measurements.

use super::*;

#[test]
fn senml_measurements_of_one_time_make_one_record() {
    let pack = r#"[
        {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,
         "n":"voltage","u":"V","v":120.1},
        {"n":"current","t":-5,"v":1.2},
        {"n":"voltage","t":-5,"v":119},
        {"n":"door","vb":true}, {"n":"state","vs":"ok"}, {"n":"energy","s":12.5}]"#;
    let decoded = ok(&senml(), pack);
    let names: Vec<&str> = decoded
        .new_fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["current", "voltage", "door", "state", "energy.sum"]);
    assert_eq!(
        decoded.records()[0].source_ts,
        Some(1_276_020_071_001_000_000)
    );
    assert_eq!(row(decoded.records()[0]), [f(1.2), f(119.0)]);
    assert_eq!(
        decoded.records()[1].source_ts,
        Some(1_276_020_076_001_000_000)
    );
    assert_eq!(
        row(decoded.records()[1]),
        [None, f(120.1), Some(Value::Bool(true)), t("ok"), f(12.5)]
    );
}

#[test]
fn senml_names_and_bases() {
    let decoded = ok(&senml(), r#"[{"bn":"dev1","v":1}]"#);
    assert_eq!(only(&decoded), [("dev1", f(1.0))]);
    let decoded = ok(
        &senml(),
        r#"[{"bn":"d1/","bv":20,"bs":5},{"n":"t","v":1.5},{"n":"u","s":1},{"bn":"d2/","n":"t","v":2}]"#,
    );
    // Each base name is a thing of its own, and tells its streams apart.
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["t", "u.sum"]);
    let groups: Vec<_> = decoded
        .groups
        .iter()
        .map(|g| (&*g.tags[0], row(&g.records[0])))
        .collect();
    let wanted = [("d1/", vec![f(21.5), f(6.0)]), ("d2/", vec![f(22.0)])];
    assert_eq!(groups, wanted);
    // Relative to a now that is unknown here, but in order.
    let decoded = ok(&senml(), r#"[{"bn":"a","v":2},{"t":-1,"v":1}]"#);
    let values: Vec<_> = decoded
        .records()
        .iter()
        .map(|record| row(record)[0].clone())
        .collect();
    assert_eq!(values, [f(1.0), f(2.0)]);
    assert!(
        decoded
            .records()
            .iter()
            .all(|record| record.source_ts.is_none())
    );
}

#[test]
fn senml_refuses_what_it_does_not_understand() {
    for (pack, reason) in [
        ("", Reason::Empty),
        ("[]", Reason::Empty),
        (r#"[{"bn":"a"}]"#, Reason::Empty),
        (r#"{"n":"a","v":1}"#, Reason::NotSenml),
        (r#"[{"n":"a"}]"#, Reason::NotSenml),
        (r#"[{"v":1}]"#, Reason::NotSenml),
        (r#"[{"n":"a","v":"1"}]"#, Reason::NotSenml),
        (r#"[{"n":"a","vb":1}]"#, Reason::NotSenml),
        (r#"[{"n":"a","v":1,"vb":true}]"#, Reason::NotSenml),
        (r#"[{"n":"a","v":1,"v":2}]"#, Reason::NotSenml),
        (r#"[{"n":"a","v":1},{"n":"a","v":2}]"#, Reason::NotSenml),
        (r#"[{"n":"a","v":1,"must_":2}]"#, Reason::NotSenml),
        (r#"[{"bver":11,"n":"a","v":1}]"#, Reason::NotSenml),
        (r#"[{"n":"a","vd":"AAA"}]"#, Reason::WrongType),
        (r#"[{"n":"a","t":1e30,"v":1}]"#, Reason::BadTime),
        (r#"[{"n":"a","v":1e999}]"#, Reason::Nan),
        (r#"[{"n":"a","vs":"\u0000"}]"#, Reason::BadText),
    ] {
        assert_eq!(refused(&senml(), pack).0, reason, "{pack}");
    }
    assert!(decode(&senml(), None, br#"[{"n":"a","v":1,"x":[{}]}]"#).is_ok());
}

#[test]
fn senml_in_cbor_is_read_as_in_json() {
    let json = ok(
        &senml(),
        r#"[{"bn":"d1/","bt":1700000000.5,"n":"t","v":21.5},{"n":"on","vb":true},{"n":"s","t":-1,"vs":"x"}]"#,
    );
    let entry = |labels: &[(i64, ciborium::Value)]| {
        let pairs = labels
            .iter()
            .map(|(label, value)| ((*label).into(), value.clone()));
        ciborium::Value::Map(pairs.collect())
    };
    let pack = ciborium::Value::Array(vec![
        entry(&[
            (-2, "d1/".into()),
            (-3, 1_700_000_000.5.into()),
            (0, "t".into()),
            (2, 21.5.into()),
        ]),
        entry(&[(0, "on".into()), (4, true.into())]),
        entry(&[(0, "s".into()), (6, (-1).into()), (3, "x".into())]),
    ]);
    let mut payload = Vec::new();
    ciborium::into_writer(&pack, &mut payload).unwrap();
    let cbor = StreamRule {
        format: PayloadFormat::SenMlCbor,
        ..senml()
    };
    assert_eq!(decode(&cbor, None, &payload), Ok(json));
}
