//! What a field is called that takes the values of a second type: one rule, whoever notices first, the
//! device or the upstream.

use crate::sample::FieldType;

/// Longest name of a field, bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 64;

/// The field beside `field` for its values of type `kind`: `state` and text make `state_text`.
///
/// `number` is 1, or more where what it gives is taken: `state_text_2`. A pure function. A name that
/// would be longer than [`FIELD_NAME_BYTES_MAX`] is cut short and gets a hash of the whole.
pub fn second_field(field: &str, kind: FieldType, number: u32) -> String {
    let suffix = match number {
        0 | 1 => format!("_{kind}"),
        more => format!("_{kind}_{more}"),
    };
    with_suffix(field, &suffix)
}

/// `name` with `suffix`; what would be longer than [`FIELD_NAME_BYTES_MAX`] is cut short and gets a hash of
/// the whole in between. A pure function.
pub fn with_suffix(name: &str, suffix: &str) -> String {
    if name.len() + suffix.len() <= FIELD_NAME_BYTES_MAX {
        return format!("{name}{suffix}");
    }
    let hash = format!("_{:08x}", crc32c::crc32c(name.as_bytes()));
    let room = FIELD_NAME_BYTES_MAX.saturating_sub(hash.len() + suffix.len());
    let kept = name.floor_char_boundary(room);
    format!("{}{hash}{suffix}", &name[..kept])
}

#[cfg(test)]
mod tests;
