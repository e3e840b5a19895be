//! Compressed payloads: gzip (RFC 1952), zlib (RFC 1950) and zstd (RFC 8878), by what is configured or
//! by their first bytes.
//!
//! Gzip members and zstd frames may follow one another; nothing else may follow them. Checksums are
//! verified. What comes out is never more than the caller allows, and memory is in proportion to what
//! comes out (plus 2 MB at most), whatever the payload claims about itself.

use std::{borrow::Cow, io::Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::{Reason, Reject};
use crate::config::settings::Compression;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The window that RFC 8878 (3.1.1.1.2) recommends every decoder to support.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;

/// Longest account of what is wrong.
const WHAT_CHARACTERS_MAX: usize = 120;

/// The payload without its compression, at most `bytes_max` bytes of it. One that is not compressed
/// comes back as it is, whatever its size.
///
/// # Errors
/// [`Reason::TooLarge`]: more than `bytes_max` bytes would come out.
/// [`Reason::BadCompression`]: the data are damaged, cut off, followed by something else or not
/// compressed like this.
pub(super) fn decompressed(
    payload: &[u8],
    how: Compression,
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, Reject> {
    match how {
        Compression::None => Ok(Cow::Borrowed(payload)),
        Compression::Gzip => gzip(payload, bytes_max).map(Cow::Owned),
        Compression::Zlib => zlib(payload, bytes_max).map(Cow::Owned),
        Compression::Zstd => zstd(payload, bytes_max).map(Cow::Owned),
        Compression::Auto if payload.starts_with(&GZIP_MAGIC) => {
            gzip(payload, bytes_max).map(Cow::Owned)
        }
        Compression::Auto if payload.starts_with(&ZSTD_MAGIC) => {
            zstd(payload, bytes_max).map(Cow::Owned)
        }
        Compression::Auto if may_be_zlib(payload) => match zlib(payload, bytes_max) {
            Err(reject) if reject.reason == Reason::BadCompression => Ok(Cow::Borrowed(payload)),
            result => result.map(Cow::Owned),
        },
        Compression::Auto => Ok(Cow::Borrowed(payload)),
    }
}

/// Whether it begins with one of the headers that zlib writes at its levels, with a window of 32 KiB.
fn may_be_zlib(payload: &[u8]) -> bool {
    matches!(payload, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
}

fn gzip(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Reject> {
    read(MultiGzDecoder::new(payload), "gzip", bytes_max)
}

fn zlib(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Reject> {
    let mut decoder = ZlibDecoder::new(payload);
    let inflated = read(&mut decoder, "zlib", bytes_max)?;
    match decoder.into_inner().len() {
        0 => Ok(inflated),
        bytes => Err(bad("zlib", &format!("{bytes} bytes follow its end"))),
    }
}

fn read(decoder: impl Read, format: &str, bytes_max: usize) -> Result<Vec<u8>, Reject> {
    let mut inflated = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    decoder
        .take(limit)
        .read_to_end(&mut inflated)
        .map_err(|error| bad(format, &error.to_string()))?;
    if inflated.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(inflated)
}

fn zstd(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Reject> {
    let mut inflated = Vec::new();
    let mut rest = payload;
    loop {
        // A decoder that has had a frame before allocates the next one's whole window at once.
        let mut decoder = FrameDecoder::new();
        // A frame in a single segment has its content as its window.
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX.max(bytes_max as u64));
        match decoder.init(&mut rest) {
            Ok(()) => {
                let frame = zstd_frame(&mut decoder, &mut rest, bytes_max - inflated.len())?;
                inflated.extend_from_slice(&frame.ok_or_else(|| too_large(bytes_max))?);
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                rest = rest
                    .get(length as usize..)
                    .ok_or_else(|| bad("zstd", "a skippable frame is cut off"))?;
            }
            Err(error @ FrameDecoderError::WindowSizeTooBig { .. }) => {
                return Err(Reject::new(Reason::TooLarge, format!("zstd: {error}")));
            }
            Err(error) => return Err(bad("zstd", &error.to_string())),
        }
        if rest.is_empty() {
            return Ok(inflated);
        }
    }
}

/// The content of a frame whose header has been read; `None`: more than `bytes_max` bytes.
fn zstd_frame(
    decoder: &mut FrameDecoder,
    rest: &mut &[u8],
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, Reject> {
    if decoder.content_size() > bytes_max as u64 {
        return Ok(None);
    }
    // The decoder stops behind the block that goes beyond this; a block has 128 KiB at most.
    let enough = BlockDecodingStrategy::UptoBytes(bytes_max.saturating_add(1));
    let is_finished = decoder
        .decode_blocks(rest, enough)
        .map_err(|error| bad("zstd", &error.to_string()))?;
    if !is_finished || decoder.can_collect() > bytes_max {
        return Ok(None);
    }
    // Collecting computes the checksum.
    let content = decoder.collect().unwrap_or_default();
    let checksum = decoder.get_checksum_from_data();
    if checksum.is_some() && checksum != decoder.get_calculated_checksum() {
        return Err(bad("zstd", "the checksum does not match"));
    }
    // 0: not stated.
    if ![0, content.len() as u64].contains(&decoder.content_size()) {
        return Err(bad("zstd", "the content has not the size that is stated"));
    }
    Ok(Some(content))
}

#[cold]
fn bad(format: &str, what: &str) -> Reject {
    // Some of the decoders' messages have several lines, or list a whole table.
    let line = what.lines().next().unwrap_or_default();
    let what: String = line.chars().take(WHAT_CHARACTERS_MAX).collect();
    Reject::new(Reason::BadCompression, format!("bad {format}: {what}"))
}

#[cold]
fn too_large(bytes_max: usize) -> Reject {
    Reject::new(
        Reason::TooLarge,
        format!("more than {bytes_max} bytes when decompressed"),
    )
}

#[cfg(test)]
mod tests;
