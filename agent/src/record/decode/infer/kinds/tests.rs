#![allow(clippy::unwrap_used)]

use dunlin_sync::sample::{Schema, Value};

use super::{
    super::tests::{fields, records},
    *,
};

#[test]
fn codes_and_integers_of_more_than_64_bits_stay_as_they_are() {
    let file = "code,serial,n,zero\n007,18446744073709551616,1,0\n12,2,-3,0.5\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    let kinds: Vec<FieldType> = fields(&plan).iter().map(|(.., kind)| *kind).collect();
    assert_eq!(
        kinds,
        [
            FieldType::Text,
            FieldType::Text,
            FieldType::F64,
            FieldType::F64
        ]
    );
    // Further down, the type is given.
    let file = "x\n1.5\n9007199254740993\n9007199254740991\n";
    let plan = CsvPlan::infer("x\n1.5\n", None).unwrap();
    let taken: Vec<bool> = records(&plan, file).iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, true]);
}

#[test]
fn a_column_that_begins_empty_is_told_by_the_whole_file() {
    let head = "a,b,never,c,own\n1,,,,\n2,,,,\n";
    let file = format!("{head}3,5.5,,true,x\n4,6,,,\n");
    let held = Schema {
        id: 0,
        name: "s".into(),
        tag_names: Vec::new(),
        fields: vec![Field {
            name: "own".into(),
            kind: FieldType::Text,
        }],
        origins: Vec::new(),
    };
    let mut plan = CsvPlan::infer(head, Some(&held)).unwrap();
    assert!(!plan.is_settled());
    let lines = plan.reader(file.as_bytes()).unwrap();
    plan.settle(lines).unwrap();
    let f64s = FieldType::F64;
    let (bool, text) = (FieldType::Bool, FieldType::Text);
    assert_eq!(
        fields(&plan),
        [
            (0, "a", f64s),
            (1, "b", f64s),
            (3, "c", bool),
            (4, "own", text)
        ]
    );
    let new: Vec<&str> = plan
        .new_fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(new, ["a", "b", "c"]);
    let all = records(&plan, &file);
    let values = &all[2].as_ref().unwrap().values;
    let all: Vec<Value> = (0..4).filter_map(|at| values.get(at).cloned()).collect();
    let [x, b] = [Value::Text("x".into()), Value::F64(5.5)];
    assert_eq!(all, [x, Value::F64(3.0), b, Value::Bool(true)]);
}
