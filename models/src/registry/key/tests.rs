use proptest::prelude::*;

use super::*;

#[test]
fn hostile_names_stay_in_their_place() {
    for (recipe, stream) in [
        ("..", "../../etc/passwd"),
        ("", ""),
        ("/", "."),
        ("a\0b", "c\nd"),
        ("CON", "nul:"),
        ("x", &"ü".repeat(300)),
        ("\u{202e}", "\u{1b}[2J"),
    ] {
        let name = ModelKey::new(recipe, stream).directory_name();
        assert!(
            name.len() <= READABLE_CHARS_MAX + 1 + 2 * HASH_BYTES,
            "{name}"
        );
        let is_safe = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
        assert!(name.chars().all(is_safe), "{name}");
        assert!(is_directory_name(&name), "{name}");
    }
}

#[test]
fn where_the_recipe_ends_matters() {
    let name = |recipe, stream| ModelKey::new(recipe, stream).directory_name();
    assert_ne!(name("a", "bc"), name("ab", "c"));
    assert_ne!(name("a_b", "c"), name("a", "b_c"));
    assert_ne!(name("A", "b"), name("a", "b"));
    assert_ne!(name("a", "b/c"), name("a", "b-c"));
}

proptest! {
    #[test]
    fn two_keys_never_share_a_directory(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}") {
        let (one, other) = (ModelKey::new(a, b), ModelKey::new(c, d));
        prop_assert_eq!(one == other, one.directory_name() == other.directory_name());
    }

    #[test]
    fn nor_do_neighbours(text in "[aA/._-]{0,6}", cut in 0usize..7, other in 0usize..7) {
        let split = |at: usize| {
            let (recipe, stream) = text.split_at(at.min(text.len()));
            ModelKey::new(recipe, stream)
        };
        let (one, other) = (split(cut), split(other));
        prop_assert_eq!(one == other, one.directory_name() == other.directory_name());
    }
}
