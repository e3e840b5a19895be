//! One bare value: `21.5`, ` ON `, `"heating"`.
//!
//! It becomes the field that the topic names, the one declared field, or else `reading`. What may stand
//! there is the rule's format: a number, yes or no, a text as it is, or whatever comes.

use dunlin_sync::sample::FieldType;

use super::{Reason, Reject, builder::Builder, scan::Scanner, value::Cell};
use crate::config::settings::PayloadFormat;

pub(super) fn decode(
    text: &str,
    field: Option<&str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let kind = match builder.rule().format {
        PayloadFormat::Number => Some(FieldType::F64),
        PayloadFormat::Bool => Some(FieldType::Bool),
        PayloadFormat::Text => Some(FieldType::Text),
        _ => None,
    };
    let quoted = text.starts_with('"').then(|| in_quotes(text)).flatten();
    let cell = quoted.unwrap_or(match kind {
        Some(FieldType::Text) => Cell::Text(text.into()),
        _ => Cell::Bare(text),
    });
    builder.begin()?;
    builder.put_only(field, kind, &cell)?;
    builder.end()
}

/// One value that is a record by itself.
pub(super) fn record(
    cell: &Cell<'_>,
    field: Option<&str>,
    time: Option<&Cell<'_>>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    builder.begin()?;
    if let Some(time) = time {
        builder.put_time(time)?;
    }
    builder.put_only(field, None, cell)?;
    builder.end()
}

/// What a text in quotes says, if that is all there is.
fn in_quotes(text: &str) -> Option<Cell<'_>> {
    let mut scanner = Scanner::new(text);
    let inner = scanner.string().ok()?;
    scanner.end().ok()?;
    Some(Cell::Text(inner))
}
