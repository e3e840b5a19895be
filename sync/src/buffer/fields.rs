//! Reading blocks back in part: some fields of some schemas, with their types.

use std::{collections::BTreeMap, sync::Arc};

use super::Buffer;
use crate::{
    block::{
        Block, Outline,
        codec::{self, CodecError},
    },
    generation::Generation,
    sample::{FieldType, SchemaId},
};

/// The fields wanted, by schema: positions and types, in the order in which they are to come. Sections
/// of schemas not named here are left out.
pub type Fields = BTreeMap<SchemaId, Vec<(usize, FieldType)>>;

/// Reads blocks one after the other, without opening a generation anew for each.
pub struct FieldReader<'a> {
    buffer: &'a Buffer,
    fields: &'a Fields,
    held: Option<Arc<Generation>>,
    source_times: bool,
}

impl Buffer {
    /// A reader of `fields` alone; other columns are not decoded.
    pub fn read_fields<'a>(&'a self, fields: &'a Fields) -> FieldReader<'a> {
        FieldReader {
            buffer: self,
            fields,
            held: None,
            source_times: false,
        }
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
        let (fields, source_times) = (self.fields, self.source_times);
        let wanted = |schema| fields.get(&schema).map(Vec::as_slice);
        self.decoded(seq, |stored, shift_ns| {
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
        let fields = self.fields;
        let wanted = |schema| fields.contains_key(&schema);
        self.decoded(seq, |stored, shift_ns| {
            codec::outline(stored, shift_ns, wanted)
        })
    }

    fn decoded<T>(
        &mut self,
        seq: u64,
        decode: impl FnOnce(&[u8], i64) -> Result<T, CodecError>,
    ) -> Result<Option<T>, String> {
        let Some((stored, shift_ns)) = self.buffer.stored_keeping(seq, &mut self.held)? else {
            return Ok(None);
        };
        match decode(&stored, shift_ns) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(error) => {
                self.buffer
                    .set_block_aside(seq, &stored, &error.to_string());
                Ok(None)
            }
        }
    }
}
