//! The declared fields of a stream, and where its records carry their own time.

use dunlin_sync::sample::{Field, FieldType};

use crate::config::{
    check::entry::Entry,
    diagnostic::Diagnostics,
    read::parse::{self, check_text},
    schema::{
        keys::stream as keys,
        kind::{TypedKind, choice, flag, text, words},
    },
    settings::{DeclaredField, PayloadFormat},
};

/// Longest name of a field, bytes.
const FIELD_NAME_BYTES_MAX: usize = 64;
const TYPE: TypedKind<FieldType> = choice();
const AT: TypedKind<String> = text(1, 1024);

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
        PayloadFormat::Number => {
            if fields.len() > 1 {
                let hint = "declare one field, or choose another format";
                stream.error(
                    keys::FIELDS.key(),
                    "a bare number is one field",
                    hint,
                    found,
                );
            }
            let is_number = |kind| matches!(kind, FieldType::F64 | FieldType::F32 | FieldType::I64);
            if let Some(field) = fields.iter().find(|field| !is_number(field.field.kind)) {
                let message = format!(
                    "`{}` is {}, not a number",
                    field.field.name, field.field.kind
                );
                stream.error(keys::FIELDS.key(), message, "use f64, f32 or i64", found);
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
    let (kind, pointer, required) = if value.get_ref().as_str().is_some() {
        (entry.chosen(name, &TYPE, found)?, None, false)
    } else {
        let what = format!("{}.{name}", entry.what);
        let hint = "write a type in quotes, or { type = \"f64\", at = \"/a/b\", required = true }";
        let inner = Entry::of(entry.source, value, what, hint, found)?;
        inner.refuse_others(&["type", "at", "required"], found);
        if inner.raw("type").is_none() {
            let hint = parse::one_of(&words::<FieldType>());
            inner.error("type", "is missing", hint, found);
        }
        let required = inner.chosen("required", &flag(), found).unwrap_or(false);
        let pointer = inner
            .chosen("at", &AT, found)
            .and_then(|at| place_in_record(&inner, "at", &at, format, found));
        (inner.chosen("type", &TYPE, found)?, pointer, required)
    };
    Some(DeclaredField {
        field: Field {
            name: name.to_owned(),
            kind,
        },
        pointer,
        required,
    })
}

/// Where the record's own time is; `None` if there is none.
pub(super) fn time(
    stream: &Entry<'_>,
    format: PayloadFormat,
    fields: &[DeclaredField],
    found: &mut Diagnostics,
) -> Option<String> {
    let at = stream.read(&keys::TIME, found)?;
    if format == PayloadFormat::SenMl {
        stream.error(
            keys::TIME.key(),
            "SenML records carry their own time",
            "remove it",
            found,
        );
        return None;
    }
    if let PayloadFormat::Csv { header: false, .. } = format
        && !fields.iter().any(|field| field.field.name == at)
    {
        let hint = "without a header line, declare the time's column as a field and name it here";
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
        PayloadFormat::Json => match json_pointer_error(at) {
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
        PayloadFormat::Number => ("a bare number has no parts", "remove it"),
        PayloadFormat::SenMl => (
            "SenML records go by name",
            "call the field by its SenML name",
        ),
    };
    entry.error(key, message, hint, found);
    None
}

fn json_pointer_error(pointer: &str) -> Option<(&'static str, &'static str)> {
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
