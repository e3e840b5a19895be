use std::collections::HashSet;

use super::*;

#[test]
fn names_stay_as_they_are_unless_too_long_or_taken() {
    let none = HashSet::new();
    assert_eq!(free_name("Ström", &none), "Ström");
    assert_eq!(free_name("", &none), "unnamed");
    let long = "x".repeat(100);
    let first = free_name(&long, &none);
    assert_eq!(first.len(), NAME_BYTES_MAX);
    let other = free_name(&format!("{long}y"), &none);
    assert_ne!(first, other, "names that begin alike stay apart");
    let taken = HashSet::from([first.clone(), "a".into(), "a_2".into()]);
    assert_eq!(free_name("a", &taken), "a_3");
    let second = free_name(&long, &taken);
    assert!(
        second.ends_with("_2") && second.len() <= NAME_BYTES_MAX,
        "{second}"
    );
}

#[test]
fn whatever_a_name_holds_it_stays_inside_its_quotes() {
    assert_eq!(
        quoted("a\"; DROP TABLE b; --"),
        "\"a\"\"; DROP TABLE b; --\""
    );
    assert_eq!(literal("it's \\' here"), "E'it''s \\\\'' here'");
}
