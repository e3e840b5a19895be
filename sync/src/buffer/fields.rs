//! Reading blocks back in part: some fields of some schemas, with their types.

use std::{collections::BTreeMap, sync::Arc};

use super::Buffer;
use crate::{
    block::Block,
    codec,
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
}

impl Buffer {
    /// A reader of `fields` alone; other columns are not decoded.
    pub fn read_fields<'a>(&'a self, fields: &'a Fields) -> FieldReader<'a> {
        FieldReader {
            buffer: self,
            fields,
            held: None,
        }
    }
}

impl FieldReader<'_> {
    /// The block numbered `seq`: the wanted fields as its columns, no source times. `None` if it was
    /// trimmed or is lost, as with [`Buffer::read_block`].
    ///
    /// # Errors
    /// A text for people, when the disk refuses: the block may be there, try again later.
    pub fn block(&mut self, seq: u64) -> Result<Option<Block>, String> {
        let Some((stored, shift_ns)) = self.buffer.stored_keeping(seq, &mut self.held)? else {
            return Ok(None);
        };
        let wanted = |schema| self.fields.get(&schema).map(Vec::as_slice);
        match codec::decode_fields(seq, &stored, shift_ns, wanted) {
            Ok(block) => Ok(Some(block)),
            Err(error) => {
                self.buffer
                    .set_block_aside(seq, &stored, &error.to_string());
                Ok(None)
            }
        }
    }
}
