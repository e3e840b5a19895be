//! The rows of one stream on their way into the tables of its schema.

use rusqlite::{Connection, ErrorCode, Statement};

use super::tables::{PartPlan, TablePlan};
use crate::{
    rows::{Column, Rows, TableRows, Values},
    upstream::{Rejection, TableRefusal, WriteReport},
};

/// Parameters of the fixed columns, the number of the first field's less one.
const FIRST: usize = 1;

/// Inserts or overwrites the rows of `table`, the `index`th of its batch, under `key`.
pub(super) fn insert(
    connection: &Connection,
    plan: &TablePlan,
    key: &str,
    index: usize,
    table: &TableRows,
    report: &mut WriteReport,
) -> rusqlite::Result<()> {
    let rows = &table.rows;
    let column = |field: &usize| rows.columns.get(*field);
    let holds = |column: &Column| (0..rows.len()).any(|row| column.is_present(row));
    for (field, refusal) in &plan.refused {
        if refusal.can_heal && column(field).is_some_and(holds) {
            report.refused.push(TableRefusal {
                table: index,
                reason: refusal.reason.clone(),
            });
            return Ok(());
        }
    }
    let mut parts = Vec::with_capacity(plan.parts.len());
    for part in &plan.parts {
        let mut statement = connection.prepare_cached(&part.upsert)?;
        statement.raw_bind_parameter(FIRST, key)?;
        parts.push((part, statement));
    }
    let (written, rejected) = (report.rows_written, report.rejected.len());
    let mut blamed = None;
    for row in 0..rows.len() {
        let mut reject = |reason: String| {
            report.rejected.push(Rejection {
                table: index,
                row,
                reason,
                is_out_of_time: false,
            });
        };
        let mut refused = plan.refused.iter();
        let refused = refused.find(|(field, _)| column(field).is_some_and(|c| c.is_present(row)));
        if let Some((_, refusal)) = refused {
            reject(refusal.reason.clone());
            continue;
        }
        match insert_row(&mut parts, rows, row) {
            Ok(()) => report.rows_written += 1,
            Err(error) if is_about_the_row(&error) && !connection.is_autocommit() => {
                blamed.get_or_insert(error.to_string());
                reject(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    // If none is taken it is not for the sake of a row, and may be healed.
    if report.rows_written == written
        && let Some(reason) = blamed
    {
        report.rejected.truncate(rejected);
        report.refused.push(TableRefusal {
            table: index,
            reason,
        });
    }
    Ok(())
}

fn insert_row(
    parts: &mut [(&PartPlan, rusqlite::CachedStatement<'_>)],
    rows: &Rows,
    row: usize,
) -> rusqlite::Result<()> {
    for (number, (part, statement)) in parts.iter_mut().enumerate() {
        let column = |field: usize| rows.columns.get(field).filter(|c| c.is_present(row));
        if number > 0
            && part
                .fields
                .iter()
                .all(|(field, _)| column(*field).is_none())
        {
            continue;
        }
        statement.raw_bind_parameter(2, rows.ts[row])?;
        if number == 0 {
            statement.raw_bind_parameter(3, rows.is_train[row])?;
            statement.raw_bind_parameter(4, rows.fold[row])?;
            statement.raw_bind_parameter(5, rows.source_ts[row])?;
        }
        for (field, parameter) in &part.fields {
            match column(*field) {
                Some(column) => bind(statement, *parameter, column, row)?,
                None => statement.raw_bind_parameter(*parameter, None::<i64>)?,
            }
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn bind(
    statement: &mut Statement<'_>,
    parameter: usize,
    column: &Column,
    row: usize,
) -> rusqlite::Result<()> {
    match &column.values {
        Values::F64(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::F32(values) => statement.raw_bind_parameter(parameter, f64::from(values[row])),
        Values::I64(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::Bool(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::Text(values) => statement.raw_bind_parameter(parameter, &*values[row]),
    }
}

/// Whether the row itself is at fault: somebody's constraint or trigger, or a value too large.
fn is_about_the_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
