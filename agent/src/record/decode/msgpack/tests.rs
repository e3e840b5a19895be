#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{
    super::{
        NESTING_MAX,
        tape::tests::{as_json, bytes, check_whole, damage, damaged, json, notation},
    },
    *,
};

/// Every format of the `MessagePack` specification.
#[test]
fn every_format_is_read() {
    for (hexadecimal, expected) in [
        ("c0", "null"),
        ("c2", "false"),
        ("c3", "true"),
        ("00", "0"),
        ("7f", "127"),
        ("ff", "-1"),
        ("e0", "-32"),
        ("ccff", "255"),
        ("cdffff", "65535"),
        ("ceffffffff", "4294967295"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("d080", "-128"),
        ("d18000", "-32768"),
        ("d280000000", "-2147483648"),
        ("d38000000000000000", "-9223372036854775808"),
        ("ca3fc00000", "1.5"),
        ("cb3ff199999999999a", "1.1"),
        ("ca7fc00000", "NaN"),
        ("cbfff0000000000000", "-inf"),
        ("a0", "\"\""),
        ("a162", "\"b\""),
        ("d902c3bc", "\"\u{fc}\""),
        ("da000162", "\"b\""),
        ("db0000000162", "\"b\""),
        ("c400", "h''"),
        ("c40201ff", "h'01ff'"),
        ("c5000201ff", "h'01ff'"),
        ("c60000000201ff", "h'01ff'"),
        ("90", "[]"),
        ("9301a16290", "[1, \"b\", []]"),
        ("dc000201c0", "[1, null]"),
        ("dd0000000201c0", "[1, null]"),
        ("80", "{}"),
        ("82a16101a16280", "{\"a\": 1, \"b\": {}}"),
        ("de0001a16101", "{\"a\": 1}"),
        ("df00000001a16101", "{\"a\": 1}"),
        ("83010203ffcb3ff80000000000 0004", "{1: 2, 3: -1, 1.5: 4}"),
        ("8201020103", "{1: 2, 1: 3}"),
        ("d405 01", "h'01'"),
        ("d505 0102", "h'0102'"),
        ("d605 01020304", "h'01020304'"),
        ("d705 0102030405060708", "h'0102030405060708'"),
        (
            "d805 0102030405060708090a0b0c0d0e0f10",
            "h'0102030405060708090a0b0c0d0e0f10'",
        ),
        ("c70305 010203", "h'010203'"),
        ("c80003fe 010203", "h'010203'"),
        ("c90000000305 010203", "h'010203'"),
        ("c70005", "h''"),
    ] {
        let payload = bytes(hexadecimal);
        let tape = tape_of_msgpack(&payload).unwrap();
        check_whole(&tape, payload.len());
        assert_eq!(notation(tape.root()), expected, "{hexadecimal}");
    }
}

#[test]
fn timestamps_are_texts_to_the_nanosecond() {
    for (hexadecimal, expected) in [
        ("d6ff 00000000", "1970-01-01T00:00:00Z"),
        ("d6ff 514b67b0", "2013-03-21T20:04:00Z"),
        ("d6ff ffffffff", "2106-02-07T06:28:15Z"),
        ("d7ff ee6b27fc 00000000", "1970-01-01T00:00:00.999999999Z"),
        ("d7ff 00000004 514b67b0", "2013-03-21T20:04:00.000000001Z"),
        ("d7ff 00000003 ffffffff", "2514-05-30T01:53:03Z"),
        ("c70cff 1dcd6500 00000000514b67b0", "2013-03-21T20:04:00.5Z"),
        ("c70cff 1dcd6500 ffffffffffffffff", "1969-12-31T23:59:59.5Z"),
        (
            "c70cff 00000001 ffffffff00000000",
            "1833-11-24T17:31:44.000000001Z",
        ),
    ] {
        let payload = bytes(hexadecimal);
        let tape = tape_of_msgpack(&payload).unwrap();
        assert_eq!(
            notation(tape.root()),
            format!("{expected:?}"),
            "{hexadecimal}"
        );
    }
}

#[test]
fn refusals_say_what_and_where() {
    let cut_off = "the payload ends inside the value";
    let no_key = "a key that is neither a text nor a number";
    for (hexadecimal, reason, what, at) in [
        ("c1", Reason::NotMessagePack, "0xc1 begins no value", 0),
        ("91c1", Reason::NotMessagePack, "0xc1 begins no value", 1),
        ("cd00", Reason::NotMessagePack, cut_off, 0),
        ("a2 61", Reason::NotMessagePack, cut_off, 0),
        ("92 01", Reason::NotMessagePack, cut_off, 2),
        ("81 01", Reason::NotMessagePack, cut_off, 2),
        ("d9", Reason::NotMessagePack, cut_off, 0),
        ("d6ff 0000", Reason::NotMessagePack, cut_off, 0),
        ("dbffffffff 00", Reason::NotMessagePack, cut_off, 0),
        ("c6ffffffff 00", Reason::NotMessagePack, cut_off, 0),
        ("c9ffffffff 00", Reason::NotMessagePack, cut_off, 0),
        ("ddffffffff 00", Reason::NotMessagePack, cut_off, 6),
        ("dfffffffff 0000", Reason::NotMessagePack, cut_off, 7),
        (
            "0000",
            Reason::NotMessagePack,
            "nothing may follow the value",
            1,
        ),
        ("91a1ff", Reason::NotUtf8, "a text that is not UTF-8", 1),
        ("81c000", Reason::WrongType, no_key, 1),
        ("81c4016100", Reason::WrongType, no_key, 1),
        ("819000", Reason::WrongType, no_key, 1),
        ("818000", Reason::WrongType, no_key, 1),
        ("d4ff00", Reason::BadTime, "a timestamp of 1 bytes", 0),
        (
            "d7ff ee6b2800 00000000",
            Reason::BadTime,
            "a timestamp of 0 s and 1000000000 ns",
            0,
        ),
        (
            "c70cff ffffffff 0000000000000000",
            Reason::BadTime,
            "a timestamp of 0 s and 4294967295 ns",
            0,
        ),
        (
            "c70cff 00000000 7fffffffffffffff",
            Reason::BadTime,
            "a timestamp of 9223372036854775807 s and 0 ns",
            0,
        ),
    ] {
        let payload = bytes(hexadecimal);
        let reject = tape_of_msgpack(&payload).unwrap_err();
        let detail = format!("{what} at byte {at} of {}", payload.len());
        assert_eq!(
            (reject.reason, reject.detail),
            (reason, detail),
            "{hexadecimal}"
        );
    }
    assert_eq!(tape_of_msgpack(&[]).unwrap_err().reason, Reason::Empty);
}

#[test]
fn nesting_and_nodes_are_bounded() {
    for opening in ["91", "8100"] {
        let nested = |levels| bytes(&format!("{}c0", opening.repeat(levels)));
        assert!(tape_of_msgpack(&nested(NESTING_MAX)).is_ok());
        for levels in [NESTING_MAX + 1, 100_000] {
            let reject = tape_of_msgpack(&nested(levels)).unwrap_err();
            assert_eq!(reject.reason, Reason::NotMessagePack, "{}", reject.detail);
        }
    }
    let many = [bytes("dd00200000"), vec![0; 1 << 21]].concat();
    let reject = tape_of_msgpack(&many).unwrap_err();
    assert_eq!(reject.reason, Reason::TooManyRecords);
}

/// Never panics, allocates in proportion, and takes nothing that another reader of `MessagePack`
/// refuses; nor does it call malformed what that one takes, but for the byte 0xc1, a null to it.
fn check_any(payload: &[u8]) {
    let mut rest = payload;
    let other = rmpv::decode::read_value_ref(&mut rest);
    let well_formed = other.is_ok() && rest.is_empty();
    match tape_of_msgpack(payload) {
        Ok(tape) => {
            check_whole(&tape, payload.len());
            assert!(well_formed, "{payload:02x?}");
        }
        Err(reject) => {
            let detail = &reject.detail;
            let is_stricter = detail.starts_with("nested") || detail.starts_with("0xc1");
            if reject.reason == Reason::NotMessagePack && !is_stricter {
                assert!(!well_formed, "{payload:02x?} {detail}");
            }
        }
    }
}

/// Bytes that begin the values of `MessagePack` more often than chance would.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        0..4_u8,
        prop::sample::select(&[0x81, 0x82, 0x92, 0xa1, 0xc4, 0xc7, 0xd6, 0xd7, 0xd9, 0xff][..]),
    ];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn a_tape_says_what_the_payload_says(value in json()) {
        let payload = rmp_serde::to_vec(&value).unwrap();
        let tape = tape_of_msgpack(&payload).unwrap();
        check_whole(&tape, payload.len());
        prop_assert_eq!(as_json(tape.root()), value);
    }

    #[test]
    fn timestamps_are_exact(seconds in -62_135_596_800_i64..253_402_300_799, nanoseconds in 0..1_000_000_000_u32) {
        let data = [&nanoseconds.to_be_bytes()[..], &seconds.to_be_bytes()].concat();
        let payload = [&[0xc7, 12, 0xff][..], &data].concat();
        let tape = tape_of_msgpack(&payload).unwrap();
        let Some(Cell::Text(text)) = tape.root().as_scalar() else {
            panic!("{tape:?}");
        };
        let time: jiff::Timestamp = text.parse().unwrap();
        let expected = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        prop_assert_eq!(time.as_nanosecond(), expected);
    }

    #[test]
    fn any_bytes_end_in_a_verdict(payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), values()]) {
        check_any(&payload);
    }

    #[test]
    fn damaged_payloads_end_in_a_verdict(value in json(), damage in damage()) {
        check_any(&damaged(rmp_serde::to_vec(&value).unwrap(), &damage));
    }
}
