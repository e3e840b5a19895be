//! Small values as checked bytes: a format byte, bincode, a CRC32C.
//!
//! The only file besides `codec` that names bincode. Promises: bytes that were cut short, changed or
//! written in another format come back as a [`FrameError`], never as a wrong value; no length claimed
//! inside the bytes makes the decoder allocate more than [`FRAME_BYTES_MAX`] at once.

use bincode::config::{self, Configuration, Fixint, LittleEndian};
use serde::{Serialize, de::DeserializeOwned};

/// Longest frame written or read, bytes; also the bound on what one decode may allocate.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const FORMAT: u8 = 1;
const CRC_BYTES: usize = 4;

/// Bytes that are no frame, or a value that cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the smallest frame.
    #[error("torn: only {0} bytes")]
    Torn(usize),
    /// More bytes than [`FRAME_BYTES_MAX`].
    #[error("too large: {0} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Another version of Dunlin wrote it.
    #[error("format {0}, this version reads format {FORMAT}")]
    Format(u8),
    /// The CRC32C does not fit the bytes.
    #[error("checksum mismatch: torn or damaged")]
    Checksum,
    /// The checksum fits but the bytes are not this type.
    #[error("not the expected content: {0}")]
    Content(String),
}

const fn bincode_config() -> Configuration<LittleEndian, Fixint, config::Limit<FRAME_BYTES_MAX>> {
    config::standard()
        .with_fixed_int_encoding()
        .with_limit::<FRAME_BYTES_MAX>()
}

/// `value` as format byte, bincode and CRC32C (little-endian, over all that is before it).
///
/// # Errors
/// [`FrameError::TooLarge`] above [`FRAME_BYTES_MAX`]; [`FrameError::Content`] if the type cannot be
/// encoded.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode_config())
        .map_err(|e| FrameError::Content(e.to_string()))?;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// The value that [`to_bytes`] was given.
///
/// # Errors
/// [`FrameError`]: torn, too large, of another format, damaged, or of another type.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    let torn = || FrameError::Torn(bytes.len());
    let (checked, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(torn)?;
    let (format, content) = checked.split_first().ok_or_else(torn)?;
    if crc32c::crc32c(checked) != u32::from_le_bytes(*crc) {
        return Err(FrameError::Checksum);
    }
    if *format != FORMAT {
        return Err(FrameError::Format(*format));
    }
    let (value, read) = bincode::serde::decode_from_slice(content, bincode_config())
        .map_err(|e| FrameError::Content(e.to_string()))?;
    if read != content.len() {
        let rest = content.len() - read;
        return Err(FrameError::Content(format!("{rest} bytes too many")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Content = (u64, Vec<String>, BTreeMap<u32, u64>, Option<bool>);

    fn framed(format: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![format];
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(value: Content) {
            prop_assert_eq!(from_bytes::<Content>(&to_bytes(&value).unwrap()).unwrap(), value);
        }

        #[test]
        fn every_cut_and_every_flipped_bit_is_noticed(value: Content, at: prop::sample::Index, bit in 0..8) {
            let bytes = to_bytes(&value).unwrap();
            prop_assert!(from_bytes::<Content>(&bytes[..at.index(bytes.len())]).is_err());
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1u8 << bit;
            prop_assert!(from_bytes::<Content>(&damaged).is_err());
        }

        #[test]
        fn any_content_under_a_valid_checksum_is_survived(content: Vec<u8>) {
            let _either = from_bytes::<Content>(&framed(FORMAT, &content));
        }
    }

    #[test]
    fn a_claimed_length_beyond_the_bound_is_refused() {
        let content = u64::MAX.to_le_bytes();
        let result = from_bytes::<String>(&framed(FORMAT, &content));
        assert!(matches!(result, Err(FrameError::Content(_))), "{result:?}");
        let result = from_bytes::<Vec<u64>>(&framed(FORMAT, &content));
        assert!(matches!(result, Err(FrameError::Content(_))), "{result:?}");
    }

    #[test]
    fn another_format_and_trailing_bytes_are_refused() {
        let content = 7u64.to_le_bytes();
        assert_eq!(from_bytes::<u64>(&framed(FORMAT, &content)).unwrap(), 7);
        assert_eq!(
            from_bytes::<u64>(&framed(2, &content)),
            Err(FrameError::Format(2))
        );
        let longer = [&content[..], &[0]].concat();
        assert!(from_bytes::<u64>(&framed(FORMAT, &longer)).is_err());
        assert!(to_bytes(&vec![0u8; FRAME_BYTES_MAX]).is_err());
    }
}
