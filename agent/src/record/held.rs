//! What fields are held as, where the configuration alone does not tell: several columns, or another type than is
//! declared.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use dunlin_sync::{
    sample::{FieldType, Schema, Stage},
    second_field::second_field,
};

use crate::{base::text, config::settings::StreamRule, record::decode::quoted};

/// Fields told one by one.
const TOLD_MAX: usize = 20;

/// A line for each such field of the streams that `schemas` are of, by `rules` as they are to hold from now on.
pub(crate) fn told(schemas: &[Arc<Schema>], rules: &[StreamRule]) -> Vec<String> {
    let mut lines = Vec::new();
    for schema in schemas {
        let rule = rules.iter().find(|rule| rule.name == schema.name);
        lines.extend(of_schema(schema, rule));
    }
    if let Some(more @ 1..) = lines.len().checked_sub(TOLD_MAX) {
        lines.truncate(TOLD_MAX);
        lines.push(format!("and {} more", text::of(more as u64, "field")));
    }
    lines
}

fn of_schema(schema: &Schema, rule: Option<&StreamRule>) -> Vec<String> {
    let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (column, origin) in schema.origins.iter().enumerate() {
        if let Some(first) = origin.second_of {
            columns.entry(first as usize).or_default().push(column);
        }
    }
    let mut declared = BTreeMap::new();
    for field in rule.into_iter().flat_map(|rule| &rule.fields) {
        let field = &field.field;
        if let Some(column) = schema.field(&field.name)
            && schema.fields[column].kind != field.kind
        {
            columns.entry(column).or_default();
            declared.insert(column, field.kind);
        }
    }
    let columns = columns.into_iter();
    columns
        .filter(|(first, _)| *first < schema.fields.len())
        .map(|(first, seconds)| line(schema, first, &seconds, declared.get(&first).copied()))
        .collect()
}

fn line(schema: &Schema, first: usize, seconds: &[usize], declared: Option<FieldType>) -> String {
    let (field, origin) = (&schema.fields[first], schema.origin(first));
    let mut line = format!("{}: {} ", quoted(&schema.name), quoted(&field.name));
    // Writing to a String cannot fail.
    if let Some(kind) = declared
        && origin.stage == Stage::Empty
        && seconds.is_empty()
    {
        let _ok = write!(
            line,
            "is {kind} from now on; nothing was stored as {}",
            field.kind
        );
        return line;
    }
    let _ok = write!(line, "is held as {}{}", field.kind, since(origin.since_ns));
    for &second in seconds {
        let (beside, origin) = (&schema.fields[second], schema.origin(second));
        let _ok = write!(
            line,
            ", as {} in {}{}",
            beside.kind,
            quoted(&beside.name),
            since(origin.since_ns)
        );
    }
    let is_there = |kind| seconds.iter().any(|at| schema.fields[*at].kind == kind);
    if let Some(kind) = declared.filter(|kind| !is_there(*kind)) {
        let names = (1..=9).map(|number| second_field(&field.name, kind, number));
        let name = names.into_iter().find(|name| schema.field(name).is_none());
        let name = name.unwrap_or_default();
        let _ok = write!(line, "; from now on as {kind} in {}", quoted(&name));
    }
    let all = match seconds.len() + usize::from(declared.is_some_and(|kind| !is_there(kind))) {
        0 | 1 => "both",
        _ => "all",
    };
    let _ok = write!(line, "; {all} are one field in views and cohorts");
    line
}

fn since(ns: Option<i64>) -> String {
    let day = ns.map(text::time);
    let day = day.as_deref().and_then(|time| time.get(..10));
    day.map_or_else(String::new, |day| format!(" since {day}"))
}

#[cfg(test)]
mod tests;
