//! From the arm of the protobuf `oneof` that came to a cell, by the metric's data type.

use std::borrow::Cow;

use super::data_type::DataType;
use crate::record::decode::value::Cell;

/// A single value as it was sent, before its data type is known.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // The arms of the specification's `oneof`.
pub(crate) enum Scalar<'a> {
    Null,
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Scalar<'a> {
    /// The value, read as `datatype`.
    ///
    /// The type decides over the sign of integers and over texts that are times in milliseconds; otherwise
    /// the arm does, whatever the type says. Arrays stay the bytes they were sent as.
    pub(crate) fn cell(self, datatype: Option<DataType>) -> Cell<'a> {
        match self {
            Self::Null => Cell::Null,
            Self::Int(raw) => Cell::Integer(integer(u64::from(raw), 32, datatype)),
            Self::Long(raw) => Cell::Integer(integer(raw, 64, datatype)),
            Self::Float(number) => Cell::Float(f64::from(number)),
            Self::Double(number) => Cell::Float(number),
            Self::Boolean(truth) => Cell::Bool(truth),
            Self::Text(text) if datatype == Some(DataType::DateTime) => {
                match text.trim().parse::<i64>() {
                    Ok(time_ms) => Cell::Integer(i128::from(time_ms)),
                    Err(_) => Cell::Text(Cow::Borrowed(text)),
                }
            }
            Self::Text(text) => Cell::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Cell::Bytes(bytes),
        }
    }
}

/// Reads `raw`, which came in an arm of `arm_bits` bits.
///
/// Encoders write a negative number of a signed type as two's complement of the type's own width, or
/// extended to 16, 32 or 64 bits; the narrowest reading that the type can hold is taken. A number that no
/// reading fits into the type is taken for what the arm says.
fn integer(raw: u64, arm_bits: u32, datatype: Option<DataType>) -> i128 {
    let type_bits: u32 = match datatype {
        Some(DataType::Int8) => 8,
        Some(DataType::Int16) => 16,
        Some(DataType::Int32) => 32,
        Some(DataType::Int64) => 64,
        // Before 1970.
        Some(DataType::DateTime) if arm_bits == 64 => 64,
        _ => return i128::from(raw),
    };
    let type_end = 1_i64.unbounded_shl(type_bits - 1);
    [8, 16, 32, 64]
        .into_iter()
        .filter(|&width| (type_bits.min(arm_bits)..=arm_bits).contains(&width))
        .find_map(|width| {
            let number = sign_extended(raw, width)?;
            let fits = type_bits == 64 || (-type_end..type_end).contains(&number);
            fits.then_some(number)
        })
        .or_else(|| sign_extended(raw, arm_bits))
        .map_or(i128::from(raw), i128::from)
}

/// `raw` as two's complement of `width` bits; `None` if it has more.
fn sign_extended(raw: u64, width: u32) -> Option<i64> {
    let unused = 64 - width;
    if raw.leading_zeros() < unused {
        return None;
    }
    Some((raw << unused) as i64 >> unused)
}

#[cfg(test)]
mod tests;
