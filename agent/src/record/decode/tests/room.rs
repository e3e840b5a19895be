//! Room for fields that nobody has declared.

use super::*;

const MAX: usize = 64;

fn inferring() -> StreamRule {
    StreamRule {
        fields_max: MAX,
        on_misfit: OnMisfit::Missing,
        ..rule()
    }
}

/// `{"info":{"i0":0,"i1":1,..}}`
fn document(fields: usize) -> String {
    let fields = (0..fields).map(|n| format!("\"i{n}\":{n}"));
    let fields: Vec<String> = fields.collect();
    format!("{{\"info\":{{{}}}}}", fields.join(","))
}

/// The schema of `before` after `decoded`.
fn grown(before: &Schema, decoded: &Decoded) -> Schema {
    let fields = before.fields.iter().chain(&decoded.new_fields);
    Schema {
        fields: fields.cloned().collect(),
        ..before.clone()
    }
}

fn took(rule: &StreamRule, schema: &Schema, payload: &str) -> (usize, u64, Schema) {
    let decoded = decode(rule, Some(schema), payload.as_bytes()).unwrap();
    let kinds = decoded.misfits.kinds.iter();
    let refused = kinds.filter(|kind| kind.reason == Reason::TooManyFields);
    let refused = refused.map(|kind| kind.values).sum();
    (decoded.new_fields.len(), refused, grown(schema, &decoded))
}

#[test]
fn a_wide_document_however_often_it_comes_leaves_room_for_what_comes_after_it() {
    let rule = inferring();
    let (new, refused, mut held) = took(&rule, &schema(&[]), &document(100));
    assert_eq!((new, refused), (MAX, 36));
    for _ in 0..3 {
        let (new, refused, after) = took(&rule, &held, &document(100));
        assert_eq!((new, refused), (0, 36));
        held = after;
    }
    // What measures is not as wide, and has a quarter as much again for itself.
    for n in 0..4 {
        let reading = format!("{{\"a{n}\":1,\"b{n}\":2,\"c{n}\":3,\"d{n}\":4}}");
        let (new, refused, after) = took(&rule, &held, &reading);
        assert_eq!((new, refused), (4, 0));
        held = after;
    }
    let (new, refused, _) = took(&rule, &held, r#"{"a0":1,"late":1}"#);
    assert_eq!((new, refused), (0, 1));
}

#[test]
fn what_fits_has_all_of_its_room_at_once() {
    let rule = inferring();
    let (new, refused, held) = took(&rule, &schema(&[]), &document(MAX));
    assert_eq!((new, refused), (MAX, 0));
    // A few more than that are few.
    let (new, refused, _) = took(&rule, &held, &document(MAX + 16));
    assert_eq!((new, refused), (16, 0));
    let (new, refused, _) = took(&rule, &held, &document(MAX + 17));
    assert_eq!((new, refused), (0, 17));
}

#[test]
fn columns_that_are_excluded_by_now_do_not_count() {
    let (_, _, held) = took(&inferring(), &schema(&[]), &document(100));
    let excluding = StreamRule {
        exclude_fields: vec!["info.*".into()],
        time: Some("/time".into()),
        ..inferring()
    };
    let readings = document(50).replace("info", "values");
    let (new, refused, held) = took(&excluding, &held, &readings);
    assert_eq!((new, refused), (50, 0));
    // A publish of nothing else has nothing to store, which is no fault of it.
    let nothing = decode(&excluding, Some(&held), document(100).as_bytes()).unwrap();
    assert!(nothing.groups.is_empty() && nothing.misfits.is_empty());
    for (payload, records) in [
        (r#"[{"info":{"i0":1}},{"speed":2}]"#, 1),
        (r#"{"info":{"i0":1},"time":1}"#, 0),
        (r#"{"info.other":1}"#, 0),
    ] {
        let decoded = decode(&excluding, Some(&held), payload.as_bytes()).unwrap();
        assert_eq!(decoded.records().len(), records, "{payload}");
    }
    let empty = decode(&excluding, Some(&held), b"{}").unwrap_err();
    assert_eq!(empty.reason, Reason::Empty);
}

#[test]
fn what_is_declared_always_has_room() {
    let (_, _, mut held) = took(&inferring(), &schema(&[]), &document(MAX));
    held.fields[0].kind = FieldType::Text;
    let declaring = StreamRule {
        fields: vec![
            declared("info.i0", FieldType::F64),
            declared("speed", FieldType::F64),
        ],
        ..inferring()
    };
    let payload = r#"{"info":{"i0":1.5},"speed":2}"#;
    let decoded = decode(&declaring, Some(&held), payload.as_bytes()).unwrap();
    assert!(decoded.misfits.is_empty());
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| &*f.name).collect();
    assert_eq!(names, ["info.i0_f64", "speed"]);
}

#[test]
fn a_refusal_says_what_to_exclude() {
    let (_, _, held) = took(&inferring(), &schema(&[]), &document(100));
    let advice = "exclude_fields = [\"info.*\"]";
    let again = decode(&inferring(), Some(&held), document(100).as_bytes()).unwrap();
    assert!(
        again.misfits.summary().contains(advice),
        "{:?}",
        again.misfits
    );
    // Also where what comes is not what has taken the room, and where all of it is refused.
    let strict = StreamRule {
        on_misfit: OnMisfit::Refuse,
        ..inferring()
    };
    let readings = document(20).replace("info", "values");
    let reject = decode(&strict, Some(&held), readings.as_bytes()).unwrap_err();
    assert_eq!(reject.reason, Reason::TooManyFields);
    assert!(reject.detail.contains(advice), "{reject}");
}
