//! Payloads that are one value.

use super::{
    columns::Column,
    field_line::FieldLine,
    reading::{Format, Reading},
    words,
};

/// Longest text that is taken for a value, bytes.
const TEXT_BYTES_MAX: usize = 512;

/// How to read one value each.
pub(super) fn reading(texts: &[&str]) -> Result<Reading, String> {
    if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err("long texts, no readings".to_owned());
    }
    let mut column = Column::default();
    for text in texts.iter().filter(|text| !words::is_missing(text)) {
        if text.parse::<f64>().is_ok() {
            column.add_number(text);
        } else {
            column.add_text(text);
        }
    }
    let format = format_of(&column);
    let mut reading = Reading::of(format);
    if column.comma_texts + column.unit_texts > 0 && format == Format::Number {
        reading.fields.push(FieldLine {
            has_decimal_comma: column.comma_texts > 0,
            unit: column.unit,
            ..FieldLine::of("reading", "f64")
        });
    }
    reading.is_one_value = true;
    reading.is_presence = texts.iter().all(|text| words::is_presence(text));
    reading.columns.insert(String::new(), column);
    Ok(reading)
}

/// The narrowest format that takes all of it.
pub(super) fn format_of(column: &Column) -> Format {
    let written = column.comma_texts + column.unit_texts;
    let plain = column.numbers + column.number_texts;
    match () {
        () if column.texts > 0 && plain + written + column.switches > 0 => Format::Scalar,
        () if column.texts > 0 => Format::Text,
        () if column.switches > 0 && plain + written == 0 => Format::Bool,
        () if column.switches > 0 => Format::Scalar,
        () if plain + written > 0 => Format::Number,
        // Nothing but words for no reading.
        () => Format::Scalar,
    }
}

/// Why a text is no value, if it looks like none.
pub(super) fn opaque(text: &str) -> Option<&'static str> {
    let is_form = text.matches('=').count() >= 2 && text.contains('&') && !text.contains(' ');
    if is_form {
        return Some("a web form (key=value&key=value): no format of Dunlin's");
    }
    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/=_-.".contains(c);
    if text.len() >= 64 && text.chars().all(is_code) {
        return Some("one long word: encoded or encrypted");
    }
    None
}
