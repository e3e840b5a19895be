//! Schemas as they are made and lengthened.

use std::sync::Arc;

use super::{Buffer, catalog::schema_entries};
use crate::sample::{Field, Schema, SchemaId, Stage};

/// A field that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A field is already held as another type.
    #[error("field {field} is held as {held}, not {asked}")]
    TypeHeld {
        /// The field.
        field: String,
        /// The type it is held as.
        held: &'static str,
        /// The type asked for.
        asked: &'static str,
    },
}

/// Columns of a schema of which it is noted whether anything was ever stored in them: each is a change of the
/// schema, which is written whole. The others count as if.
const EMPTY_COLUMNS_MAX: usize = 256;

/// Long names that are kept with a schema, bytes in all: payloads make them up.
const LONG_NAMES_BYTES_MAX: usize = 32 << 10;

/// What a schema is to have, and what is known of its columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Declaration<'a> {
    /// Names of tags.
    pub tag_names: &'a [String],
    /// Fields; a new one is empty until `stages` says otherwise.
    pub fields: &'a [Field],
    /// Columns of which no value has ever been stored that are to have this type from now on.
    pub retyped: &'a [Field],
    /// Names of a column and of the one beside it that takes its values of another type.
    pub seconds: &'a [(String, String)],
    /// How much has been stored in a column, by position, as far as it is more than before. That one is
    /// settled need not be durable at once: it goes with the next change, or the next generation.
    pub stages: &'a [(usize, Stage)],
    /// Names of columns and the units of their values.
    pub units: &'a [(String, String)],
    /// Names of columns and what payloads call the fields, where that is longer.
    pub long_names: &'a [(String, String)],
    /// The time, nanoseconds UTC, if it is known.
    pub now_ns: Option<i64>,
}

impl Buffer {
    /// The schema called `name` with at least `tag_names` and `fields`, made or lengthened as needed, for
    /// records that have values of all these. Durable with the next commit.
    ///
    /// # Errors
    /// [`CatalogError`] if it exists with a field of another type.
    pub fn declare_schema(
        &self,
        name: &str,
        tag_names: &[String],
        fields: &[Field],
    ) -> Result<Arc<Schema>, CatalogError> {
        let declaration = Declaration {
            tag_names,
            fields,
            ..Declaration::default()
        };
        self.change_schema(name, &declaration, true)
    }

    /// As [`Buffer::declare_schema`], with all that is known.
    ///
    /// # Errors
    /// As [`Buffer::declare_schema`].
    pub fn declare(
        &self,
        name: &str,
        declaration: &Declaration<'_>,
    ) -> Result<Arc<Schema>, CatalogError> {
        self.change_schema(name, declaration, false)
    }

    fn change_schema(
        &self,
        name: &str,
        declaration: &Declaration<'_>,
        is_filled: bool,
    ) -> Result<Arc<Schema>, CatalogError> {
        let mut inner = self.lock();
        let catalog = self.catalog();
        let known = catalog.schema_named(name);
        let mut schema = known.map_or_else(
            || Schema {
                id: catalog.schemas().len() as SchemaId,
                name: name.to_owned(),
                ..Schema::default()
            },
            |schema| Schema::clone(schema),
        );
        declaration.apply(&mut schema, is_filled)?;
        let is_new = known.is_none_or(|known| **known != schema);
        declaration.reach(&mut schema, Stage::Settled);
        if let Some(known) = known.filter(|known| ***known == schema) {
            return Ok(Arc::clone(known));
        }
        drop(catalog);
        let schema = Arc::new(schema);
        if is_new {
            inner.pending.extend(schema_entries(&schema));
        }
        self.change_catalog(|catalog| catalog.put_schema(Arc::clone(&schema)));
        Ok(schema)
    }
}

impl Declaration<'_> {
    fn apply(&self, schema: &mut Schema, is_filled: bool) -> Result<(), CatalogError> {
        for tag in self.tag_names {
            if !schema.tag_names.contains(tag) {
                schema.tag_names.push(tag.clone());
            }
        }
        for field in self.retyped {
            if let Some(column) = schema.field(&field.name)
                && schema.origin(column).stage == Stage::Empty
            {
                schema.fields[column].kind = field.kind;
            }
        }
        for field in self.fields {
            let column = match schema.field(&field.name) {
                None => {
                    let column = schema.fields.len();
                    schema.fields.push(field.clone());
                    let origin = schema.origin_mut(column);
                    origin.since_ns = self.now_ns;
                    origin.stage = if column < EMPTY_COLUMNS_MAX {
                        Stage::Empty
                    } else {
                        Stage::Begun
                    };
                    column
                }
                Some(column) if schema.fields[column].kind == field.kind => column,
                Some(column) => {
                    return Err(CatalogError::TypeHeld {
                        field: field.name.clone(),
                        held: schema.fields[column].kind.name(),
                        asked: field.kind.name(),
                    });
                }
            };
            if is_filled && schema.origin(column).stage == Stage::Empty {
                schema.origin_mut(column).stage = Stage::Begun;
            }
        }
        for (first, second) in self.seconds {
            // Never the other way round, nor beside what is itself beside another.
            if let (Some(first), Some(second)) = (schema.field(first), schema.field(second))
                && first < second
                && !schema.is_second(first)
            {
                let origin = schema.origin_mut(second);
                origin.second_of = Some(first as u32);
                // What may be opened is counted where the field began.
                origin.stage = Stage::Settled;
            }
        }
        for (name, unit) in self.units {
            let Some(column) = schema.field(name) else {
                continue;
            };
            let columns: Vec<usize> = schema.seconds_of(column).chain([column]).collect();
            for column in columns {
                if schema.origin(column).unit.as_ref() != Some(unit) {
                    schema.origin_mut(column).unit = Some(unit.clone());
                }
            }
        }
        let kept = schema.origins.iter();
        let mut bytes: usize = kept.filter_map(|o| Some(o.long_name.as_ref()?.len())).sum();
        for (name, long) in self.long_names {
            if let Some(column) = schema.field(name)
                && schema.origin(column).long_name.is_none()
                && bytes + long.len() <= LONG_NAMES_BYTES_MAX
            {
                bytes += long.len();
                schema.origin_mut(column).long_name = Some(long.clone());
            }
        }
        self.reach(schema, Stage::Begun);
        Ok(())
    }

    /// Columns have come to `stage`, as far as they have.
    fn reach(&self, schema: &mut Schema, stage: Stage) {
        for (column, _) in self.stages.iter().filter(|(_, reached)| *reached == stage) {
            if *column < schema.fields.len() && schema.origin(*column).stage < stage {
                schema.origin_mut(*column).stage = stage;
            }
        }
    }
}

#[cfg(test)]
mod tests;
