//! A field that comes with a second type: its values of that type go to a field beside it.
//!
//! Only where the type was inferred, which is a guess from the first value: what somebody has declared
//! is refused if it does not fit. And only while the field is young (`infer_records`): a device that sends
//! now this, now that must not go on to open columns. (One of numbers beside one of numbers may come later: a
//! counter becomes large in the end.) What it is called is [`second_field`]'s rule. A column of that name
//! that is there already takes the values if it is this field's second one. One that is known as another
//! field does not, nor one that is declared, or comes in the same record: the next number is tried.
//!
//! Of columns that an earlier version has begun nobody knows what they are. One with the right name and
//! type takes the values, as it did then, and from then on the two are one field: the name ends in `_f64` or
//! the like. Not so `_text`: `status` and `status_text` are often two fields.

use dunlin_sync::{
    sample::{FieldType, Stage},
    second_field::second_field,
};

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
        let second = match self.second(from, value.kind()) {
            Ok(second) => second,
            Err(reject) => return self.leave_out(from, reject).map(|()| true),
        };
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
                    if is_free && self.is_second(column, second, kind) {
                        return Ok(second);
                    }
                }
                None if self.is_renamed(&name) => {}
                None => {
                    self.check_young(column, kind)?;
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

    /// Whether `second`, which has the right name, is where values of type `kind` of `column` go.
    fn is_second(&mut self, column: usize, second: usize, kind: FieldType) -> bool {
        if self.field(second).kind != kind {
            return false;
        }
        let (name, first) = (self.name(second), self.name(column));
        let said = |told: &SecondField| told.second == name && told.field == first;
        if self.seconds.iter().any(said) {
            return true;
        }
        let second_of = self.second_of(second);
        let is_known = second_of.is_some() || self.stage(second) != Stage::Unknown;
        if is_known || second >= self.held.len() {
            return second_of == Some(column as u32);
        }
        let is_named_so = kind != FieldType::Text && second > column;
        if is_named_so && self.second_of(column).is_none() {
            self.note_second(column, second);
        }
        true
    }

    /// Whether a column for values of type `kind` may be opened beside one whose type was inferred.
    fn check_young(&self, column: usize, kind: FieldType) -> Result<(), Reject> {
        let held = self.field(column).kind;
        let is_number = |kind| !matches!(kind, FieldType::Bool | FieldType::Text);
        if self.stage(column) != Stage::Settled || is_number(held) && is_number(kind) {
            return Ok(());
        }
        Err(Reject::new(
            Reason::WrongType,
            format!(
                "field {} is held as {held}, but one of {kind} came after its first {} values \
                 (infer_records); declare it as {kind} if that is what it is now",
                quoted(self.name(column)),
                self.rule.infer_records
            ),
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
                Some(second) if self.is_second(column, second, kind) => return Some(second),
                Some(_) => {}
                // What is declared always has room.
                None => return Some(self.append_second(column, &name, kind)),
            }
        }
        None
    }

    fn append_second(&mut self, column: usize, name: &str, kind: FieldType) -> usize {
        let second = self.append(name, kind);
        self.note_second(column, second);
        second
    }

    fn note_second(&mut self, column: usize, second: usize) {
        let (field, beside) = (self.field(column), self.field(second));
        let second = SecondField {
            field: field.name.clone(),
            held: field.kind,
            second: beside.name.clone(),
            kind: beside.kind,
        };
        self.seconds.push(second);
    }
}
