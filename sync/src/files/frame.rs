//! Values as checked bytes: a format byte, bincode 2, a CRC-32C of all before it.
//!
//! With `codec`, the only file that names bincode. Decoding never trusts a length: the checksum is
//! verified first and bincode is held to [`DECODED_BYTES_MAX`].

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// Format byte of everything framed by this version. Earlier ones are read too; between 1 and 2, only
/// the sections of blocks have changed, between 2 and 3 only schemas.
pub const FORMAT: u8 = 3;

/// Most memory that one framed value may claim while it is decoded.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

const CRC_BYTES: usize = 4;

/// Bytes that are not a framed value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Cut short, or altered since it was written.
    #[error("checksum does not match")]
    Checksum,
    /// Written by another version.
    #[error("written by another version of dunlin (format {0}, this one reads up to {FORMAT})")]
    Format(u8),
    /// Intact, but not what was expected.
    #[error("unexpected content: {0}")]
    Content(String),
}

/// Puts [`FORMAT`] in front of `body` and a checksum behind it.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 1 + CRC_BYTES);
    bytes.push(FORMAT);
    bytes.extend_from_slice(body);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The body of sealed bytes.
///
/// # Errors
/// [`FrameError::Checksum`] or [`FrameError::Format`].
pub fn unseal(bytes: &[u8]) -> Result<&[u8], FrameError> {
    Ok(unseal_any(bytes)?.1)
}

/// The format of sealed bytes, at most [`FORMAT`], and their body.
///
/// # Errors
/// [`FrameError::Checksum`] or [`FrameError::Format`].
pub(crate) fn unseal_any(bytes: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    let (rest, crc) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(FrameError::Checksum)?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
        return Err(FrameError::Checksum);
    }
    match rest.split_first() {
        Some((&format @ 1..=FORMAT, body)) => Ok((format, body)),
        Some((&other, _)) => Err(FrameError::Format(other)),
        None => Err(FrameError::Checksum),
    }
}

/// The format of intact bytes that a newer version has sealed: no damage, and nothing to touch.
pub fn newer(bytes: &[u8]) -> Option<u8> {
    match unseal(bytes) {
        Err(FrameError::Format(format)) if format > FORMAT => Some(format),
        _ => None,
    }
}

/// A value as sealed bytes.
///
/// # Errors
/// [`FrameError::Content`] if the value cannot be serialised at all.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|e| FrameError::Content(e.to_string()))?;
    Ok(seal(&body))
}

/// The value in sealed bytes.
///
/// # Errors
/// Any [`FrameError`]; bytes left over count as unexpected content.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let body = unseal(bytes)?;
    let config = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();
    let (value, used) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| FrameError::Content(e.to_string()))?;
    if used == body.len() {
        Ok(value)
    } else {
        Err(FrameError::Content(format!(
            "{} bytes too many",
            body.len() - used
        )))
    }
}

/// Adds a value to a row of frames: its length in four bytes, lowest first, then the sealed bytes.
pub(crate) fn append<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> io::Result<()> {
    let frame = to_bytes(value).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(frame);
    Ok(())
}

/// The sealed bytes of the first value in a row of frames, and what follows; `None` if there is no whole one.
pub(crate) fn split_first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests;
