//! Binary formats, and compressed payloads.

use std::io::Write as _;

use super::*;
use crate::config::settings::{Compression, RecordStep, RecordsAt};

const JSON: &str =
    r#"[{"a":1.5,"big":9007199254740993,"n":{"b":true,"c":"x"},"t":1700000000},{"a":2}]"#;

fn timed(format: PayloadFormat) -> StreamRule {
    StreamRule {
        format,
        time: Some("/t".into()),
        ..rule()
    }
}

#[test]
fn cbor_and_message_pack_are_read_as_json_is() {
    let json: serde_json::Value = serde_json::from_str(JSON).unwrap();
    let wanted = ok(&timed(PayloadFormat::Json), JSON);
    let mut payload = Vec::new();
    ciborium::into_writer(&json, &mut payload).unwrap();
    let cbor = timed(PayloadFormat::Cbor);
    assert_eq!(decode(&cbor, None, &payload), Ok(wanted.clone()));
    let cut = decode(&cbor, None, &payload[..payload.len() - 1]).unwrap_err();
    assert_eq!(cut.reason, Reason::NotCbor);
    let payload = rmp_serde::to_vec(&json).unwrap();
    let packed = timed(PayloadFormat::MessagePack);
    assert_eq!(decode(&packed, None, &payload), Ok(wanted));
    let cut = decode(&packed, None, &payload[..payload.len() - 1]).unwrap_err();
    assert_eq!(cut.reason, Reason::NotMessagePack);
}

#[test]
fn records_lie_inside_of_a_binary_payload_too() {
    let json: serde_json::Value =
        serde_json::from_str(r#"{"values":[{"id":"a","v":1},{"id":"b","v":2}]}"#).unwrap();
    let at = RecordsAt {
        steps: vec![RecordStep::Key("values".into())],
        name: Some(Pointer::parse("/id")),
        value: Some(Pointer::parse("/v")),
        ..RecordsAt::default()
    };
    let rule = StreamRule {
        records: Some(at),
        ..timed(PayloadFormat::MessagePack)
    };
    let decoded = decode(&rule, None, &rmp_serde::to_vec(&json).unwrap()).unwrap();
    assert_eq!(only(&decoded), [("a", f(1.0)), ("b", f(2.0))]);
}

#[test]
fn bytes_do_not_fit_and_a_key_may_not_come_twice() {
    let rule = timed(PayloadFormat::MessagePack);
    // {"a": two bytes}, and {"a": 1, "a": 2}.
    let reject = decode(&rule, None, b"\x81\xa1a\xc4\x02\x00\x01").unwrap_err();
    assert_eq!(reject.reason, Reason::WrongType);
    let reject = decode(&rule, None, b"\x82\xa1a\x01\xa1a\x02").unwrap_err();
    assert_eq!(reject.reason, Reason::NotMessagePack);
}

#[test]
fn compressed_payloads_are_told_by_their_first_bytes() {
    let wanted = ok(&rule(), r#"{"a":1.5}"#);
    let plain = br#"{"a":1.5}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(plain).unwrap();
    let zlib = zlib.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    let decoded = |compression, payload: &[u8]| {
        let rule = StreamRule {
            compression,
            ..rule()
        };
        let publish = Publish {
            bytes_max: 1_000,
            ..Publish::of(payload)
        };
        super::super::decode(&rule, None, publish)
    };
    for payload in [&gzip, &zlib, &zstd] {
        assert_eq!(decoded(Compression::Auto, payload), Ok(wanted.clone()));
    }
    assert_eq!(decoded(Compression::Gzip, &gzip), Ok(wanted.clone()));
    let reason = |compression, payload: &[u8]| decoded(compression, payload).unwrap_err().reason;
    assert_eq!(reason(Compression::Zstd, &gzip), Reason::BadCompression);
    assert_eq!(reason(Compression::None, &gzip), Reason::NotUtf8);
    let bomb = zstd::encode_all(&[b' '; 1_001][..], 3).unwrap();
    assert_eq!(reason(Compression::Auto, &bomb), Reason::TooLarge);
}
