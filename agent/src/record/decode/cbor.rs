//! CBOR (RFC 8949) as a tape.
//!
//! - lengths may be definite or not; a text in chunks is joined, a byte string in chunks is refused;
//! - half, single and double floats become the same number as a double;
//! - tags are passed over, and what they tag is taken: a date-time as its text or number (tags 0 and
//!   1). Bignums (tags 2 and 3) become integers, up to 127 bits;
//! - undefined counts as null; other simple values are refused;
//! - a key must be a text or a number.

use std::{borrow::Cow, error::Error as _, str::Utf8Error};

use minicbor::{
    data::{IanaTag, Type},
    decode::{Decoder, Error},
};

use super::{
    Reason, Reject,
    tape::{Tape, TapeBuilder, located, not_a_key},
    value::Cell,
};

/// Reads a payload of one CBOR data item. Whether a key comes twice is for the walker of the tape to
/// see.
///
/// # Errors
/// `Empty`, `NotCbor`, `NotUtf8`; `WrongType` for what is CBOR, but nothing a field could hold;
/// `TooManyRecords` for more than a tape holds.
pub(super) fn tape_of_cbor(payload: &[u8]) -> Result<Tape<'_>, Reject> {
    if payload.is_empty() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let mut reader = Reader {
        decoder: Decoder::new(payload),
        tape: TapeBuilder::new(payload.len(), Reason::NotCbor),
        at: 0,
    };
    match reader.value().and_then(|()| reader.end()) {
        Ok(()) => Ok(reader.tape.finish()),
        Err(reject) => Err(located(&reject, reader.at, payload)),
    }
}

struct Reader<'a> {
    decoder: Decoder<'a>,
    tape: TapeBuilder<'a>,
    /// Where the item that is being read begins.
    at: usize,
}

impl<'a> Reader<'a> {
    /// Recursion ends with the nesting that the tape takes.
    fn value(&mut self) -> Result<(), Reject> {
        match self.tagged()? {
            Type::Map | Type::MapIndef => self.object(),
            Type::Array | Type::ArrayIndef => self.array(),
            kind => {
                let cell = self.scalar(kind)?;
                self.tape.scalar(cell)
            }
        }
    }

    /// The kind of the next item, which the decoder stays in front of; `Tag` is a bignum. Passes over
    /// all other tags.
    fn tagged(&mut self) -> Result<Type, Reject> {
        loop {
            let kind = self.next_kind()?;
            if kind != Type::Tag {
                return Ok(kind);
            }
            let tag = self.decoder.tag()?;
            if tag == IanaTag::PosBignum || tag == IanaTag::NegBignum {
                self.decoder.set_position(self.at);
                return Ok(kind);
            }
        }
    }

    fn next_kind(&mut self) -> Result<Type, Reject> {
        self.at = self.decoder.position();
        Ok(self.decoder.datatype()?)
    }

    fn object(&mut self) -> Result<(), Reject> {
        let mut left = self.decoder.map()?;
        let open = self.tape.open_object()?;
        while self.more(&mut left)? {
            let kind = self.tagged()?;
            let key = self.scalar(kind)?;
            self.tape.key(key)?;
            self.value()?;
        }
        self.tape.close(open);
        Ok(())
    }

    fn array(&mut self) -> Result<(), Reject> {
        let mut left = self.decoder.array()?;
        let open = self.tape.open_array()?;
        while self.more(&mut left)? {
            self.value()?;
        }
        self.tape.close(open);
        Ok(())
    }

    /// Whether another item follows: as counted, or up to the break if the length is indefinite.
    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, Reject> {
        if let Some(left) = left {
            let more = *left > 0;
            *left = left.saturating_sub(1);
            return Ok(more);
        }
        let more = self.next_kind()? != Type::Break;
        if !more {
            self.decoder.set_position(self.at + 1);
        }
        Ok(more)
    }

    fn scalar(&mut self, kind: Type) -> Result<Cell<'a>, Reject> {
        match kind {
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => Ok(Cell::Integer(self.decoder.int()?.into())),
            Type::F16 | Type::F32 | Type::F64 => Ok(Cell::Float(self.decoder.f64()?)),
            Type::String => Ok(Cell::Text(Cow::Borrowed(self.decoder.str()?))),
            Type::StringIndef => self.joined_text(),
            Type::Bool => Ok(Cell::Bool(self.decoder.bool()?)),
            Type::Null | Type::Undefined => {
                self.decoder.set_position(self.at + 1);
                Ok(Cell::Null)
            }
            Type::Bytes => Ok(Cell::Bytes(self.decoder.bytes()?)),
            Type::Tag => self.decoder.i128().map(Cell::Integer).map_err(not_bignum),
            Type::BytesIndef => Err(unsupported(
                "a byte string in chunks (of indefinite length)",
            )),
            Type::Simple => Err(unsupported("a simple value without a meaning")),
            Type::Map | Type::MapIndef | Type::Array | Type::ArrayIndef => Err(not_a_key()),
            Type::Break => Err(not_cbor("a break where a value should be")),
            Type::Unknown(byte) => Err(not_cbor(format!("0x{byte:02x} begins no value"))),
        }
    }

    fn joined_text(&mut self) -> Result<Cell<'a>, Reject> {
        let mut text = String::new();
        for chunk in self.decoder.str_iter()? {
            text.push_str(chunk?);
        }
        Ok(Cell::Text(Cow::Owned(text)))
    }

    fn end(&mut self) -> Result<(), Reject> {
        self.at = self.decoder.position();
        if self.at == self.decoder.input().len() {
            Ok(())
        } else {
            Err(not_cbor("nothing may follow the value"))
        }
    }
}

impl From<Error> for Reject {
    /// Of an item that was read by its own kind, which leaves the decoder little to complain about.
    #[cold]
    fn from(error: Error) -> Self {
        if error
            .source()
            .is_some_and(<dyn std::error::Error>::is::<Utf8Error>)
        {
            Self::new(Reason::NotUtf8, "a text that is not UTF-8")
        } else {
            not_cbor("the payload ends inside the value")
        }
    }
}

#[cold]
fn not_bignum(error: Error) -> Reject {
    if error.is_message() {
        unsupported("a whole number of more than 127 bits (bignum)")
    } else if error.is_type_mismatch() {
        unsupported("a bignum that is no byte string of definite length")
    } else {
        error.into()
    }
}

#[cold]
fn unsupported(what: &str) -> Reject {
    Reject::new(Reason::WrongType, format!("{what} is not supported,"))
}

#[cold]
fn not_cbor(detail: impl Into<String>) -> Reject {
    Reject::new(Reason::NotCbor, detail)
}

#[cfg(test)]
mod tests;
