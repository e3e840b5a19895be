//! JSON that shows when it was altered: `{"format":1,"sha256":"..","body":{..}}`, the hash over the
//! bytes of the body.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Version of everything sealed by this program.
pub(super) const FORMAT: u32 = 1;

const HEAD: &str = "{\"format\":";
const HASH: &str = ",\"sha256\":\"";
const BODY: &str = "\",\"body\":";

/// Why sealed bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    /// Cut short or altered.
    #[error("{0}")]
    Damaged(String),
    /// Written by another version of this program.
    #[error("it has format {0}, this program reads {FORMAT}")]
    Format(u32),
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

pub(super) fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let body = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let hash = sha256(body.as_bytes());
    Ok(format!("{HEAD}{FORMAT}{HASH}{hash}{BODY}{body}}}\n").into_bytes())
}

pub(super) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SealError> {
    let damaged = |what: &str| SealError::Damaged(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let rest = text
        .strip_prefix(HEAD)
        .ok_or_else(|| damaged("it does not begin as it should"))?;
    let (format, rest) = rest
        .split_once(HASH)
        .ok_or_else(|| damaged("it is cut short"))?;
    let format: u32 = format
        .parse()
        .map_err(|_| damaged("its format is no number"))?;
    if format != FORMAT {
        return Err(SealError::Format(format));
    }
    let (hash, rest) = rest
        .split_once(BODY)
        .ok_or_else(|| damaged("it is cut short"))?;
    let body = rest
        .trim_end()
        .strip_suffix('}')
        .ok_or_else(|| damaged("it is cut short"))?;
    if sha256(body.as_bytes()) != hash {
        return Err(damaged("its checksum does not match"));
    }
    serde_json::from_str(body).map_err(|error| SealError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests;
