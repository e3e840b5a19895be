//! Into which field a value goes, and as what.

use std::borrow::Cow;

use dunlin_sync::sample::{Field, FieldType, Value};

use super::{Below, Builder, Reason, Reject, Target, quoted};
use crate::record::decode::{
    FIELD_NAME_BYTES_MAX, float,
    names::field_name_for,
    value::{Cell, LARGE_INTEGER_BYTES_MIN, Misfit, Taking},
};

/// Longest path of a field that nobody declared, bytes.
const PATH_BYTES_MAX: usize = 1024;
/// Longest name of a payload that is kept beside the short one, bytes.
const LONG_NAME_BYTES_MAX: usize = 256;
/// Name of the only field of a record that gives it none.
const READING: &str = "reading";

impl Builder<'_> {
    /// Puts the one value of a record: where the topic says (`field`), into the one declared field, or into
    /// `reading`. A field that is new has type `kind`, if that is known.
    pub(in crate::record::decode) fn put_only(
        &mut self,
        field: Option<&str>,
        kind: Option<FieldType>,
        cell: &Cell<'_>,
    ) -> Result<(), Reject> {
        let name = match (field, self.rule.fields.as_slice(), self.declared.as_slice()) {
            (Some(field), ..) => field,
            (None, [_], &[column]) => return self.put_column(column, cell),
            _ => READING,
        };
        match (self.find(name), kind) {
            (Target::Column(column), _) => self.put_column(column, cell),
            (_, Some(kind)) => {
                let name = field_name_for(name);
                if let Target::Column(column) = self.find(&name) {
                    return self.store(column, cell);
                }
                if let Err(reject) = self.check_new(&name) {
                    return self.leave_out_named(&name, reject);
                }
                let column = self.append(&name, kind);
                self.put_column(column, cell)
            }
            (_, None) => self.put_new(name, cell).map(|_| ()),
        }
    }

    /// What may be taken below `path`, where an object or array is.
    pub(in crate::record::decode) fn below(&mut self, path: &str) -> Result<Below, Reject> {
        match self.find(path) {
            // What lies below it has names of its own.
            Target::Column(column) if self.may_have_second(column) => {}
            Target::Column(column) => {
                let reject = Reject::new(
                    Reason::WrongType,
                    format!(
                        "field {} is held as a single value, but an object or array came",
                        quoted(path)
                    ),
                );
                return self.leave_out(column, reject).map(|()| Below::Nothing);
            }
            Target::Time => {
                return Err(Reject::new(
                    Reason::BadTime,
                    format!("the time {} is an object or array", quoted(path)),
                ));
            }
            Target::Undeclared => {}
        }
        Ok(if !self.wants_below(path) {
            self.note_excluded();
            Below::Nothing
        } else if self.rule.infer && !self.declared_only {
            Below::Inferred
        } else {
            Below::Declared
        })
    }

    /// Puts `cell` where `path` says, taking it as a new field if the rule infers fields.
    pub(in crate::record::decode) fn put(
        &mut self,
        path: &str,
        cell: &Cell<'_>,
    ) -> Result<(), Reject> {
        match self.find(path) {
            Target::Column(column) => self.put_column(column, cell),
            Target::Time => self.put_time(cell),
            Target::Undeclared if self.infers(path) => self.put_new(path, cell).map(|_| ()),
            Target::Undeclared => {
                self.note_excluded();
                Ok(())
            }
        }
    }

    /// What nobody declared is not inferred either.
    fn note_excluded(&mut self) {
        self.seen.excluded |= self.rule.infer && !self.declared_only;
    }

    /// Puts `cell` into a known field.
    #[inline]
    pub(in crate::record::decode) fn put_column(
        &mut self,
        column: usize,
        cell: &Cell<'_>,
    ) -> Result<(), Reject> {
        if self.is_ignored(column) {
            self.seen.excluded = true;
            return Ok(());
        }
        self.store(column, cell)
    }

    /// As [`Builder::put_column`], whatever the patterns say of the column's name.
    fn store(&mut self, column: usize, cell: &Cell<'_>) -> Result<(), Reject> {
        if self.wanted.is_some() {
            let path = self.path(column).map(str::to_owned);
            if !self.is_wanted(path.as_deref()) {
                return Ok(());
            }
        }
        if !self.seen.insert(column) && !self.make_room(column)? {
            return Err(self.twice(self.name(column)));
        }
        let kind = self.field(column).kind;
        let short = match kind {
            FieldType::Text => None,
            _ => self.affordable(cell),
        };
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let number = match cell {
            Cell::Number(text) | Cell::Bare(text)
                if kind == FieldType::F64
                    && !self.converts
                    && text.len() < LARGE_INTEGER_BYTES_MIN =>
            {
                float::parse(text)
            }
            _ => None,
        };
        // The usual case, without the way through the general one.
        if let Some(number) = number.filter(|number: &f64| number.is_finite()) {
            self.set(column, Value::F64(number));
            return Ok(());
        }
        match cell.value(kind, &self.taking(column)) {
            Ok(Some(value)) => self.set(column, value),
            Ok(None) => {}
            Err(Misfit::WrongType) if self.may_have_second(column) => {
                return self.put_second(column, cell);
            }
            Err(misfit) => {
                let reject = misfit_at(self.field(column), cell, misfit);
                return self.leave_out(column, reject);
            }
        }
        Ok(())
    }

    /// Takes a field nobody declared; `None` if the cell says nothing about its type, or does not fit.
    pub(in crate::record::decode) fn put_new(
        &mut self,
        path: &str,
        cell: &Cell<'_>,
    ) -> Result<Option<usize>, Reject> {
        if matches!(cell, Cell::Null) {
            return Ok(None);
        }
        if path.len() > PATH_BYTES_MAX {
            let detail = format!("a path of {} bytes", path.len());
            let start = &path[..path.floor_char_boundary(64)];
            let reject = Reject::new(Reason::BadFieldName, detail);
            return self.leave_out_named(start, reject).map(|()| None);
        }
        let name = match field_name_for(path) {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => {
                let width = self.width();
                let column = self.put_mapped(&name, cell)?;
                if self.width() > width && path.len() > FIELD_NAME_BYTES_MAX {
                    self.note_long_name(name, path);
                }
                return Ok(column);
            }
        };
        if !self.is_wanted(Some(name)) {
            return Ok(None);
        }
        let short = self.affordable(cell);
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let taking = Taking::inferred(self.rule);
        let Some(kind) = cell.inferred(&taking) else {
            return Ok(None);
        };
        let field = || Field {
            name: name.to_owned(),
            kind,
        };
        let value = match cell.value(kind, &taking) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(misfit) => {
                let reject = misfit_at(&field(), cell, misfit);
                return self.leave_out_named(name, reject).map(|()| None);
            }
        };
        if let Err(reject) = self.check_new(name) {
            return self.leave_out_named(name, reject).map(|()| None);
        }
        let column = self.append(name, kind);
        self.seen.insert(column);
        self.guess = column + 1;
        self.set(column, value);
        Ok(Some(column))
    }

    fn note_long_name(&mut self, name: String, path: &str) {
        let end = path.floor_char_boundary(LONG_NAME_BYTES_MAX);
        let clean = |c: char| if c.is_control() { '_' } else { c };
        self.long_names
            .push((name, path[..end].chars().map(clean).collect()));
    }

    /// Puts `cell` into the field that stands for a name no field can have.
    fn put_mapped(&mut self, name: &str, cell: &Cell<'_>) -> Result<Option<usize>, Reject> {
        match self.find(name) {
            // Its path was among those that are taken.
            Target::Column(column) => self.store(column, cell).map(|()| Some(column)),
            Target::Time => Ok(None),
            Target::Undeclared => self.put_new(name, cell),
        }
    }

    /// What to read instead of a number that is too dear to round.
    #[inline]
    pub(super) fn affordable(&mut self, cell: &Cell<'_>) -> Option<String> {
        match cell {
            Cell::Number(text) | Cell::Bare(text) => self.floats.shortened(text),
            _ => None,
        }
    }

    pub(super) fn check_new(&mut self, name: &str) -> Result<(), Reject> {
        // Any other field of this name would have been found by its path.
        if self.is_renamed(name) {
            return Err(Reject::new(
                Reason::BadFieldName,
                format!(
                    "{} is the name of a declared field that is read from elsewhere; rename either",
                    quoted(name)
                ),
            ));
        }
        self.check_room(name)
    }
}

pub(super) fn misfit_at(field: &Field, cell: &Cell<'_>, misfit: Misfit) -> Reject {
    let name = quoted(&field.name);
    let came = cell.description();
    match misfit {
        Misfit::WrongType => Reject::new(
            Reason::WrongType,
            format!("field {name} is held as {}, but {came} came", field.kind),
        ),
        Misfit::Nan => Reject::new(Reason::Nan, format!("field {name}: {came} is not finite")),
        Misfit::BadText => Reject::new(
            Reason::BadText,
            format!("field {name}: {came} holds a control character"),
        ),
    }
}
