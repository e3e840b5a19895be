#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn as_ref(packed: &Packed) -> PackedRef<'_> {
    PackedRef {
        method: packed.method,
        bytes: &packed.bytes,
    }
}

proptest! {
    #[test]
    fn numbers_come_back_bit_by_bit(bits: Vec<u64>, repeat in 1_usize..40) {
        let numbers: Vec<f64> = bits.repeat(repeat).into_iter().map(f64::from_bits).collect();
        for compression in [Compression::None, Compression::Lz4, Compression::Pco] {
            let packed = pack_numbers(&numbers, compression);
            let mut back = Vec::new();
            unpack_numbers::<f64>(as_ref(&packed), numbers.len(), &mut back).unwrap();
            let same = numbers.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same && back.len() == numbers.len());
            let mut wrong = Vec::new();
            prop_assert!(unpack_numbers::<f64>(as_ref(&packed), numbers.len() + 1, &mut wrong).is_err());
        }
    }

    #[test]
    fn times_come_back(times: Vec<i64>, repeat in 1_usize..20) {
        let times = times.repeat(repeat);
        for compression in [Compression::None, Compression::Pco] {
            let packed = pack_times(&times, compression);
            let mut back = Vec::new();
            unpack_times(as_ref(&packed), times.len(), &mut back).unwrap();
            prop_assert_eq!(&back, &times);
        }
    }

    #[test]
    fn texts_and_flags_come_back(texts: Vec<String>, flags: Vec<bool>) {
        let texts: Vec<Box<str>> = texts.into_iter().map(Into::into).collect();
        let packed = pack_texts(&texts);
        prop_assert_eq!(unpack_texts(as_ref(&packed), texts.len()).unwrap(), texts);
        prop_assert_eq!(unpack_bits(&pack_bits(&flags), flags.len()).unwrap(), flags);
    }

    #[test]
    fn rows_come_back(flags: Vec<bool>, sparse in 1_usize..300) {
        for (flags, sparse) in [(flags, 1), (vec![true], sparse)] {
            let mut wanted = Vec::new();
            for flag in flags {
                wanted.push(flag);
                wanted.resize(wanted.len() + sparse - 1, false);
            }
            let rows = (0..).zip(&wanted).filter_map(|(row, flag)| flag.then_some(row));
            let packed = pack_rows(&rows.collect::<Vec<u32>>(), wanted.len());
            prop_assert!(packed.bytes.len() <= wanted.len().div_ceil(8));
            prop_assert_eq!(unpack_rows(as_ref(&packed), wanted.len()).unwrap(), wanted);
        }
    }

    #[test]
    fn garbage_never_panics(method in 0_u8..5, bytes: Vec<u8>, rows in 0_usize..5000) {
        let packed = PackedRef { method, bytes: &bytes };
        let _ = unpack_numbers::<f32>(packed, rows, &mut Vec::new());
        let _ = unpack_times(packed, rows, &mut Vec::new());
        let _ = unpack_texts(packed, rows);
        let _ = unpack_rows(packed, rows);
    }
}
