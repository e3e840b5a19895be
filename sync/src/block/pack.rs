//! Numbers and texts of one column as few bytes: how a column is written inside a block.
//!
//! Every packed column names its method, so blocks written with one setting read under any other.

use bincode::{BorrowDecode, Encode};

/// How numeric columns are compressed. Measured side by side in `benches/compression.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Plain little-endian bytes.
    None,
    /// LZ4 over the plain bytes.
    Lz4,
    /// Numeric compression (the default).
    #[default]
    Pco,
}

/// Fewer numbers than this are smaller without a `pco` header.
const PCO_ROWS_MIN: usize = 16;
/// Shorter byte strings than this are not worth an LZ4 frame.
const LZ4_BYTES_MIN: usize = 96;
/// Higher levels gain under 2 % on chunks of a block's size.
const PCO_LEVEL: usize = 4;

const RAW: u8 = 0;
const LZ4: u8 = 1;
const PCO: u8 = 2;
const DELTA: u8 = 3;

/// A packed column: what method, what bytes.
#[derive(Debug, Encode)]
pub(crate) struct Packed {
    method: u8,
    bytes: Vec<u8>,
}

/// A packed column as it lies in a block.
#[derive(Clone, Copy, Debug, BorrowDecode)]
pub(crate) struct PackedRef<'a> {
    method: u8,
    bytes: &'a [u8],
}

/// Packed bytes that do not hold what they should.
#[derive(Debug)]
pub(crate) struct Unpackable(pub(crate) &'static str);

/// A number that can be packed.
pub(crate) trait Number: pco::data_types::Number + Copy + Default {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($type:ty, $bytes:literal) => {
        impl Number for $type {
            const BYTES: usize = $bytes;
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; $bytes];
                raw.copy_from_slice(bytes);
                Self::from_le_bytes(raw)
            }
        }
    };
}
number!(f64, 8);
number!(f32, 4);
number!(i64, 8);

fn raw<T: Number>(numbers: &[T]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * T::BYTES);
    for number in numbers {
        number.put(&mut out);
    }
    out
}

fn squeeze(bytes: Vec<u8>) -> Packed {
    if bytes.len() >= LZ4_BYTES_MIN {
        let packed = lz4_flex::compress_prepend_size(&bytes);
        if packed.len() < bytes.len() {
            return Packed {
                method: LZ4,
                bytes: packed,
            };
        }
    }
    Packed { method: RAW, bytes }
}

/// Packs floats or integers.
pub(crate) fn pack_numbers<T: Number>(numbers: &[T], compression: Compression) -> Packed {
    match compression {
        Compression::Pco if numbers.len() >= PCO_ROWS_MIN => {
            let config = pco::ChunkConfig::default().with_compression_level(PCO_LEVEL);
            match pco::standalone::simple_compress(numbers, &config) {
                Ok(bytes) if bytes.len() < numbers.len() * T::BYTES => {
                    Packed { method: PCO, bytes }
                }
                _ => Packed {
                    method: RAW,
                    bytes: raw(numbers),
                },
            }
        }
        Compression::Lz4 => squeeze(raw(numbers)),
        _ => Packed {
            method: RAW,
            bytes: raw(numbers),
        },
    }
}

/// Packs timestamps, which mostly lie close to their neighbours.
pub(crate) fn pack_times(times: &[i64], compression: Compression) -> Packed {
    if times.len() >= PCO_ROWS_MIN && compression == Compression::Pco {
        return pack_numbers(times, compression);
    }
    let mut bytes = Vec::with_capacity(times.len() * 3 + 9);
    let mut before = 0_i64;
    for time in times {
        put_varint(&mut bytes, zigzag(time.wrapping_sub(before)));
        before = *time;
    }
    Packed {
        method: DELTA,
        bytes,
    }
}

/// Unpacks exactly `rows` numbers and appends them to `out`.
pub(crate) fn unpack_numbers<T: Number>(
    packed: PackedRef<'_>,
    rows: usize,
    out: &mut Vec<T>,
) -> Result<(), Unpackable> {
    match packed.method {
        RAW => extend_raw(packed.bytes, rows, out),
        LZ4 => extend_raw(&unsqueeze(packed.bytes, rows * T::BYTES)?, rows, out),
        PCO => {
            let start = out.len();
            out.resize(start + rows, T::default());
            let progress = pco::standalone::simple_decompress_into(packed.bytes, &mut out[start..])
                .map_err(|_| Unpackable("pco stream"))?;
            if progress.n_processed == rows && progress.finished {
                Ok(())
            } else {
                Err(Unpackable("pco row count"))
            }
        }
        _ => Err(Unpackable("method")),
    }
}

/// Unpacks exactly `rows` timestamps.
pub(crate) fn unpack_times(
    packed: PackedRef<'_>,
    rows: usize,
    out: &mut Vec<i64>,
) -> Result<(), Unpackable> {
    if packed.method != DELTA {
        return unpack_numbers(packed, rows, out);
    }
    let mut rest = packed.bytes;
    let mut before = 0_i64;
    for _ in 0..rows {
        before = before.wrapping_add(unzigzag(take_varint(&mut rest)?));
        out.push(before);
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Unpackable("times too many"))
    }
}

fn extend_raw<T: Number>(bytes: &[u8], rows: usize, out: &mut Vec<T>) -> Result<(), Unpackable> {
    if bytes.len() != rows * T::BYTES {
        return Err(Unpackable("row count"));
    }
    out.extend(bytes.chunks_exact(T::BYTES).map(T::get));
    Ok(())
}

fn unsqueeze(bytes: &[u8], size_max: usize) -> Result<Vec<u8>, Unpackable> {
    let (size, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(Unpackable("lz4 size"))?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > size_max {
        return Err(Unpackable("lz4 size"));
    }
    lz4_flex::decompress(rest, size).map_err(|_| Unpackable("lz4 stream"))
}

/// Packs flags, one bit each.
pub(crate) fn pack_bits(flags: &[bool]) -> Vec<u8> {
    let mut bytes = vec![0_u8; flags.len().div_ceil(8)];
    for (index, flag) in flags.iter().enumerate() {
        bytes[index / 8] |= u8::from(*flag) << (index % 8);
    }
    bytes
}

/// Unpacks exactly `rows` flags.
pub(crate) fn unpack_bits(bytes: &[u8], rows: usize) -> Result<Vec<bool>, Unpackable> {
    if bytes.len() != rows.div_ceil(8) {
        return Err(Unpackable("flag count"));
    }
    let mut flags = vec![false; rows];
    for (byte, flags) in bytes.iter().zip(flags.chunks_mut(8)) {
        for (bit, flag) in flags.iter_mut().enumerate() {
            *flag = byte >> bit & 1 == 1;
        }
    }
    Ok(flags)
}

/// Packs which of `count` rows are meant, given as rising numbers: one bit each, or the gaps between
/// them where these are fewer bytes.
pub(crate) fn pack_rows(rows: &[u32], count: usize) -> Packed {
    let bits = count.div_ceil(8);
    let mut gaps = Vec::new();
    let mut next = 0;
    for row in rows {
        if gaps.len() >= bits {
            break;
        }
        put_varint(&mut gaps, u64::from(row - next));
        next = row + 1;
    }
    if gaps.len() < bits {
        return Packed {
            method: DELTA,
            bytes: gaps,
        };
    }
    let mut bytes = vec![0_u8; bits];
    for row in rows {
        bytes[*row as usize / 8] |= 1 << (row % 8);
    }
    Packed { method: RAW, bytes }
}

/// Unpacks which of `count` rows are meant, as flags.
pub(crate) fn unpack_rows(packed: PackedRef<'_>, count: usize) -> Result<Vec<bool>, Unpackable> {
    if packed.method != DELTA {
        return unpack_flags(packed, count);
    }
    let mut flags = vec![false; count];
    let (mut rest, mut next) = (packed.bytes, 0_u64);
    while !rest.is_empty() {
        let row = next.checked_add(take_varint(&mut rest)?);
        let flag = row.and_then(|row| flags.get_mut(usize::try_from(row).ok()?));
        *flag.ok_or(Unpackable("row number"))? = true;
        next = row.unwrap_or_default() + 1;
    }
    Ok(flags)
}

/// Packs flags as a column of values.
pub(crate) fn pack_flags(flags: &[bool]) -> Packed {
    Packed {
        method: RAW,
        bytes: pack_bits(flags),
    }
}

/// Unpacks exactly `rows` flags of a column of values.
pub(crate) fn unpack_flags(packed: PackedRef<'_>, rows: usize) -> Result<Vec<bool>, Unpackable> {
    if packed.method == RAW {
        unpack_bits(packed.bytes, rows)
    } else {
        Err(Unpackable("method"))
    }
}

/// Most bytes of text one column of a block can hold; far above what fits, far below harm.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Packs texts: all lengths, then all bytes.
pub(crate) fn pack_texts(texts: &[Box<str>]) -> Packed {
    let mut bytes = Vec::new();
    for text in texts {
        put_varint(&mut bytes, text.len() as u64);
    }
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
    }
    squeeze(bytes)
}

/// Unpacks exactly `rows` texts.
pub(crate) fn unpack_texts(
    packed: PackedRef<'_>,
    rows: usize,
) -> Result<Vec<Box<str>>, Unpackable> {
    let unsqueezed;
    let mut rest = match packed.method {
        RAW => packed.bytes,
        LZ4 => {
            unsqueezed = unsqueeze(packed.bytes, TEXT_BYTES_MAX)?;
            &unsqueezed
        }
        _ => return Err(Unpackable("method")),
    };
    let mut lengths = Vec::with_capacity(rows.min(rest.len()));
    for _ in 0..rows {
        lengths.push(take_varint(&mut rest)? as usize);
    }
    let mut texts = Vec::with_capacity(rows);
    for length in lengths {
        let (text, tail) = rest
            .split_at_checked(length)
            .ok_or(Unpackable("text length"))?;
        texts.push(
            std::str::from_utf8(text)
                .map_err(|_| Unpackable("text"))?
                .into(),
        );
        rest = tail;
    }
    Ok(texts)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Unpackable> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Unpackable("number cut short"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unpackable("number too long"))
}

#[cfg(test)]
mod tests;
