#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn any_single_flipped_bit_is_noticed() {
    let bytes = to_bytes(&("pump", 7_u32, vec![1.5_f64; 9])).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            from_bytes::<(String, u32, Vec<f64>)>(&damaged).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = vec![9, 1, 2, 3];
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    assert_eq!(unseal(&bytes), Err(FrameError::Format(9)));
    assert_eq!(newer(&bytes), Some(9));
    bytes[2] ^= 1;
    assert_eq!(newer(&bytes), None, "that is damage");
    assert_eq!(newer(&seal(b"x")), None);
}

#[test]
fn what_an_earlier_version_sealed_is_read() {
    let mut bytes = to_bytes(&("pump", 7_u32)).unwrap();
    bytes.truncate(bytes.len() - CRC_BYTES);
    bytes[0] = 1;
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    let read = from_bytes::<(String, u32)>(&bytes).unwrap();
    assert_eq!(read, ("pump".to_owned(), 7));
    assert_eq!(newer(&bytes), None);
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // Varint lengths, correctly sealed: 2^30 elements; and 2^60, of which 32 bits see only zeros.
    let lies: [&[u8]; 2] = [&[252, 0, 0, 0, 64], &[253, 0, 0, 0, 0, 0, 0, 0, 16]];
    let seen = if cfg!(target_pointer_width = "64") {
        2
    } else {
        1
    };
    for lie in &lies[..seen] {
        let read = from_bytes::<Vec<u64>>(&seal(lie));
        assert!(matches!(read, Err(FrameError::Content(_))), "{read:?}");
    }
}

proptest! {
    #[test]
    fn round_trip_and_garbage(value: Vec<(u32, String)>, garbage: Vec<u8>) {
        let bytes = to_bytes(&value).unwrap();
        prop_assert_eq!(from_bytes::<Vec<(u32, String)>>(&bytes).unwrap(), value);
        let _no_panic = from_bytes::<Vec<(u32, String)>>(&garbage);
    }
}
