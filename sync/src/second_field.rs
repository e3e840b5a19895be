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
    if field.len() + suffix.len() <= FIELD_NAME_BYTES_MAX {
        return format!("{field}{suffix}");
    }
    format!(
        "{}{suffix}",
        cut(field, FIELD_NAME_BYTES_MAX.saturating_sub(suffix.len()))
    )
}

/// `name` itself if it has at most `bytes_max` bytes; a longer one is cut short and gets a hash of the
/// whole, so that names which begin alike stay apart. A pure function.
pub fn shortened(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.to_owned();
    }
    cut(name, bytes_max)
}

fn cut(name: &str, bytes_max: usize) -> String {
    let hash = format!("_{:08x}", crc32c::crc32c(name.as_bytes()));
    let kept = name.floor_char_boundary(bytes_max.saturating_sub(hash.len()));
    format!("{}{hash}", &name[..kept])
}

#[cfg(test)]
mod tests;
