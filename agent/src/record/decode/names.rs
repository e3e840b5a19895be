//! Names that fields and streams get, whatever a payload says.

use std::borrow::Cow;

use dunlin_sync::second_field::shortened;

use super::{FIELD_NAME_BYTES_MAX, value};

/// Longest value of a tag, bytes.
const TAG_BYTES_MAX: usize = 128;

/// Whether a field may be called this: 1..=64 bytes without control characters, quotes or back-ticks.
pub fn is_field_name(name: &str) -> bool {
    (1..=FIELD_NAME_BYTES_MAX).contains(&name.len()) && value::is_clean(name)
}

/// What the field of a path is called: the path itself, unless no field may be called so. What a name
/// may not hold becomes `_`, and a long one is cut and gets a hash of the whole: always the same name for
/// the same path.
pub(super) fn field_name_for(path: &str) -> Cow<'_, str> {
    if is_field_name(path) {
        return Cow::Borrowed(path);
    }
    if path.is_empty() {
        return Cow::Owned("_".to_owned());
    }
    Cow::Owned(shortened(&replaced(path), FIELD_NAME_BYTES_MAX))
}

/// A value that a stream may be named after, made of any text.
pub(super) fn clean_tag(text: &str) -> String {
    shortened(&replaced(text.trim()), TAG_BYTES_MAX)
}

/// Without what a name may not hold.
fn replaced(text: &str) -> String {
    let replaced = |c: char| match c {
        '"' | '\'' | '`' => '_',
        c if c.is_control() => '_',
        c => c,
    };
    text.chars().map(replaced).collect()
}
