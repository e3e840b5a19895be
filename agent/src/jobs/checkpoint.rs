//! From where another builder goes on: which records the training has, and how far it is.
//!
//! Records of before the moment of the job may still arrive at the centre while it is done. Whoever goes on takes
//! those that the first one had, and no others: with others it would have to begin anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the header.
const FORMAT: u32 = 1;
/// Longest header, bytes.
pub(super) const HEADER_BYTES_MAX: u64 = 1 << 20;

/// The first and the last timestamp of each stream, by its name at the centre, nanoseconds UTC.
pub(super) type Ranges = BTreeMap<String, (i64, i64)>;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    records: Ranges,
}

/// As it is stored: a line of JSON, then what the recipe has written.
///
/// # Errors
/// A text for people.
pub(super) fn to_bytes(records: &Ranges, training: &[u8]) -> Result<Vec<u8>, String> {
    let header = Header {
        format: FORMAT,
        records: records.clone(),
    };
    let mut bytes = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > HEADER_BYTES_MAX {
        return Err("the names of its streams are too long for a checkpoint".into());
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(training);
    Ok(bytes)
}

/// Reads it back.
///
/// # Errors
/// Why that is none, in words for people.
pub(super) fn read(bytes: &[u8]) -> Result<(Ranges, Vec<u8>), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (header, training) = bytes.split_at(end.ok_or("it has no header")?);
    let header: Header = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    if header.format != FORMAT {
        return Err(format!("it is of format {}", header.format));
    }
    Ok((
        header.records,
        training.get(1..).unwrap_or_default().to_vec(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_checkpoint_comes_back_with_the_records_it_was_made_of() {
        let records = Ranges::from([("pi-0/press".to_owned(), (i64::MIN, 7))]);
        let bytes = to_bytes(&records, b"weights\nand more").unwrap();
        let (back, training) = read(&bytes).unwrap();
        assert_eq!((back, &*training), (records, &b"weights\nand more"[..]));
        for bad in [
            &b""[..],
            b"weights",
            b"{}\nweights",
            b"{\"format\":2,\"records\":{}}\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
