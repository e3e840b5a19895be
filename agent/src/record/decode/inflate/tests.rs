#![allow(clippy::unwrap_used)]

use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 1 << 20;

fn text() -> Vec<u8> {
    let lines = (0..2_000).map(|i| format!("{{\"speed\":{},\"temp\":{}}}\n", i * 7 % 1000, i % 90));
    lines.collect::<String>().into_bytes()
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zlibbed(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum and, streamed as it is, without a stated size.
fn zstd_streamed(content: &[u8], level: i32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// In one piece: with a stated size, without a checksum.
fn zstd_whole(content: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(content, level).unwrap()
}

fn every_format(content: &[u8]) -> Vec<(Compression, Vec<u8>)> {
    vec![
        (Compression::Gzip, gzipped(content)),
        (Compression::Zlib, zlibbed(content)),
        (Compression::Zstd, zstd_streamed(content, 3)),
        (Compression::Zstd, zstd_streamed(content, 19)),
        (Compression::Zstd, zstd_whole(content, 1)),
    ]
}

fn reason(payload: &[u8], how: Compression, bytes_max: usize) -> Reason {
    decompressed(payload, how, bytes_max).unwrap_err().reason
}

#[test]
fn every_format_comes_out_by_name_and_by_its_first_bytes() {
    let large: Vec<u8> = (0..BYTES_MAX).map(|i| ((i * i) >> 9) as u8).collect();
    for content in [text(), Vec::new(), b"x".to_vec(), large] {
        for (how, payload) in every_format(&content) {
            for how in [how, Compression::Auto] {
                let out = decompressed(&payload, how, BYTES_MAX).unwrap();
                assert!(*out == content, "{how:?}, {} bytes", content.len());
            }
        }
    }
}

#[test]
fn plain_payloads_are_handed_through() {
    for payload in [
        &b""[..],
        b"{\"a\":1}",
        b"21.5",
        b"\x1f",
        b"x",
        b"x^2 is no zlib, whatever its first two bytes say",
        b"x\x9c",
        b"x\x01\x00\x00",
        b"x=1",
    ] {
        for how in [Compression::Auto, Compression::None] {
            let out = decompressed(payload, how, 10_000).unwrap();
            assert!(matches!(out, Cow::Borrowed(same) if same == payload));
        }
    }
}

#[test]
fn without_compression_nothing_is_guessed() {
    let payload = gzipped(b"abc");
    assert_eq!(
        *decompressed(&payload, Compression::None, 9).unwrap(),
        payload
    );
}

#[test]
fn the_limit_holds_to_the_byte() {
    let content = text();
    for (how, payload) in every_format(&content) {
        assert!(decompressed(&payload, how, content.len()).is_ok());
        for bytes_max in [content.len() - 1, 1, 0] {
            assert_eq!(
                reason(&payload, how, bytes_max),
                Reason::TooLarge,
                "{how:?}"
            );
        }
    }
    let detail = decompressed(&gzipped(&content), Compression::Auto, 9)
        .unwrap_err()
        .detail;
    assert_eq!(detail, "more than 9 bytes when decompressed");
}

#[test]
fn bombs_are_stopped() {
    let zeros = vec![0; 16 << 20];
    for (how, payload) in every_format(&zeros) {
        assert!(payload.len() < 100_000);
        for how in [how, Compression::Auto] {
            assert_eq!(
                reason(&payload, how, BYTES_MAX),
                Reason::TooLarge,
                "{how:?}"
            );
        }
    }
}

#[test]
fn the_limit_is_for_all_members_together() {
    let half = vec![7; 600];
    let (gzip, zstd) = (gzipped(&half), zstd_whole(&half, 3));
    for (how, member) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
        let payload = [member.as_slice(), &member].concat();
        assert_eq!(decompressed(&payload, how, 1200).unwrap().len(), 1200);
        assert_eq!(reason(&payload, how, 1199), Reason::TooLarge);
    }
}

#[test]
fn members_follow_one_another() {
    let payload = [gzipped(b"ab"), gzipped(b""), gzipped(b"cd")].concat();
    assert_eq!(
        *decompressed(&payload, Compression::Gzip, 9).unwrap(),
        *b"abcd"
    );

    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    let payload = [
        zstd_streamed(b"ab", 3),
        skippable.clone(),
        zstd_whole(b"cd", 3),
        skippable,
    ]
    .concat();
    assert_eq!(
        *decompressed(&payload, Compression::Zstd, 9).unwrap(),
        *b"abcd"
    );
    assert_eq!(
        reason(&payload[..payload.len() - 1], Compression::Zstd, 9),
        Reason::BadCompression
    );
}

#[test]
fn nothing_else_may_follow() {
    for (how, payload) in every_format(&text()) {
        for rest in [&b"\0"[..], b"\n", b"garbage behind the end", &[0; 40]] {
            let payload = [payload.as_slice(), rest].concat();
            assert_eq!(
                reason(&payload, how, BYTES_MAX),
                Reason::BadCompression,
                "{how:?}"
            );
        }
    }
}

#[test]
fn every_cut_is_seen() {
    let content = b"temperature temperature temperature 21.5 21.5 21.5";
    for (how, payload) in every_format(content) {
        for end in 0..payload.len() {
            assert_eq!(
                reason(&payload[..end], how, BYTES_MAX),
                Reason::BadCompression,
                "{how:?} cut at {end}"
            );
        }
    }
}

#[test]
fn checksums_are_verified() {
    let content = text();
    let mut payload = gzipped(&content);
    let crc = payload.len() - 8;
    payload[crc] ^= 1;
    assert_eq!(
        reason(&payload, Compression::Gzip, BYTES_MAX),
        Reason::BadCompression
    );
    payload[crc] ^= 1;
    payload[crc + 4] ^= 1; // The size.
    assert_eq!(
        reason(&payload, Compression::Gzip, BYTES_MAX),
        Reason::BadCompression
    );

    for (how, mut payload) in [
        (Compression::Zlib, zlibbed(&content)),
        (Compression::Zstd, zstd_streamed(&content, 3)),
    ] {
        *payload.last_mut().unwrap() ^= 1;
        assert_eq!(
            reason(&payload, how, BYTES_MAX),
            Reason::BadCompression,
            "{how:?}"
        );
    }
}

#[test]
fn another_format_is_refused() {
    for (how, _) in every_format(b"") {
        for (_, payload) in every_format(b"abc")
            .into_iter()
            .filter(|(other, _)| *other != how)
        {
            assert_eq!(reason(&payload, how, 9), Reason::BadCompression);
        }
        assert_eq!(reason(b"{\"a\":1}", how, 9), Reason::BadCompression);
        assert_eq!(reason(b"", how, 9), Reason::BadCompression);
    }
}

#[test]
fn a_window_larger_than_recommended_is_refused_without_allocating_it() {
    // No stated size, window of 64 MiB, one last raw block of one byte.
    let payload = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 16 << 3, 0x09, 0, 0, b'x'];
    assert_eq!(
        reason(&payload, Compression::Zstd, BYTES_MAX),
        Reason::TooLarge
    );
    assert_eq!(
        *decompressed(&payload, Compression::Zstd, 64 << 20).unwrap(),
        *b"x"
    );
}

proptest! {
    #[test]
    fn any_bytes_end(payload: Vec<u8>, magic in 0..4_usize, bytes_max in 0..5_000_usize) {
        let magic = [&b""[..], &[0x1f, 0x8b, 8], &[0x78, 0x9c], &ZSTD_MAGIC][magic];
        let payload = [magic, &payload].concat();
        for how in [Compression::Auto, Compression::Gzip, Compression::Zlib, Compression::Zstd] {
            if let Ok(Cow::Owned(out)) = decompressed(&payload, how, bytes_max) {
                prop_assert!(out.len() <= bytes_max);
            }
        }
    }

    #[test]
    fn damage_is_seen_or_harmless(
        content in prop::collection::vec(0..9_u8, 0..3_000),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (how, mut payload) in [
            (Compression::Gzip, gzipped(&content)),
            (Compression::Zlib, zlibbed(&content)),
            (Compression::Zstd, zstd_whole(&content, 3)),
        ] {
            for (at, with) in &damage {
                let at = at.index(payload.len());
                payload[at] = *with;
            }
            match decompressed(&payload, how, 4_000) {
                Ok(out) => prop_assert!(out.len() <= 4_000),
                Err(reject) => {
                    prop_assert!(reject.detail.len() < 200 && !reject.detail.contains('\n'));
                }
            }
            let _ = decompressed(&payload, Compression::Auto, 4_000);
        }
    }
}
