#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use super::*;

fn source(bytes: &[u8]) -> Result<Source, Exit> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Source::open(file.path())
}

fn text(bytes: &[u8], encoding: Encoding) -> String {
    let mut text = String::new();
    let source = source(bytes).unwrap();
    let mut read = source.text(encoding).unwrap();
    read.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn compression_and_characters_are_told_by_the_first_bytes() {
    let plain = "time;°C\n1;2\n".repeat(20_000);
    assert_eq!(text(plain.as_bytes(), Encoding::Auto), plain);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain.as_bytes()).unwrap();
    assert_eq!(text(&gzip.finish().unwrap(), Encoding::Auto), plain);
    let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
    // Frames one behind the other, with one that is to be skipped between them.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let frames = [&zstd[..], &skipped, &zstd].concat();
    assert_eq!(text(&frames, Encoding::Auto), plain.repeat(2));
    let units = || "\u{feff}a;😀\n".encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    assert_eq!(text(&little, Encoding::Auto), "a;😀\n");
    assert_eq!(text(&big, Encoding::Auto), "a;😀\n");
    assert_eq!(text(b"\xb0C;\x80", Encoding::Windows1252), "°C;€");
}

#[test]
fn what_is_cut_off_is_an_error() {
    let zstd = zstd::encode_all(&b"x".repeat(100_000)[..], 3).unwrap();
    let source = source(&zstd[..zstd.len() - 3]).unwrap();
    let text = source.text(Encoding::Auto);
    let read = text.and_then(|mut text| text.read_to_end(&mut Vec::new()));
    assert!(read.is_err());
}

#[test]
fn what_is_not_imported_is_refused_by_name() {
    for (bytes, name) in [
        (&b"PK\x03\x04"[..], "Excel"),
        (b" {\"a\":1}", "JSON"),
        (b"SQLite format 3\0", "SQLite"),
        (b"BZh9", "gzip or zstd"),
    ] {
        let Err(Exit::Usage(error)) = source(bytes) else {
            panic!("{name}");
        };
        assert!(error.contains(name), "{error}");
    }
}
