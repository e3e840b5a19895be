#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn comes_back_and_is_json() {
    let bytes = seal(&vec!["}\n\"body\":", "x"]).unwrap();
    let back: Vec<String> = unseal(&bytes).unwrap();
    assert_eq!(back, ["}\n\"body\":", "x"]);
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["body"][1], "x");
}

#[test]
fn another_format_is_told_from_damage() {
    let bytes = String::from_utf8(seal(&1u32).unwrap()).unwrap();
    let newer = bytes.replacen("\"format\":1", "\"format\":2", 1);
    assert_eq!(unseal::<u32>(newer.as_bytes()), Err(SealError::Format(2)));
}

proptest! {
    #[test]
    fn no_altered_byte_goes_unseen(at in 0usize..200, to: u8) {
        let mut bytes = seal(&(5u64, "some text")).unwrap();
        let length = bytes.len() - 1; // The line break does not matter.
        let at = at % length;
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(unseal::<(u64, String)>(&bytes).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _refused = unseal::<u64>(&bytes);
    }
}
