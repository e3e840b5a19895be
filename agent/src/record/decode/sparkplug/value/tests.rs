use std::borrow::Cow;

use proptest::prelude::*;

use super::{DataType, Scalar};
use crate::record::decode::value::Cell;

fn integer(scalar: Scalar<'_>, datatype: DataType) -> i128 {
    match scalar.cell(Some(datatype)) {
        Cell::Integer(number) => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_negative_number_is_read_in_every_width() {
    use DataType::{Int8, Int16, Int32, Int64};
    let table = [
        (Scalar::Int(0xFE), Int8, -2),
        (Scalar::Int(0xFFFE), Int8, -2),
        (Scalar::Int(0xFFFF_FFFE), Int8, -2),
        (Scalar::Long(0xFFFF_FFFE), Int8, -2),
        (Scalar::Long(0xFFFF_FFFF_FFFF_FFFE), Int8, -2),
        (Scalar::Int(0x80), Int8, -128),
        (Scalar::Int(0x7F), Int8, 127),
        (Scalar::Int(0xFE), Int16, 254),
        (Scalar::Int(0xFFFE), Int16, -2),
        (Scalar::Int(0xFFFF_FFFE), Int16, -2),
        (Scalar::Long(0xFFFE), Int16, -2),
        (Scalar::Int(0xFFFE), Int32, 65534),
        (Scalar::Int(0xFFFF_FFFE), Int32, -2),
        (Scalar::Long(0xFFFF_FFFE), Int32, -2),
        (Scalar::Long(0xFFFF_FFFF_FFFF_FFFE), Int32, -2),
        (Scalar::Int(0xFFFF_FFFE), Int64, -2),
        (Scalar::Long(0xFFFF_FFFE), Int64, 4_294_967_294),
        (Scalar::Long(0xFFFF_FFFF_FFFF_FFFE), Int64, -2),
        (Scalar::Long(1 << 63), Int64, i128::from(i64::MIN)),
    ];
    for (scalar, datatype, expected) in table {
        assert_eq!(
            integer(scalar, datatype),
            expected,
            "{scalar:?} {datatype:?}"
        );
    }
}

#[test]
fn a_number_beyond_its_type_is_what_the_arm_says() {
    assert_eq!(integer(Scalar::Int(300), DataType::Int8), 300);
    assert_eq!(integer(Scalar::Int(0xFFFF_FED4), DataType::Int8), -300);
    assert_eq!(
        integer(Scalar::Long(5_000_000_000), DataType::Int32),
        5_000_000_000
    );
    assert_eq!(integer(Scalar::Int(300), DataType::UInt8), 300);
}

#[test]
fn unsigned_numbers_have_no_sign() {
    let max = i128::from(u64::MAX);
    assert_eq!(integer(Scalar::Long(u64::MAX), DataType::UInt64), max);
    assert_eq!(
        integer(Scalar::Int(u32::MAX), DataType::UInt32),
        i128::from(u32::MAX)
    );
    assert_eq!(
        integer(Scalar::Long(u64::from(u32::MAX)), DataType::UInt32),
        i128::from(u32::MAX)
    );
    assert_eq!(Scalar::Long(u64::MAX).cell(None), Cell::Integer(max));
}

#[test]
fn times_are_whole_milliseconds_from_every_arm() {
    let time_ms = 1_700_000_000_123;
    assert_eq!(
        integer(Scalar::Long(time_ms as u64), DataType::DateTime),
        time_ms
    );
    assert_eq!(
        integer(Scalar::Text("1700000000123"), DataType::DateTime),
        time_ms
    );
    assert_eq!(
        integer(Scalar::Long(-1000_i64 as u64), DataType::DateTime),
        -1000
    );
    assert_eq!(
        integer(Scalar::Int(0x9000_0000), DataType::DateTime),
        0x9000_0000
    );
    let text = "2023-11-14T22:13:20Z";
    let cell = Scalar::Text(text).cell(Some(DataType::DateTime));
    assert_eq!(cell, Cell::Text(Cow::Borrowed(text)));
}

#[test]
fn an_arm_of_another_type_is_taken_as_it_is() {
    let table = [
        (Scalar::Double(1.5), Some(DataType::Int32), Cell::Float(1.5)),
        (Scalar::Float(1.5), Some(DataType::Double), Cell::Float(1.5)),
        (Scalar::Int(1), Some(DataType::Boolean), Cell::Integer(1)),
        (
            Scalar::Boolean(true),
            Some(DataType::Int8),
            Cell::Bool(true),
        ),
        (
            Scalar::Text("12"),
            Some(DataType::Int8),
            Cell::Text("12".into()),
        ),
        (
            Scalar::Bytes(&[1]),
            Some(DataType::Int8Array),
            Cell::Bytes(&[1]),
        ),
        (Scalar::Null, Some(DataType::Int8), Cell::Null),
        (Scalar::Int(7), None, Cell::Integer(7)),
    ];
    for (scalar, datatype, expected) in table {
        assert_eq!(scalar.cell(datatype), expected);
    }
}

#[test]
fn codes_of_types_are_those_of_the_specification() {
    assert_eq!(DataType::from_code(0), None);
    assert_eq!(DataType::from_code(1), Some(DataType::Int8));
    assert_eq!(DataType::from_code(19), Some(DataType::Template));
    assert_eq!(DataType::from_code(34), Some(DataType::DateTimeArray));
    assert_eq!(DataType::from_code(35), None);
    assert_eq!(DataType::from_code(u32::MAX), None);
}

proptest! {
    #[test]
    fn integers_survive_every_encoding(small in any::<i8>(), middle in any::<i16>(), large in any::<i32>(), huge in any::<i64>()) {
        for raw in [Scalar::Int(u32::from(small as u8)), Scalar::Int(small as u32), Scalar::Long(small as u64)] {
            prop_assert_eq!(integer(raw, DataType::Int8), i128::from(small));
        }
        for raw in [Scalar::Int(u32::from(middle as u16)), Scalar::Int(middle as u32), Scalar::Long(middle as u64)] {
            prop_assert_eq!(integer(raw, DataType::Int16), i128::from(middle));
        }
        for raw in [Scalar::Int(large as u32), Scalar::Long(u64::from(large as u32)), Scalar::Long(large as u64)] {
            prop_assert_eq!(integer(raw, DataType::Int32), i128::from(large));
        }
        prop_assert_eq!(integer(Scalar::Long(huge as u64), DataType::Int64), i128::from(huge));
        prop_assert_eq!(integer(Scalar::Long(huge as u64), DataType::UInt64), i128::from(huge as u64));
    }
}
