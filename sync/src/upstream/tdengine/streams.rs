//! The tags of a stream's subtable, kept as the device has them.
//!
//! A subtable is made with the tags that its stream has at that moment, so only a stream whose tags
//! have changed since it was declared is looked at: its device's subtables are listed once a
//! connection, and what differs is set.

use std::fmt::Write as _;

use super::{
    client::{Client, Failure},
    codes,
    known::Tags,
    names::{self, push_literal, tag_value},
    plan::TableLayout,
    schema,
};
use crate::{
    sample::Stream,
    upstream::{UpstreamError, told::Told},
};

/// Sets the tags of `table`, the stream's subtable under the first supertable, and of those under the
/// further ones; `parts` is how many supertables there are.
pub(super) async fn keep_tags(
    client: &Client,
    stream: &Stream,
    table: &str,
    layout: &TableLayout,
    parts: usize,
    told: &Told,
) -> Result<(), UpstreamError> {
    if stream.first_tags.is_none() {
        return Ok(());
    }
    let (known, device) = (&client.known, stream.device());
    let look = |tables: &mut Tags| tables.get(table).cloned();
    let found = if let Some(found) = known.with_tags(&layout.supertable, device, look) {
        found
    } else {
        let mut tables = list(client, layout, device).await?;
        let found = look(&mut tables);
        known.learn_tags(&layout.supertable, device, tables);
        found
    };
    let wanted: Vec<String> = stream.tags.iter().map(|tag| tag_value(tag)).collect();
    // One that is not there yet is made with the tags it is to have.
    if let Some(values) = found {
        let differs = |n: &usize| wanted.get(*n).is_some_and(|v| values.get(*n) != Some(v));
        let differing: Vec<usize> = (0..layout.tags.len()).filter(differs).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        let database = client.database();
        for part in 0..parts {
            let name = names::subtable_of_part(table, part);
            for number in &differing {
                let (tag, value) = (&layout.tags[*number], &wanted[*number]);
                let mut sql = format!("ALTER TABLE {database}.`{name}` SET TAG `{tag}` = ");
                push_literal(&mut sql, value);
                match client.execute(sql).await {
                    Ok(()) => {}
                    // Of a further part there may be none yet.
                    Err(Failure::Refused(refusal)) if codes::is_no_such_table(refusal.code) => {}
                    Err(Failure::Refused(refusal)) => refused = Some(refusal.text),
                    Err(failure) => return Err(failure.into()),
                }
            }
        }
        tell(stream, table, refused, told);
    }
    known.with_tags(&layout.supertable, device, |tables| {
        tables.insert(table.to_owned(), wanted);
    });
    Ok(())
}

fn tell(stream: &Stream, table: &str, refused: Option<String>, told: &Told) {
    let tags = &stream.tags;
    match refused {
        None => tracing::info!(
            stream = stream.name,
            table,
            ?tags,
            "the tags of this stream have changed, and were changed upstream"
        ),
        // Its rows go on: tags are no reason to lose any.
        Some(reason) => {
            if told.is_first(format!("tags {table} {tags:?}")) {
                tracing::warn!(
                    stream = stream.name,
                    table,
                    reason,
                    "the tags of this stream have changed, and cannot be changed upstream"
                );
            }
        }
    }
}

/// The tags of all subtables that `device` has under the first supertable, by their names.
async fn list(client: &Client, layout: &TableLayout, device: &str) -> Result<Tags, UpstreamError> {
    let Some(table) = schema::describe(client, &layout.supertable).await? else {
        return Ok(Tags::new());
    };
    let Some(first) = layout.tags.first().filter(|tag| table.tags.contains(*tag)) else {
        return Ok(Tags::new());
    };
    let mut sql = String::from("SELECT DISTINCT tbname");
    for tag in layout.tags.iter().filter(|tag| table.tags.contains(*tag)) {
        let _infallible = write!(sql, ",`{tag}`");
    }
    let (database, supertable) = (client.database(), &layout.supertable);
    let _infallible = write!(sql, " FROM {database}.`{supertable}` WHERE `{first}` = ");
    push_literal(&mut sql, &tag_value(device));
    let records = client.query(sql).await?.into_iter();
    let tables = records.map(|record| {
        let mut cells = record.into_iter();
        let name = cells.next().unwrap_or_default();
        let values = layout.tags.iter().map(|tag| {
            let value = table.tags.contains(tag).then(|| cells.next());
            value.flatten().unwrap_or_default()
        });
        (name, values.collect())
    });
    Ok(tables.collect())
}
