//! `MessagePack` as a tape.
//!
//! - a timestamp (extension type -1) becomes its text in RFC 3339, in UTC: a text carries its own unit,
//!   so a rule that takes times as texts reads it to the nanosecond, and a rule for numbers in some unit
//!   refuses it instead of being wrong by a factor of 1000;
//! - other extensions become their bytes;
//! - a key must be a text or a number.

use std::borrow::Cow;

use rmp::{
    Marker,
    decode::{self, Bytes},
};

use super::{
    Reason, Reject,
    tape::{Tape, TapeBuilder, located, not_a_key},
    value::Cell,
};

/// The extension type of timestamps.
const TIMESTAMP: i8 = -1;
/// Bits of the seconds in a timestamp of 64 bits; the others are nanoseconds.
const SECONDS_BITS: u32 = 34;

/// Reads a payload of one `MessagePack` value. Whether a key comes twice is for the walker of the tape
/// to see.
///
/// # Errors
/// `Empty`, `NotMessagePack`, `NotUtf8`; `WrongType` for a key that is no text or number; `BadTime` for
/// a timestamp that is none; `TooManyRecords` for more than a tape holds.
pub(super) fn tape_of_msgpack(payload: &[u8]) -> Result<Tape<'_>, Reject> {
    if payload.is_empty() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let mut reader = Reader {
        rest: Bytes::new(payload),
        tape: TapeBuilder::new(payload.len(), Reason::NotMessagePack),
        bytes: payload.len(),
        at: 0,
    };
    match reader.value().and_then(|()| reader.end()) {
        Ok(()) => Ok(reader.tape.finish()),
        Err(reject) => Err(located(&reject, reader.at, payload)),
    }
}

struct Reader<'a> {
    rest: Bytes<'a>,
    tape: TapeBuilder<'a>,
    /// Bytes of the payload.
    bytes: usize,
    /// Where the value that is being read begins.
    at: usize,
}

impl<'a> Reader<'a> {
    /// Recursion ends with the nesting that the tape takes.
    fn value(&mut self) -> Result<(), Reject> {
        match self.marker()? {
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => self.object(),
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => self.array(),
            marker => {
                let cell = self.scalar(marker)?;
                self.tape.scalar(cell)
            }
        }
    }

    /// What the next value begins with; stays in front of it.
    fn marker(&mut self) -> Result<Marker, Reject> {
        let rest = self.rest.remaining_slice();
        self.at = self.bytes - rest.len();
        let byte = rest.first().ok_or_else(cut_off)?;
        Ok(Marker::from_u8(*byte))
    }

    fn object(&mut self) -> Result<(), Reject> {
        let members = decode::read_map_len(&mut self.rest).map_err(|_| cut_off())?;
        let open = self.tape.open_object()?;
        for _ in 0..members {
            let marker = self.marker()?;
            let key = self.scalar(marker)?;
            self.tape.key(key)?;
            self.value()?;
        }
        self.tape.close(open);
        Ok(())
    }

    fn array(&mut self) -> Result<(), Reject> {
        let elements = decode::read_array_len(&mut self.rest).map_err(|_| cut_off())?;
        let open = self.tape.open_array()?;
        for _ in 0..elements {
            self.value()?;
        }
        self.tape.close(open);
        Ok(())
    }

    /// The value that begins with `marker`. What `rmp` reads by its marker can only fail by being cut
    /// off.
    fn scalar(&mut self, marker: Marker) -> Result<Cell<'a>, Reject> {
        match marker {
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::U64
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => {
                let integer = decode::read_int(&mut self.rest).map_err(|_| cut_off())?;
                Ok(Cell::Integer(integer))
            }
            Marker::F32 => {
                let number = decode::read_f32(&mut self.rest).map_err(|_| cut_off())?;
                Ok(Cell::Float(number.into()))
            }
            Marker::F64 => {
                let number = decode::read_f64(&mut self.rest).map_err(|_| cut_off())?;
                Ok(Cell::Float(number))
            }
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let bytes = decode::read_str_len(&mut self.rest).map_err(|_| cut_off())?;
                let text = str::from_utf8(self.take(bytes)?)
                    .map_err(|_| Reject::new(Reason::NotUtf8, "a text that is not UTF-8"))?;
                Ok(Cell::Text(Cow::Borrowed(text)))
            }
            Marker::True | Marker::False => {
                let truth = decode::read_bool(&mut self.rest).map_err(|_| cut_off())?;
                Ok(Cell::Bool(truth))
            }
            Marker::Null => {
                decode::read_nil(&mut self.rest).map_err(|_| cut_off())?;
                Ok(Cell::Null)
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let bytes = decode::read_bin_len(&mut self.rest).map_err(|_| cut_off())?;
                self.take(bytes).map(Cell::Bytes)
            }
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => {
                let extension = decode::read_ext_meta(&mut self.rest).map_err(|_| cut_off())?;
                let data = self.take(extension.size)?;
                if extension.typeid == TIMESTAMP {
                    timestamp(data)
                } else {
                    Ok(Cell::Bytes(data))
                }
            }
            Marker::FixMap(_)
            | Marker::Map16
            | Marker::Map32
            | Marker::FixArray(_)
            | Marker::Array16
            | Marker::Array32 => Err(not_a_key()),
            Marker::Reserved => Err(not_msgpack("0xc1 begins no value")),
        }
    }

    fn take(&mut self, bytes: u32) -> Result<&'a [u8], Reject> {
        let rest = self.rest.remaining_slice();
        let (taken, rest) = rest.split_at_checked(bytes as usize).ok_or_else(cut_off)?;
        self.rest = Bytes::new(rest);
        Ok(taken)
    }

    fn end(&mut self) -> Result<(), Reject> {
        let rest = self.rest.remaining_slice();
        self.at = self.bytes - rest.len();
        if rest.is_empty() {
            Ok(())
        } else {
            Err(not_msgpack("nothing may follow the value"))
        }
    }
}

/// A timestamp of 32 bits (seconds), 64 bits (30 of nanoseconds, 34 of seconds) or 96 bits (32 of
/// nanoseconds, 64 of signed seconds), since 1970.
fn timestamp<'a>(data: &[u8]) -> Result<Cell<'a>, Reject> {
    let whole = data
        .iter()
        .fold(0_u128, |whole, byte| whole << 8 | u128::from(*byte));
    let (seconds, nanoseconds) = match data.len() {
        4 => (whole as i64, 0),
        8 => (
            (whole & ((1 << SECONDS_BITS) - 1)) as i64,
            whole >> SECONDS_BITS,
        ),
        12 => (whole as i64, whole >> 64),
        bytes => return Err(bad_time(format!("a timestamp of {bytes} bytes"))),
    };
    i32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| jiff::Timestamp::new(seconds, nanoseconds).ok())
        .map(|time| Cell::Text(Cow::Owned(time.to_string())))
        .ok_or_else(|| bad_time(format!("a timestamp of {seconds} s and {nanoseconds} ns")))
}

#[cold]
fn bad_time(detail: String) -> Reject {
    Reject::new(Reason::BadTime, detail)
}

#[cold]
fn cut_off() -> Reject {
    not_msgpack("the payload ends inside the value")
}

#[cold]
fn not_msgpack(detail: &str) -> Reject {
    Reject::new(Reason::NotMessagePack, detail)
}

#[cfg(test)]
mod tests;
