//! Blocks gathered into a batch for the upstream.

use std::{collections::HashMap, sync::Arc};

use crate::{
    block::{Block, Run},
    rows::{Batch, Rows, TableRows},
    sample::{Catalog, Field, FieldType, Schema, Stream, StreamId},
};

/// Gathers the rows of many blocks, one table a stream, later blocks behind earlier ones.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    tables: Vec<TableRows>,
    /// Stream -> index into `tables`.
    index: HashMap<StreamId, usize>,
    unknown: Vec<TableRows>,
}

impl BatchBuilder {
    /// Adds the runs of `block` that `wanted` accepts; how many rows that were.
    pub fn append(
        &mut self,
        block: &Block,
        catalog: &Catalog,
        mut wanted: impl FnMut(&Run) -> bool,
    ) -> usize {
        let mut added = 0;
        for section in &block.sections {
            let mut start = 0;
            for run in &section.runs {
                let range = start..start + run.rows as usize;
                start = range.end;
                if !wanted(run) {
                    continue;
                }
                added += range.len();
                let Some((stream, schema)) = catalog.resolve(run.stream) else {
                    let mut table = nameless(run.stream, &section.rows);
                    table.rows.extend_from(&section.rows, range);
                    self.unknown.push(table);
                    continue;
                };
                let index = *self.index.entry(run.stream).or_insert_with(|| {
                    self.tables.push(TableRows {
                        stream: Arc::clone(stream),
                        schema: Arc::clone(schema),
                        rows: Rows::default(),
                    });
                    self.tables.len() - 1
                });
                let table = &mut self.tables[index];
                // A block from after a new field may come with a newer catalog.
                table.schema = Arc::clone(schema);
                table.rows.extend_from(&section.rows, range);
            }
        }
        added
    }

    /// The batch, and rows of streams that the catalog does not know under made-up names.
    pub fn finish(self) -> (Batch, Vec<TableRows>) {
        let tables = self.tables;
        (Batch { tables }, self.unknown)
    }
}

/// A table for rows whose stream is not in the catalog, so that they can be put aside readably.
fn nameless(id: StreamId, rows: &Rows) -> TableRows {
    let width = rows.columns.iter().last().map_or(0, |(last, _)| last + 1);
    let fields = (0..width).map(|position| Field {
        name: format!("column_{position}"),
        kind: match rows.columns.get(position) {
            Some(column) => column.values.kind(),
            None => FieldType::F64,
        },
    });
    let name = format!("unknown/{id}");
    TableRows {
        schema: Arc::new(Schema {
            id: u32::MAX,
            name: "unknown".into(),
            tag_names: Vec::new(),
            fields: fields.collect(),
            origins: Vec::new(),
        }),
        stream: Arc::new(Stream {
            id,
            schema: u32::MAX,
            name,
            tags: Vec::new(),
            first_tags: None,
        }),
        rows: Rows::default(),
    }
}
