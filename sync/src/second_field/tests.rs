use super::*;

#[test]
fn the_type_stands_behind_the_name() {
    assert_eq!(second_field("state", FieldType::Text, 1), "state_text");
    assert_eq!(second_field("state", FieldType::F64, 2), "state_f64_2");
}

#[test]
fn long_names_stay_apart_and_short_enough() {
    let field = |end: char| format!("{}{end}", "é".repeat(31));
    let (one, other) = (field('a'), field('b'));
    for number in [1, 9] {
        let [one, other] = [&one, &other].map(|field| second_field(field, FieldType::Bool, number));
        assert_ne!(one, other);
        assert!(one.len() <= FIELD_NAME_BYTES_MAX, "{one}");
        assert!(one.starts_with("éé") && one.contains("_bool"), "{one}");
    }
    let fits = "x".repeat(FIELD_NAME_BYTES_MAX - "_f64".len());
    let named = second_field(&fits, FieldType::F64, 1);
    assert_eq!(named, format!("{fits}_f64"));
}
