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
    let hash = format!("_{:08x}", crc32c::crc32c(field.as_bytes()));
    let room = FIELD_NAME_BYTES_MAX.saturating_sub(hash.len() + suffix.len());
    let kept = field.floor_char_boundary(room);
    format!("{}{hash}{suffix}", &field[..kept])
}

#[cfg(test)]
mod tests {
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
            let [one, other] =
                [&one, &other].map(|field| second_field(field, FieldType::Bool, number));
            assert_ne!(one, other);
            assert!(one.len() <= FIELD_NAME_BYTES_MAX, "{one}");
            assert!(one.starts_with("éé") && one.contains("_bool"), "{one}");
        }
        let fits = "x".repeat(FIELD_NAME_BYTES_MAX - "_f64".len());
        let named = second_field(&fits, FieldType::F64, 1);
        assert_eq!(named, format!("{fits}_f64"));
    }
}
