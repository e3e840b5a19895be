//! Rows on their way out: what of a batch can be written, and its two forms, SQL text and raw block.
//!
//! Floats that SQL cannot spell (NaN, the infinities, subnormals) travel in raw blocks, which keep
//! them. A NUL in a text is rejected: the server would end the text there.

use std::{fmt::Write as _, sync::Arc};

use taos::{RawBlock, Ty};

use super::{
    block::BlockBuilder,
    names::{FIXED, push_literal, subtable_of_part, tag_value},
    plan::{Need, TableLayout, fixed},
    schema::Ready,
    supertable::TEXT_BYTES_MAX,
};
use crate::{
    rows::{Column, TableRows, Values},
    upstream::Rejection,
};

/// From this many rows on a raw block is cheaper than text (4,096 rows of six floats: 16 ms against 11
/// with 64 rows a table, 10 against 11 with 128, 6 against 12 with 256).
pub(super) const RAW_ROWS_MIN: usize = 128;

/// What one subtable gets of one stream of a batch.
pub(super) struct Table<'a> {
    /// The stream's place in the batch.
    pub(super) index: usize,
    pub(super) source: &'a TableRows,
    layout: Arc<TableLayout>,
    /// The subtable's name.
    pub(super) name: String,
    supertable: String,
    /// Position of the supertable among those of the schema.
    part: usize,
    /// Fields to write, by position, with the columns they go to.
    fields: Vec<(usize, String)>,
    /// Rows to write, in time order.
    pub(super) rows: Vec<usize>,
    /// As raw blocks rather than text.
    pub(super) is_raw: bool,
}

/// What the rows of `source` need of their columns.
pub(super) fn needs(source: &TableRows) -> Vec<Need> {
    let mut needs = vec![Need::default(); source.schema.fields.len()];
    for (field, column) in source.rows.columns.iter() {
        let Some(need) = needs.get_mut(field) else {
            continue;
        };
        need.used = match &column.present {
            None => !column.is_empty(),
            Some(present) => present.contains(&true),
        };
        if let Values::Text(texts) = &column.values {
            let longest = texts.iter().map(|text| text.len());
            need.text_bytes = longest.filter(|n| *n <= TEXT_BYTES_MAX).max().unwrap_or(0);
        }
    }
    needs
}

/// Sorts one stream of a batch into what each of its subtables gets. Rows that can never be written go
/// to `rejected`, with the reason for each; `name` is its subtable under the first supertable.
///
/// # Errors
/// Why the stream must wait until somebody changes the tables.
pub(super) fn sorted<'a>(
    index: usize,
    source: &'a TableRows,
    layout: &Arc<TableLayout>,
    name: &str,
    ready: &Ready,
    rejected: &mut Vec<Rejection>,
) -> Result<Vec<Table<'a>>, String> {
    if let Some(reason) = ready.refusal(layout) {
        return Err(reason);
    }
    let rows = &source.rows;
    let mut fields: Vec<Vec<(usize, String)>> = vec![Vec::new(); ready.parts().len()];
    let mut reasons: Vec<Option<String>> = vec![None; rows.len()];
    let needs = needs(source);
    for (field, column) in rows.columns.iter() {
        if needs.get(field).is_some_and(|need| need.used) {
            let own = &layout.fields[field];
            let place = ready.place(field, own)?;
            fields[place.part].push((field, place.column.clone()));
            note_bad_texts(column, own, &mut reasons);
        }
    }
    let mut good = Vec::with_capacity(rows.len());
    for (row, reason) in reasons.into_iter().enumerate() {
        match reason {
            None => good.push(row),
            Some(reason) => rejected.push(Rejection {
                table: index,
                row,
                reason,
                is_out_of_time: false,
            }),
        }
    }
    if !good.is_sorted_by_key(|row| rows.ts[*row]) {
        good.sort_by_key(|row| rows.ts[*row]);
    }
    let mut tables = Vec::new();
    for (part, fields) in fields.into_iter().enumerate() {
        let has_a_value = |row: &usize| {
            let mut columns = fields.iter().map(|(field, _)| &rows.columns[*field]);
            part == 0 || columns.any(|column| column.is_present(*row))
        };
        let rows_of_part: Vec<usize> = good.iter().copied().filter(has_a_value).collect();
        if rows_of_part.is_empty() {
            continue;
        }
        let unspeakable =
            |(field, _): &(usize, String)| has_unspeakable_floats(&rows.columns[*field]);
        let is_raw = rows_of_part.len() >= RAW_ROWS_MIN || fields.iter().any(unspeakable);
        tables.push(Table {
            index,
            source,
            layout: Arc::clone(layout),
            name: subtable_of_part(name, part),
            supertable: ready.parts()[part].0.clone(),
            part,
            fields,
            rows: rows_of_part,
            is_raw,
        });
    }
    Ok(tables)
}

impl Table<'_> {
    pub(super) fn ts(&self, row: usize) -> i64 {
        self.source.rows.ts[row]
    }

    /// Upper bound of what `row` takes in text, which also bounds it in a raw block.
    pub(super) fn row_bytes_max(&self, row: usize) -> usize {
        let values =
            self.fields.iter().map(
                |(field, _)| match &self.source.rows.columns[*field].values {
                    Values::F64(_) | Values::F32(_) => 26,
                    Values::I64(_) => 21,
                    Values::Bool(_) => 6,
                    Values::Text(texts) => texts.get(row).map_or(5, |text| 2 * text.len() + 5),
                },
            );
        60 + values.sum::<usize>()
    }

    /// Upper bound of what names and tags take in text.
    pub(super) fn head_bytes_max(&self) -> usize {
        let columns = self.fields.iter().map(|(_, column)| column);
        let names = columns.chain(&self.layout.tags);
        let tags = &self.source.stream.tags;
        800 + 4 * self.name.len()
            + names.map(|name| name.len() + 4).sum::<usize>()
            + tags.iter().map(|tag| 2 * tag.len() + 40).sum::<usize>()
    }

    /// `` `d`.`subtable` USING `d`.`supertable` (..) TAGS (..) ``
    pub(super) fn push_using(&self, sql: &mut String, database: &str) {
        let _infallible = write!(
            sql,
            "{database}.`{}` USING {database}.`{}` (",
            self.name, self.supertable
        );
        for (number, tag) in self.layout.tags.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _infallible = write!(sql, "{comma}`{tag}`");
        }
        sql.push_str(") TAGS (");
        for number in 0..self.layout.tags.len() {
            if number > 0 {
                sql.push(',');
            }
            let value = self.source.stream.tags.get(number);
            match value {
                Some(value) => push_literal(sql, &tag_value(value)),
                None => sql.push_str("NULL"),
            }
        }
        sql.push(')');
    }

    /// Appends `rows` as one table of a multi-table INSERT.
    pub(super) fn push_insert(
        &self,
        sql: &mut String,
        database: &str,
        is_known: bool,
        rows: &[usize],
    ) {
        sql.push(' ');
        if is_known {
            let _infallible = write!(sql, "{database}.`{}`", self.name);
        } else {
            self.push_using(sql, database);
        }
        let _infallible = write!(sql, " (`{}`", fixed(self.part).join("`,`"));
        for (_, column) in &self.fields {
            let _infallible = write!(sql, ",`{column}`");
        }
        sql.push_str(") VALUES ");
        for row in rows {
            self.push_row(sql, *row);
        }
    }

    fn push_row(&self, sql: &mut String, row: usize) {
        let rows = &self.source.rows;
        let _infallible = write!(sql, "({}", rows.ts[row]);
        if self.part == 0 {
            let is_train = rows.is_train.get(row).copied().unwrap_or_default();
            let fold = rows.fold.get(row).copied().unwrap_or_default();
            let _infallible = match rows.source_ts.get(row).copied().flatten() {
                Some(ts) => write!(sql, ",{is_train},{fold},{ts}"),
                None => write!(sql, ",{is_train},{fold},NULL"),
            };
        }
        for (field, _) in &self.fields {
            sql.push(',');
            push_value(sql, &rows.columns[*field], row);
        }
        sql.push(')');
    }

    pub(super) fn block(&self, rows: &[usize]) -> RawBlock {
        let from = &self.source.rows;
        let bytes = rows.len() * (20 + 9 * self.fields.len());
        let mut block = BlockBuilder::new(rows.len(), bytes);
        let [ts, is_train, fold, source_ts] = FIXED;
        let some = |row: &usize| Some(from.ts[*row].to_le_bytes());
        block.fixed(ts, Ty::Timestamp, rows.iter().map(some));
        if self.part == 0 {
            let flag = |row: &usize| Some([u8::from(from.is_train.get(*row) == Some(&true))]);
            block.fixed(is_train, Ty::Bool, rows.iter().map(flag));
            let number = |row: &usize| Some([from.fold.get(*row).copied().unwrap_or(0)]);
            block.fixed(fold, Ty::UTinyInt, rows.iter().map(number));
            let claimed = |row: &usize| from.source_ts.get(*row)?.map(i64::to_le_bytes);
            block.fixed(source_ts, Ty::Timestamp, rows.iter().map(claimed));
        }
        for (field, column) in &self.fields {
            push_column(&mut block, column, &from.columns[*field], rows);
        }
        block.finish(&self.name)
    }
}

fn push_column(block: &mut BlockBuilder, name: &str, column: &Column, rows: &[usize]) {
    let present = |row: usize| column.is_present(row).then_some(row);
    let rows = rows.iter().map(|row| present(*row));
    match &column.values {
        Values::F64(from) => {
            block.fixed(name, Ty::Double, rows.map(|r| Some(from[r?].to_le_bytes())));
        }
        Values::F32(from) => {
            block.fixed(name, Ty::Float, rows.map(|r| Some(from[r?].to_le_bytes())));
        }
        Values::I64(from) => {
            block.fixed(name, Ty::BigInt, rows.map(|r| Some(from[r?].to_le_bytes())));
        }
        Values::Bool(from) => {
            block.fixed(name, Ty::Bool, rows.map(|r| Some([u8::from(from[r?])])));
        }
        Values::Text(from) => block.texts(name, rows.map(|r| Some(&*from[r?]))),
    }
}

fn note_bad_texts(column: &Column, name: &str, reasons: &mut [Option<String>]) {
    let Values::Text(texts) = &column.values else {
        return;
    };
    for (row, (text, reason)) in texts.iter().zip(reasons).enumerate() {
        if reason.is_some() || !column.is_present(row) {
            continue;
        }
        if text.contains('\0') {
            *reason = Some(format!("the text for column `{name}` holds a NUL"));
        } else if text.len() > TEXT_BYTES_MAX {
            *reason = Some(format!(
                "the text for column `{name}` has {} bytes, more than the {TEXT_BYTES_MAX} that \
                 TDengine takes",
                text.len()
            ));
        }
    }
}

fn has_unspeakable_floats(column: &Column) -> bool {
    match &column.values {
        Values::F64(values) => values.iter().any(|x| !x.is_normal() && *x != 0.0),
        Values::F32(values) => values.iter().any(|x| !x.is_normal() && *x != 0.0),
        _ => false,
    }
}

fn push_value(sql: &mut String, column: &Column, row: usize) {
    if !column.is_present(row) {
        sql.push_str("NULL");
        return;
    }
    let _infallible = match &column.values {
        Values::F64(values) => write!(sql, "{:e}", values[row]),
        // As f64 it is exact; the shortest text for the largest f32 is beyond what FLOAT takes.
        Values::F32(values) => write!(sql, "{:e}", f64::from(values[row])),
        Values::I64(values) => write!(sql, "{}", values[row]),
        Values::Bool(values) => write!(sql, "{}", values[row]),
        Values::Text(values) => {
            push_literal(sql, &values[row]);
            Ok(())
        }
    };
}
