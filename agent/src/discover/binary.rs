//! Payloads that are no text.

/// First bytes of what holds no readings.
const KNOWN: [(&[u8], &str); 12] = [
    (b"\xff\xd8\xff", "pictures (JPEG)"),
    (b"\x89PNG", "pictures (PNG)"),
    (b"GIF8", "pictures (GIF)"),
    (b"RIFF", "sound or pictures (RIFF)"),
    (b"%PDF", "documents (PDF)"),
    (b"PK\x03\x04", "archives (zip)"),
    (b"\x7fELF", "programs"),
    (b"OggS", "sound (Ogg)"),
    (b"ID3", "sound (MP3)"),
    (b"BM", "pictures (BMP)"),
    (b"Salted__", "encrypted (OpenSSL)"),
    (b"Obj\x01", "Avro: no format of Dunlin's"),
];
/// Shorter data may be floats by chance.
const FLOATS_BYTES_MIN: usize = 64;

/// What it is, if the first bytes say so.
pub(super) fn known(bytes: &[u8]) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic))?;
    Some(known.1)
}

/// Whether these can be samples of 32 bits in floats.
pub(super) fn are_floats(bytes: &[u8]) -> bool {
    if bytes.len() < FLOATS_BYTES_MIN || !bytes.len().is_multiple_of(4) {
        return false;
    }
    let good = floats(bytes).filter(|float| {
        let size = float.abs();
        size == 0.0 || (1e-6..1e7).contains(&size)
    });
    good.count() * 4 * 20 >= bytes.len() * 19
}

/// The floats of 32 bits, little-endian, that `bytes` would be.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let chunks = bytes.chunks_exact(4);
    chunks.map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap_or_default()))
}

/// What else it may be.
pub(super) fn unknown(bytes: &[u8]) -> String {
    if is_protobuf(bytes) {
        return "binary data, perhaps protobuf: that needs its schema".to_owned();
    }
    let text = bytes
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .count();
    if text * 10 > bytes.len() * 8 {
        return "text that is not UTF-8 (Latin-1?) or holds control characters".to_owned();
    }
    if bytes.len() <= 8 {
        return format!(
            "{} bytes of binary data, whose meaning nothing says",
            bytes.len()
        );
    }
    "binary data of no known format: encrypted, or a maker's own".to_owned()
}

/// Whether it can be read to its end as fields of protobuf.
fn is_protobuf(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut fields = 0;
    while !rest.is_empty() {
        let Some(key) = varint(&mut rest) else {
            return false;
        };
        let skipped = match key & 7 {
            0 => {
                if varint(&mut rest).is_none() {
                    return false;
                }
                0
            }
            1 => 8,
            2 => match varint(&mut rest) {
                Some(length) => length as usize,
                None => return false,
            },
            5 => 4,
            _ => return false,
        };
        if key >> 3 == 0 || key >> 3 > 1000 || skipped > rest.len() {
            return false;
        }
        rest = &rest[skipped..];
        fields += 1;
    }
    fields >= 2
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
