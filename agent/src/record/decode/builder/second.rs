//! A field that comes with a second type: its values of that type go to a field beside it.
//!
//! Only where the type was inferred, which is a guess from the first value: what somebody has declared
//! is refused if it does not fit. What it is called is [`second_field`]'s rule, and a field of that name
//! that is there already takes the values if it has their type. If it has not, is declared, or comes in
//! the same record too, the next number is tried.

use dunlin_sync::{sample::FieldType, second_field::second_field};

use super::{Builder, Cell, Reason, Reject, SecondField, Taking, misfit_at, quoted};
use crate::config::settings::PayloadFormat;

/// Names tried.
const NUMBER_MAX: u32 = 9;

impl Builder<'_> {
    /// Whether a value that does not fit into this column may go beside it.
    pub(in crate::record::decode) fn may_have_second(&self, column: usize) -> bool {
        let format = self.rule.format;
        // A bare number is one because its rule says so.
        let is_guess = !format.is_scalar() || format == PayloadFormat::Scalar;
        is_guess && self.rule.infer && !self.is_declared(column)
    }

    /// Puts `cell` beside the column that is held as another type.
    pub(super) fn put_second(&mut self, column: usize, cell: &Cell<'_>) -> Result<(), Reject> {
        let short = self.affordable(cell);
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let taking = Taking::inferred(self.rule);
        let Some(kind) = cell.inferred(&taking) else {
            return Ok(());
        };
        let value = match cell.value(kind, &taking) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(()),
            Err(misfit) => {
                let reject = misfit_at(self.field(column), cell, misfit);
                return self.leave_out(column, reject);
            }
        };
        let second = match self.second(column, kind) {
            Ok(second) => second,
            Err(reject) => return self.leave_out(column, reject),
        };
        self.seen.insert(second);
        self.set(second, value);
        self.moved.push((column, second));
        Ok(())
    }

    /// The record has named a field that holds another one's values: those go further on. Whether
    /// that was so.
    pub(super) fn make_room(&mut self, column: usize) -> Result<bool, Reject> {
        let Some(at) = self.moved.iter().position(|(_, to)| *to == column) else {
            return Ok(false);
        };
        let (from, _) = self.moved.swap_remove(at);
        let held = self
            .values
            .iter()
            .rposition(|(there, _)| *there as usize == column);
        let Some(held) = held else {
            return Ok(true);
        };
        let (_, value) = self.values.swap_remove(held);
        let second = self.second(from, value.kind())?;
        self.seen.insert(second);
        self.set(second, value);
        self.moved.push((from, second));
        Ok(true)
    }

    /// The column beside `column` for values of `kind`, appended if there is none.
    fn second(&mut self, column: usize, kind: FieldType) -> Result<usize, Reject> {
        for number in 1..=NUMBER_MAX {
            let name = second_field(self.name(column), kind, number);
            match self.search(&name) {
                Some(second) => {
                    let is_free = !self.is_declared(second) && !self.seen.has(second);
                    if is_free && self.field(second).kind == kind {
                        return Ok(second);
                    }
                }
                None if self.is_renamed(&name) => {}
                None => {
                    self.check_new(&name)?;
                    return Ok(self.append_second(column, &name, kind));
                }
            }
        }
        let (name, held) = (quoted(self.name(column)), self.field(column).kind);
        Err(Reject::new(
            Reason::WrongType,
            format!("field {name} is held as {held}, and every name for one of {kind} is taken"),
        ))
    }

    /// The column for a field that is declared as `kind` and held in `column` as another type; `None`
    /// if there is none.
    pub(super) fn declared_second(&mut self, column: usize, kind: FieldType) -> Option<usize> {
        for number in 1..=NUMBER_MAX {
            let name = second_field(self.name(column), kind, number);
            let mut declared = self.rule.fields.iter();
            if declared.any(|declared| declared.field.name == name) {
                continue;
            }
            match self.search(&name) {
                Some(second) if self.field(second).kind == kind => return Some(second),
                Some(_) => {}
                None if self.width() >= self.rule.fields_max => return None,
                None => return Some(self.append_second(column, &name, kind)),
            }
        }
        None
    }

    fn append_second(&mut self, column: usize, name: &str, kind: FieldType) -> usize {
        let field = self.field(column);
        let second = SecondField {
            field: field.name.clone(),
            held: field.kind,
            second: name.to_owned(),
            kind,
        };
        self.seconds.push(second);
        self.append(name, kind)
    }
}
