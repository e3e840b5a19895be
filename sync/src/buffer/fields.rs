//! Reading blocks back in part: some fields of some schemas, with their types.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::Buffer;
use crate::{
    block::{
        Block, Outline,
        codec::{self, CodecError, FieldColumns},
    },
    generation::Generation,
    sample::{FieldType, Schema, SchemaId},
};

/// The fields wanted, by schema: positions and types, in the order in which they are to come. Sections
/// of schemas not named here are left out. What columns beside one hold of its values
/// ([`Schema::seconds_of`]) comes with it; its type is then the one that they come as
/// ([`Schema::kind_of`], or text, or `f64`).
pub type Fields = BTreeMap<SchemaId, Vec<(usize, FieldType)>>;

/// Reads blocks one after the other, without opening a generation anew for each.
pub struct FieldReader<'a> {
    buffer: &'a Buffer,
    fields: HashMap<SchemaId, Vec<FieldColumns>>,
    held: Option<Arc<Generation>>,
    source_times: bool,
}

impl Buffer {
    /// A reader of `fields` alone; other columns are not decoded.
    pub fn read_fields(&self, fields: &Fields) -> FieldReader<'_> {
        let catalog = self.catalog();
        let resolved = fields.iter().map(|(id, wanted)| {
            let schema = catalog.schema(*id).filter(|schema| schema.has_seconds());
            let wanted = wanted.iter();
            let columns = wanted.map(|(position, kind)| columns_of(schema, *position, *kind));
            (*id, columns.collect())
        });
        FieldReader {
            buffer: self,
            fields: resolved.collect(),
            held: None,
            source_times: false,
        }
    }
}

/// All columns of the field at `position`, to come as values of type `kind`.
pub(super) fn columns_of(
    schema: Option<&Arc<Schema>>,
    position: usize,
    kind: FieldType,
) -> FieldColumns {
    let seconds = schema.map(|schema| schema.seconds_of(position).collect());
    FieldColumns {
        position,
        seconds: seconds.unwrap_or_default(),
        kind,
    }
}

impl FieldReader<'_> {
    /// Source times are read, too.
    #[must_use]
    pub fn with_source_times(mut self) -> Self {
        self.source_times = true;
        self
    }

    /// The block numbered `seq`: the wanted fields as its columns, no source times unless they are asked
    /// for. `None` if it was trimmed or is lost, as with [`Buffer::read_block`].
    ///
    /// # Errors
    /// A text for people, when the disk refuses: the block may be there, try again later.
    pub fn block(&mut self, seq: u64) -> Result<Option<Block>, String> {
        let source_times = self.source_times;
        self.decoded(seq, |fields, stored, shift_ns| {
            let wanted = |schema| fields.get(&schema).map(Vec::as_slice);
            codec::decode_fields(seq, stored, shift_ns, source_times, wanted)
        })
    }

    /// As [`Self::block`], but only whose rows there are: no column is unpacked.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub fn outline(&mut self, seq: u64) -> Result<Option<Outline>, String> {
        // Damage in a column shows only when it is unpacked.
        if self.buffer.is_lost(seq) {
            return Ok(None);
        }
        self.decoded(seq, |fields, stored, shift_ns| {
            codec::outline(stored, shift_ns, |schema| fields.contains_key(&schema))
        })
    }

    fn decoded<T>(
        &mut self,
        seq: u64,
        decode: impl FnOnce(&HashMap<SchemaId, Vec<FieldColumns>>, &[u8], i64) -> Result<T, CodecError>,
    ) -> Result<Option<T>, String> {
        let Some((stored, shift_ns)) = self.buffer.stored_keeping(seq, &mut self.held)? else {
            return Ok(None);
        };
        match decode(&self.fields, &stored, shift_ns) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(error) => {
                self.buffer
                    .set_block_aside(seq, &stored, &error.to_string());
                Ok(None)
            }
        }
    }
}
