//! What tables and columns a schema has become, by the books that upstreams keep alike in every database; and the
//! one query that reads them.

use std::{collections::BTreeSet, fmt::Write as _};

use super::rows::{ROWS_AT_ONCE_MAX, RowsQuery};
use crate::{
    rows::{Column, Rows},
    sample::{Field, FieldType, Value},
    upstream::quoted,
};

/// Most values that are read at once.
const VALUES_AT_ONCE_MAX: usize = 500_000;

/// What a schema has become.
pub(crate) struct Tables {
    /// In order; the first has a row for every record. None: there are no rows.
    pub(crate) names: Vec<String>,
    /// Where each field is.
    pub(crate) fields: Vec<Place>,
}

/// Where the values of a field are.
pub(crate) struct Place {
    pub(crate) field: Field,
    pub(crate) column: String,
    /// Position of the table.
    pub(crate) table: usize,
}

impl Tables {
    /// Puts the fields that are known, as rows of the books (field, column, type), into the tables with these
    /// columns. Whether case tells names apart is the database's way.
    pub(crate) fn new(
        tables: &[(String, Vec<String>)],
        fields: Vec<(String, String, String)>,
        same: fn(&str, &str) -> bool,
    ) -> Self {
        let place = |(field, column, kind): (String, String, String)| {
            let kind = FieldType::named(&kind)?;
            // A column that somebody has dropped holds nothing.
            let mut columns = tables.iter().map(|(_, columns)| columns);
            let table = columns.position(|columns| columns.iter().any(|name| same(name, &column)));
            Some(Place {
                field: Field { name: field, kind },
                column,
                table: table?,
            })
        };
        let fields = fields.into_iter().filter_map(place).collect();
        let mut names: Vec<String> = tables.iter().map(|(name, _)| name.clone()).collect();
        if tables.first().is_none_or(|(_, columns)| columns.is_empty()) {
            names.clear();
        }
        Self { names, fields }
    }

    /// Those that are asked for; of one that nobody knows, its name.
    pub(crate) fn places(&self, names: &[String]) -> Result<Vec<&Place>, String> {
        let places = names.iter().map(|name| {
            let mut fields = self.fields.iter();
            let place = fields.find(|place| place.field.name == *name);
            place.ok_or_else(|| format!("there is no field {name:?}"))
        });
        places.collect()
    }
}

/// Rows that are being read, a column for each of the fields that were asked for.
pub(crate) struct Reading {
    rows: Rows,
    columns: Vec<Column>,
}

impl Reading {
    pub(crate) fn of(places: &[&Place]) -> Self {
        let columns = places.iter();
        Self {
            rows: Rows::default(),
            columns: columns
                .map(|place| Column::empty(place.field.kind))
                .collect(),
        }
    }

    /// A row as it is in the first table; its values are to follow, by [`Reading::value`], each once.
    pub(crate) fn row(
        &mut self,
        ts: i64,
        is_train: Option<bool>,
        fold: Option<u8>,
        source_ts: Option<i64>,
    ) {
        self.rows.ts.push(ts);
        self.rows.is_train.push(is_train.unwrap_or(true));
        self.rows.fold.push(fold.unwrap_or(0));
        self.rows.source_ts.push(source_ts);
    }

    /// The value of the field at position `at`. A column of the database may take anything: what is not of the
    /// field's type is none of ours, and missing.
    pub(crate) fn value(&mut self, at: usize, value: Option<Value>) {
        let Some(column) = self.columns.get_mut(at) else {
            return;
        };
        if column.push(value).is_err() {
            let _a_missing_value_has_any_type = column.push(None);
        }
    }

    pub(crate) fn done(self) -> Rows {
        Rows {
            columns: self.columns.into(),
            ..self.rows
        }
    }
}

/// The query for rows: its parameters are the stream, the first and the last timestamp.
pub(crate) fn select(
    tables: &Tables,
    places: &[&Place],
    query: &RowsQuery,
    written: impl Fn(FieldType, &str) -> String,
) -> String {
    let mut sql = "SELECT t0.ts, t0.is_train, t0.fold, t0.source_ts".to_owned();
    let mut joined = BTreeSet::new();
    for place in places {
        let column = format!("t{}.{}", place.table, quoted(&place.column));
        let _infallible = write!(sql, ", {}", written(place.field.kind, &column));
        joined.extend(Some(place.table).filter(|table| *table > 0));
    }
    let name = |table: usize| tables.names.get(table).map_or("", String::as_str);
    let _infallible = write!(sql, " FROM {} AS t0", quoted(name(0)));
    for table in joined {
        let _infallible = write!(
            sql,
            " LEFT JOIN {} AS t{table} ON t{table}.stream = t0.stream AND t{table}.ts = t0.ts",
            quoted(name(table))
        );
    }
    let order = if query.is_newest_first { " DESC" } else { "" };
    let most = ROWS_AT_ONCE_MAX
        .min(VALUES_AT_ONCE_MAX / places.len().max(1))
        .clamp(1, query.most.max(1));
    let _infallible = write!(
        sql,
        " WHERE t0.stream = $1 AND t0.ts >= $2 AND t0.ts <= $3 ORDER BY t0.ts{order} LIMIT {most}"
    );
    sql
}
