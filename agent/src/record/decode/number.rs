//! One bare number: `21.5`, ` 7 `.
//!
//! It becomes the one declared field, or `reading` (f64) if there is not exactly one. A field declared
//! as bool takes `true` and `false`, one declared as text the payload as it is.

use dunlin_sync::sample::FieldType;

use super::{Reason, Reject, builder::Builder, value::Cell};

/// Name of the field when the rule declares none.
const FIELD_NAME: &str = "reading";

pub(super) fn decode(text: &str, builder: &mut Builder<'_>) -> Result<(), Reject> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let fields = builder.rule().fields.as_slice();
    let (column, kind) = if let ([only], &[column]) = (fields, builder.declared()) {
        (column, only.field.kind)
    } else {
        let kind = FieldType::F64;
        (builder.named_or_new(FIELD_NAME, kind), kind)
    };
    builder.begin()?;
    builder
        .put_column(column, &Cell::Bare(text))
        .map_err(|reject| match (reject.reason, kind) {
            (Reason::WrongType, FieldType::F64 | FieldType::F32 | FieldType::I64) => Reject {
                reason: Reason::NotNumber,
                ..reject
            },
            _ => reject,
        })?;
    builder.end()
}
