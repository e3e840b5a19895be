//! The declared fields of a stream, and where its records carry their own time.

use dunlin_sync::sample::{Field, FieldType, Value};

use crate::config::{
    check::entry::Entry,
    diagnostic::Diagnostics,
    read::parse::{self, check_text},
    schema::{
        keys::stream as keys,
        kind::{TypedKind, choice, flag, real, text, words},
    },
    settings::{Conversion, DeclaredField, PayloadFormat},
};

/// Longest name of a field, bytes.
const FIELD_NAME_BYTES_MAX: usize = 64;
const TYPE: TypedKind<FieldType> = choice();
const AT: TypedKind<String> = text(1, 1024);
const FACTOR: TypedKind<f64> = real(f64::MIN, f64::MAX);

/// `fields = { rms = "f64", state = { type = "text", at = "/a/b", required = true } }`, in the
/// order in which they were written: the order of the columns of CSV without a header.
pub(super) fn declared(
    stream: &Entry<'_>,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> Vec<DeclaredField> {
    let mut fields = Vec::new();
    let hint = "write fields = { vibration = \"f64\" }";
    let what = format!("{}.fields", stream.what);
    let entry = stream
        .raw(keys::FIELDS.key())
        .and_then(|value| Entry::of(stream.source, value, what, hint, found));
    if let Some(entry) = entry {
        for (name, _) in entry.in_order() {
            if let Err(diagnostic) = check_text(name, 1, FIELD_NAME_BYTES_MAX) {
                entry.error(
                    name,
                    format!("the name {}", diagnostic.message),
                    diagnostic.hint,
                    found,
                );
            }
            fields.extend(field(&entry, name, format, found));
        }
    }
    check_format(stream, format, &fields, found);
    fields
}

/// What the payload format asks of the declared fields.
fn check_format(
    stream: &Entry<'_>,
    format: PayloadFormat,
    fields: &[DeclaredField],
    found: &mut Diagnostics,
) {
    match format {
        PayloadFormat::Raw if fields.len() > 1 => {
            let hint = "declare one field, the sample";
            stream.error(
                keys::FIELDS.key(),
                "a raw payload is one field",
                hint,
                found,
            );
        }
        _ if format.is_scalar() => {
            if fields.len() > 1 {
                let hint = "declare one field, or choose another format";
                stream.error(keys::FIELDS.key(), "a bare value is one field", hint, found);
            }
            let is_number = |kind| matches!(kind, FieldType::F64 | FieldType::F32 | FieldType::I64);
            let mut others = fields.iter().filter(|field| !is_number(field.field.kind));
            if let Some(field) = others.next().filter(|_| format == PayloadFormat::Number) {
                let message = format!(
                    "`{}` is {}, not a number",
                    field.field.name, field.field.kind
                );
                let hint = "use f64, f32 or i64, or format = \"bool\", \"text\" or \"scalar\"";
                stream.error(keys::FIELDS.key(), message, hint, found);
            }
        }
        // A list of fields with a mistake in it is there all the same.
        PayloadFormat::Csv { header: false, .. } if stream.raw(keys::FIELDS.key()).is_none() => {
            let hint = "declare the columns in order with fields = { ... }, or set header = true \
                        if every payload starts with a line of names";
            stream.error(keys::FORMAT.key(), "CSV columns have no names", hint, found);
        }
        _ => {}
    }
}

fn field(
    entry: &Entry<'_>,
    name: &str,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> Option<DeclaredField> {
    let value = entry.raw(name)?;
    let (kind, pointer, required, conversion) = if value.get_ref().as_str().is_some() {
        (entry.chosen(name, &TYPE, found)?, None, false, None)
    } else {
        let what = format!("{}.{name}", entry.what);
        let hint = "write a type in quotes, or { type = \"f64\", at = \"/a/b\", required = true }";
        let inner = Entry::of(entry.source, value, what, hint, found)?;
        let known = [
            "type", "at", "required", "values", "scale", "offset", "unit", "decimal",
        ];
        inner.refuse_others(&known, found);
        if inner.raw("type").is_none() {
            let hint = parse::one_of(&words::<FieldType>());
            inner.error("type", "is missing", hint, found);
        }
        let required = inner.chosen("required", &flag(), found).unwrap_or(false);
        let pointer = inner
            .chosen("at", &AT, found)
            .and_then(|at| place_in_record(&inner, "at", &at, format, found));
        let kind = inner.chosen("type", &TYPE, found)?;
        (kind, pointer, required, conversion(&inner, kind, found))
    };
    Some(DeclaredField {
        field: Field {
            name: name.to_owned(),
            kind,
        },
        pointer,
        required,
        conversion,
    })
}

/// What is to be done to the values of a field of type `kind`.
fn conversion(entry: &Entry<'_>, kind: FieldType, found: &mut Diagnostics) -> Option<Conversion> {
    let is_float = matches!(kind, FieldType::F64 | FieldType::F32);
    for key in ["scale", "offset"] {
        if entry.raw(key).is_some() && !is_float {
            let hint = "declare the field as f64 or f32, or leave it out";
            entry.error(key, format!("means nothing for {kind}"), hint, found);
        }
    }
    let decimal = entry.chosen("decimal", &text(1, 1), found);
    if decimal
        .as_deref()
        .is_some_and(|mark| mark != "," && mark != ".")
    {
        let hint = "write \",\" or \".\"";
        entry.error("decimal", "is no decimal mark", hint, found);
    }
    let conversion = Conversion {
        scale: entry.chosen("scale", &FACTOR, found),
        offset: entry.chosen("offset", &FACTOR, found),
        unit: entry.chosen("unit", &text(1, 64), found),
        has_decimal_comma: decimal.as_deref() == Some(","),
        words: field_words(entry, kind, found),
    };
    (conversion != Conversion::default()).then_some(conversion)
}

/// `values = { closed = 0, open = 1 }`.
fn field_words(
    entry: &Entry<'_>,
    kind: FieldType,
    found: &mut Diagnostics,
) -> Vec<(String, Value)> {
    let hint = "write values = { closed = 0, open = 1 }";
    let what = format!("{}.values", entry.what);
    let entry = entry
        .raw("values")
        .and_then(|value| Entry::of(entry.source, value, what, hint, found));
    let mut words = Vec::new();
    let Some(entry) = entry else {
        return words;
    };
    for (word, _) in entry.in_order() {
        let number = |found: &mut Diagnostics| entry.chosen(word, &FACTOR, found);
        let value = match kind {
            FieldType::F64 => number(found).map(Value::F64),
            FieldType::F32 => number(found).map(|number| Value::F32(number as f32)),
            FieldType::I64 => number(found).map(|number| Value::I64(number as i64)),
            FieldType::Bool => entry.chosen(word, &flag(), found).map(Value::Bool),
            FieldType::Text => {
                let text = entry.chosen(word, &text(0, 1024), found);
                text.map(|text| Value::Text(text.as_str().into()))
            }
            #[allow(unreachable_patterns)] // Those that are added later.
            _ => None,
        };
        words.extend(value.map(|value| (word.to_owned(), value)));
    }
    words
}

/// Where the record's own time is; `None` if there is none.
pub(super) fn time(
    stream: &Entry<'_>,
    format: PayloadFormat,
    fields: &[DeclaredField],
    found: &mut Diagnostics,
) -> Option<String> {
    let at = stream.read(&keys::TIME, found)?;
    if format == PayloadFormat::Raw {
        let hint = "remove it: records have the time of arrival";
        stream.error(keys::TIME.key(), "a raw payload says no time", hint, found);
        return None;
    }
    if format.has_own_time() {
        stream.error(
            keys::TIME.key(),
            "records of this format carry their own time",
            "remove it",
            found,
        );
        return None;
    }
    if let PayloadFormat::Csv { header: false, .. } = format
        && !fields.iter().any(|field| field.field.name == at)
        && at.trim_start_matches('/').parse::<u16>().is_err()
    {
        let hint = "without a header line, write the number of the time's column from 0, or declare it as \
                    a field and name that here";
        stream.error(
            keys::TIME.key(),
            format!("there is no column `{at}`"),
            hint,
            found,
        );
        return None;
    }
    place_in_record(stream, keys::TIME.key(), &at, format, found)
}

/// Checks a JSON pointer (RFC 6901), or the name of a CSV column.
fn place_in_record(
    entry: &Entry<'_>,
    key: &str,
    at: &str,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> Option<String> {
    let (message, hint) = match format {
        _ if format.has_pointers() => match json_pointer_error(at) {
            None => return Some(at.to_owned()),
            Some(error) => error,
        },
        PayloadFormat::Csv { header: true, .. } => return Some(at.to_owned()),
        PayloadFormat::Csv { header: false, .. } if key == keys::TIME.key() => {
            return Some(at.to_owned());
        }
        PayloadFormat::Csv { .. } => (
            "means nothing in CSV without a header",
            "the order of the fields is the order of the columns",
        ),
        _ if format.is_scalar() => ("a bare value has no parts", "remove it"),
        _ => (
            "records of this format go by name",
            "call the field as it is called there",
        ),
    };
    entry.error(key, message, hint, found);
    None
}

pub(super) fn json_pointer_error(pointer: &str) -> Option<(&'static str, &'static str)> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return Some((
            "is no JSON pointer",
            "start with a slash: \"/time\", or \"/status/time\" for a nested field",
        ));
    };
    let escapes_are_sound = rest
        .split('~')
        .skip(1)
        .all(|after| after.starts_with(['0', '1']));
    if escapes_are_sound {
        return None;
    }
    Some((
        "is no JSON pointer",
        "in a JSON pointer ~ is written ~0 and / within a name ~1",
    ))
}

#[cfg(test)]
mod tests;
