#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{
    super::{
        NESTING_MAX,
        tape::tests::{as_json, bytes, check_whole, damage, damaged, json, notation},
    },
    *,
};

fn encoded(value: &serde_json::Value) -> Vec<u8> {
    let mut payload = Vec::new();
    ciborium::into_writer(value, &mut payload).unwrap();
    payload
}

/// RFC 8949, appendix A; what is refused there is in the next test.
#[test]
fn the_examples_of_the_standard_are_read() {
    for (hexadecimal, expected) in [
        ("00", "0"),
        ("01", "1"),
        ("0a", "10"),
        ("17", "23"),
        ("1818", "24"),
        ("1819", "25"),
        ("1864", "100"),
        ("1903e8", "1000"),
        ("1a000f4240", "1000000"),
        ("1b000000e8d4a51000", "1000000000000"),
        ("1bffffffffffffffff", "18446744073709551615"),
        ("c249010000000000000000", "18446744073709551616"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("c349010000000000000000", "-18446744073709551617"),
        ("20", "-1"),
        ("29", "-10"),
        ("3863", "-100"),
        ("3903e7", "-1000"),
        ("f90000", "0.0"),
        ("f98000", "-0.0"),
        ("f93c00", "1.0"),
        ("fb3ff199999999999a", "1.1"),
        ("f93e00", "1.5"),
        ("f97bff", "65504.0"),
        ("fa47c35000", "100000.0"),
        ("fa7f7fffff", "3.4028234663852886e38"),
        ("fb7e37e43c8800759c", "1e300"),
        ("f90001", "5.960464477539063e-8"),
        ("f90400", "6.103515625e-5"),
        ("f9c400", "-4.0"),
        ("fbc010666666666666", "-4.1"),
        ("f97c00", "inf"),
        ("f97e00", "NaN"),
        ("f9fc00", "-inf"),
        ("fa7f800000", "inf"),
        ("fa7fc00000", "NaN"),
        ("faff800000", "-inf"),
        ("fb7ff0000000000000", "inf"),
        ("fb7ff8000000000000", "NaN"),
        ("fbfff0000000000000", "-inf"),
        ("f4", "false"),
        ("f5", "true"),
        ("f6", "null"),
        ("f7", "null"),
        (
            "c074323031332d30332d32315432303a30343a30305a",
            "\"2013-03-21T20:04:00Z\"",
        ),
        ("c11a514b67b0", "1363896240"),
        ("c1fb41d452d9ec200000", "1363896240.5"),
        ("d74401020304", "h'01020304'"),
        ("d818456449455446", "h'6449455446'"),
        (
            "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
            "\"http://www.example.com\"",
        ),
        ("40", "h''"),
        ("4401020304", "h'01020304'"),
        ("60", "\"\""),
        ("6161", "\"a\""),
        ("6449455446", "\"IETF\""),
        ("62225c", "\"\\\"\\\\\""),
        ("62c3bc", "\"\u{fc}\""),
        ("63e6b0b4", "\"\u{6c34}\""),
        ("64f0908591", "\"\u{10151}\""),
        ("80", "[]"),
        ("83010203", "[1, 2, 3]"),
        ("8301820203820405", "[1, [2, 3], [4, 5]]"),
        (
            "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
            "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]",
        ),
        ("a0", "{}"),
        ("a201020304", "{1: 2, 3: 4}"),
        ("a26161016162820203", "{\"a\": 1, \"b\": [2, 3]}"),
        ("826161a161626163", "[\"a\", {\"b\": \"c\"}]"),
        (
            "a56161614161626142616361436164614461656145",
            "{\"a\": \"A\", \"b\": \"B\", \"c\": \"C\", \"d\": \"D\", \"e\": \"E\"}",
        ),
        ("7f657374726561646d696e67ff", "\"streaming\""),
        ("9fff", "[]"),
        ("9f018202039f0405ffff", "[1, [2, 3], [4, 5]]"),
        ("9f01820203820405ff", "[1, [2, 3], [4, 5]]"),
        ("83018202039f0405ff", "[1, [2, 3], [4, 5]]"),
        ("83019f0203ff820405", "[1, [2, 3], [4, 5]]"),
        (
            "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
            "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]",
        ),
        ("bf61610161629f0203ffff", "{\"a\": 1, \"b\": [2, 3]}"),
        ("826161bf61626163ff", "[\"a\", {\"b\": \"c\"}]"),
        ("bf6346756ef563416d7421ff", "{\"Fun\": true, \"Amt\": -2}"),
    ] {
        let payload = bytes(hexadecimal);
        let tape = tape_of_cbor(&payload).unwrap();
        check_whole(&tape, payload.len());
        assert_eq!(notation(tape.root()), expected, "{hexadecimal}");
    }
}

#[test]
fn more_than_the_standard_shows_is_read() {
    for (hexadecimal, expected) in [
        // Longer than need be.
        ("1b0000000000000001", "1"),
        ("780161", "\"a\""),
        ("9b000000000000000101", "[1]"),
        ("7fff", "\"\""),
        ("7f60ff", "\"\""),
        ("c240", "0"),
        ("c340", "-1"),
        ("c25200000000000000000000000000000000002a", "42"),
        (
            "c2507fffffffffffffffffffffffffffffff",
            "170141183460469231731687303715884105727",
        ),
        (
            "c3507fffffffffffffffffffffffffffffff",
            "-170141183460469231731687303715884105728",
        ),
        // Tags in front of tags, keys and bignums.
        ("d9d9f7c1c100", "0"),
        ("a1c1617400", "{\"t\": 0}"),
        ("a1c241ff00", "{255: 0}"),
        ("d9d9f7c241ff", "255"),
        // The labels of SenML.
        (
            "81a322181b0619030707fb3ff8000000000000",
            "[{-3: 27, 6: 775, 7: 1.5}]",
        ),
        ("a1f93e0001", "{1.5: 1}"),
        ("a2010201 03", "{1: 2, 1: 3}"),
    ] {
        let tape = bytes(hexadecimal);
        let tape = tape_of_cbor(&tape).unwrap();
        assert_eq!(notation(tape.root()), expected, "{hexadecimal}");
    }
}

#[test]
fn refusals_say_what_and_where() {
    let not_supported = [
        ("f0", "a simple value without a meaning", 0, 1),
        ("f8ff", "a simple value without a meaning", 0, 2),
        ("81f814", "a simple value without a meaning", 1, 3),
        (
            "5f42010243030405ff",
            "a byte string in chunks (of indefinite length)",
            0,
            9,
        ),
        (
            "c25080000000000000000000000000000000",
            "a whole number of more than 127 bits (bignum)",
            0,
            18,
        ),
        (
            "c3510100000000000000000000000000000000",
            "a whole number of more than 127 bits (bignum)",
            0,
            19,
        ),
        (
            "c25f4101ff",
            "a bignum that is no byte string of definite length",
            0,
            5,
        ),
        (
            "c201",
            "a bignum that is no byte string of definite length",
            0,
            2,
        ),
    ];
    for (hexadecimal, what, at, length) in not_supported {
        let reject = tape_of_cbor(&bytes(hexadecimal)).unwrap_err();
        let detail = format!("{what} is not supported, at byte {at} of {length}");
        assert_eq!(
            (reject.reason, reject.detail),
            (Reason::WrongType, detail),
            "{hexadecimal}"
        );
    }
    let cut_off = "the payload ends inside the value";
    let no_key = "a key that is neither a text nor a number";
    for (hexadecimal, reason, what, at) in [
        ("18", Reason::NotCbor, cut_off, 0),
        ("fb0000", Reason::NotCbor, cut_off, 0),
        ("6261", Reason::NotCbor, cut_off, 0),
        ("8201", Reason::NotCbor, cut_off, 2),
        ("9f01", Reason::NotCbor, cut_off, 2),
        ("a101", Reason::NotCbor, cut_off, 2),
        ("7f6161", Reason::NotCbor, cut_off, 0),
        ("7f4161ff", Reason::NotCbor, cut_off, 0),
        ("c1", Reason::NotCbor, cut_off, 1),
        ("5bffffffffffffffff00", Reason::NotCbor, cut_off, 0),
        ("7bffffffffffffffff00", Reason::NotCbor, cut_off, 0),
        ("9bffffffffffffffff00", Reason::NotCbor, cut_off, 10),
        ("bbffffffffffffffff0000", Reason::NotCbor, cut_off, 11),
        ("1c", Reason::NotCbor, "0x1c begins no value", 0),
        ("811f", Reason::NotCbor, "0x1f begins no value", 1),
        ("ff", Reason::NotCbor, "a break where a value should be", 0),
        (
            "8201ff",
            Reason::NotCbor,
            "a break where a value should be",
            2,
        ),
        (
            "bf01ff",
            Reason::NotCbor,
            "a break where a value should be",
            2,
        ),
        (
            "9fc1ff",
            Reason::NotCbor,
            "a break where a value should be",
            2,
        ),
        ("0000", Reason::NotCbor, "nothing may follow the value", 1),
        ("8161ff", Reason::NotUtf8, "a text that is not UTF-8", 1),
        (
            "7f61c361bcff",
            Reason::NotUtf8,
            "a text that is not UTF-8",
            0,
        ),
        ("a1f600", Reason::WrongType, no_key, 1),
        ("a1416100", Reason::WrongType, no_key, 1),
        ("a18000", Reason::WrongType, no_key, 1),
        ("a1a000", Reason::WrongType, no_key, 1),
    ] {
        let payload = bytes(hexadecimal);
        let reject = tape_of_cbor(&payload).unwrap_err();
        let detail = format!("{what} at byte {at} of {}", payload.len());
        assert_eq!(
            (reject.reason, reject.detail),
            (reason, detail),
            "{hexadecimal}"
        );
    }
    assert_eq!(tape_of_cbor(&[]).unwrap_err().reason, Reason::Empty);
}

#[test]
fn nesting_and_nodes_are_bounded() {
    for (opening, closing) in [("81", ""), ("9f", "ff"), ("a100", ""), ("bf00", "ff")] {
        let nested = |levels| {
            bytes(&format!(
                "{}f6{}",
                opening.repeat(levels),
                closing.repeat(levels)
            ))
        };
        assert!(tape_of_cbor(&nested(NESTING_MAX)).is_ok());
        for levels in [NESTING_MAX + 1, 100_000] {
            let reject = tape_of_cbor(&nested(levels)).unwrap_err();
            assert_eq!(reject.reason, Reason::NotCbor, "{}", reject.detail);
        }
    }
    assert!(tape_of_cbor(&[vec![0xc1; 1 << 20], vec![0]].concat()).is_ok());
    let many = [vec![0x9f], vec![0; 1 << 21], vec![0xff]].concat();
    let reject = tape_of_cbor(&many).unwrap_err();
    assert_eq!(reject.reason, Reason::TooManyRecords);
}

/// Never panics, allocates in proportion, and takes nothing that another reader of CBOR refuses; nor
/// does it call malformed what that one takes.
fn check_any(payload: &[u8]) {
    let mut rest = payload;
    let other: Result<ciborium::Value, _> = ciborium::from_reader(&mut rest);
    let well_formed = other.is_ok() && rest.is_empty();
    match tape_of_cbor(payload) {
        Ok(tape) => {
            check_whole(&tape, payload.len());
            assert!(well_formed, "{payload:02x?} {other:?}");
        }
        Err(reject) if reject.reason == Reason::NotCbor && !reject.detail.starts_with("nested") => {
            assert!(!well_formed, "{payload:02x?} {}", reject.detail);
        }
        Err(_) => {}
    }
}

/// Bytes that begin the items of CBOR more often than chance would.
fn items() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        0..4_u8,
        prop::sample::select(&[0x61, 0x62, 0x7f, 0x82, 0x9f, 0xa1, 0xbf, 0xc2, 0xf9, 0xff][..]),
    ];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn a_tape_says_what_the_payload_says(value in json()) {
        let payload = encoded(&value);
        let tape = tape_of_cbor(&payload).unwrap();
        check_whole(&tape, payload.len());
        prop_assert_eq!(as_json(tape.root()), value);
    }

    #[test]
    fn any_bytes_end_in_a_verdict(payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), items()]) {
        check_any(&payload);
    }

    #[test]
    fn damaged_payloads_end_in_a_verdict(value in json(), damage in damage()) {
        check_any(&damaged(encoded(&value), &damage));
    }
}
