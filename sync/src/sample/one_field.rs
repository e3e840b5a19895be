//! Columns that are one field: the one that came first and those beside it that take its values of other
//! types.
//!
//! Which column is whose second is written down when it is opened, never read off its name: `status` and
//! `status_text` are often two fields. Of one record at most one of them has a value; where another field of
//! the payload has put one into a second column, the earlier column counts.

use serde::{Deserialize, Serialize};

use super::{FieldType, Schema};

/// Where a column comes from, and how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When it was begun, nanoseconds UTC; `None` if nobody knew the time.
    pub since_ns: Option<i64>,
    /// Position of the column whose values of another type it takes.
    pub second_of: Option<u32>,
    /// How much has been stored in it.
    pub stage: Stage,
    /// The unit that somebody has declared.
    pub unit: Option<String>,
    /// What the payload calls the field, where that is too long for its name.
    pub long_name: Option<String>,
}

/// That of a column of which nothing is known.
static UNKNOWN: Origin = Origin {
    since_ns: None,
    second_of: None,
    stage: Stage::Unknown,
    unit: None,
    long_name: None,
};

/// How much has been stored in a column, and in those that are one field with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Nobody has noted it, as in what earlier versions began.
    #[default]
    Unknown,
    /// No value ever: its type may still change in place.
    Empty,
    /// Something.
    Begun,
    /// So many values that nothing opens another column beside it unless somebody declares it.
    Settled,
}

impl Schema {
    /// The field whose values of another type the column at this position takes; empty for a field of its own, and
    /// nothing where nobody has known.
    pub fn first_of(&self, position: usize) -> Option<&str> {
        let origin = self.origin(position);
        let first = origin.second_of.and_then(|of| self.fields.get(of as usize));
        match first {
            Some(first) => Some(&*first.name),
            None => Some("").filter(|_| origin.stage != Stage::Unknown),
        }
    }

    /// What is known of the column at `position`.
    pub fn origin(&self, position: usize) -> &Origin {
        self.origins.get(position).unwrap_or(&UNKNOWN)
    }

    /// Whether an upstream has nothing to change for the one that it has not for the other.
    pub fn is_stored_as(&self, other: &Self) -> bool {
        let told = |schema: &Self| -> Vec<_> {
            let origins = schema.origins.iter();
            let told = origins.map(|origin| Origin {
                stage: origin.stage.min(Stage::Empty),
                ..origin.clone()
            });
            told.collect()
        };
        (self.id, &self.name, &self.tag_names, &self.fields)
            == (other.id, &other.name, &other.tag_names, &other.fields)
            && (self.origins == other.origins || told(self) == told(other))
    }

    /// As [`Schema::origin`], to be changed. Those before it get an entry, too.
    pub(crate) fn origin_mut(&mut self, position: usize) -> &mut Origin {
        if self.origins.len() <= position {
            self.origins.resize(position + 1, Origin::default());
        }
        &mut self.origins[position]
    }

    /// Whether any column takes values of another one.
    pub fn has_seconds(&self) -> bool {
        self.origins.iter().any(|origin| origin.second_of.is_some())
    }

    /// Positions of the columns that take values of other types of the one at `position`, in order.
    pub fn seconds_of(&self, position: usize) -> impl Iterator<Item = usize> {
        let origins = self.origins.iter().take(self.fields.len()).enumerate();
        origins
            .filter(move |(_, origin)| origin.second_of == Some(position as u32))
            .map(|(second, _)| second)
    }

    /// Whether the column at `position` takes values of another one.
    pub fn is_second(&self, position: usize) -> bool {
        self.origin(position).second_of.is_some()
    }

    /// The type of the field at `position` with all its columns: if they differ, a number where one of them
    /// is, or else a flag.
    pub fn kind_of(&self, position: usize) -> FieldType {
        let own = self.fields[position].kind;
        if !self.has_seconds() {
            return own;
        }
        let mut kinds = vec![own];
        kinds.extend(self.seconds_of(position).map(|at| self.fields[at].kind));
        if kinds.iter().all(|kind| *kind == own) {
            return own;
        }
        let is_number = |kind: &FieldType| !matches!(kind, FieldType::Bool | FieldType::Text);
        if kinds.iter().any(is_number) {
            FieldType::F64
        } else {
            FieldType::Bool
        }
    }
}

#[cfg(test)]
mod tests;
