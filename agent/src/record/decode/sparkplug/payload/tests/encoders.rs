//! Payloads of these encoders, made on their own terms:
//! - npm sparkplug-payload 1.0.3 (protobufjs 6.11.6), as `NODE`;
//! - `PyPI` pysparkplug 0.6.1 (protobuf 7.36.2), as `PYSPARKPLUG`;
//! - `PyPI` tahu 0.1.2 (protobuf 3.19.1), as `TAHU`;
//! - crate srad-types 0.3.1 (prost 0.13.5), as `SRAD`.

use super::{bytes, cell, read};
use crate::record::decode::{
    sparkplug::{
        data_type::DataType,
        payload::{Metric, Value},
    },
    value::Cell,
};

const NODE: &str = "sparkplug-payload 1.0.3";
const PYSPARKPLUG: &str = "pysparkplug 0.6.1";
const TAHU: &str = "tahu 0.1.2";
const SRAD: &str = "srad-types 0.3.1";
const UUID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// Encoder, payload of one metric `x`, its type, its value.
#[rustfmt::skip] // One row a line.
fn scalars() -> Vec<(&'static str, &'static str, DataType, Cell<'static>)> {
    use DataType as Type;
    let integer = |number: i64| Cell::Integer(i128::from(number));
    let text = |text: &'static str| Cell::Text(text.into());
    vec![
        // Sign extended to 32 bits.
        (NODE, "120b0a0178200150feffffff0f", Type::Int8, integer(-2)),
        (NODE, "120b0a017820015080ffffff0f", Type::Int8, integer(-128)),
        (NODE, "120b0a0178200250d4fdffff0f", Type::Int16, integer(-300)),
        (NODE, "120b0a0178200350feffffff0f", Type::Int32, integer(-2)),
        (NODE, "120b0a01782003508080808008", Type::Int32, integer(i64::from(i32::MIN))),
        (NODE, "12100a0178200458feffffffffffffffff01", Type::Int64, integer(-2)),
        (NODE, "12100a017820045880808080808080808001", Type::Int64, integer(i64::MIN)),
        (NODE, "12080a0178200550fe01", Type::UInt8, integer(254)),
        (NODE, "12090a0178200650feff03", Type::UInt16, integer(65534)),
        // In the arm of 64 bits.
        (NODE, "120b0a0178200758feffffff0f", Type::UInt32, integer(4_294_967_294)),
        (NODE, "12100a0178200858ffffffffffffffffff01", Type::UInt64, Cell::Integer(u64::MAX.into())),
        (NODE, "120a0a01782009650000c03f", Type::Float, Cell::Float(1.5)),
        (NODE, "120e0a0178200a699a9999999999b9bf", Type::Double, Cell::Float(-0.1)),
        (NODE, "12070a0178200b7001", Type::Boolean, Cell::Bool(true)),
        (NODE, "12070a0178200b7000", Type::Boolean, Cell::Bool(false)),
        (NODE, "120f0a0178200c7a084dc3bc6e6368656e", Type::String, text("München")),
        (NODE, "120a0a0178200e7a03610a62", Type::Text, text("a\nb")),
        (NODE, "122b0a0178200f7a2431323365343536372d653839622d313264332d613435362d343236363134313734303030", Type::Uuid, text(UUID)),
        (NODE, "120c0a0178200d5880d095ffbc31", Type::DateTime, integer(1_700_000_000_000)),
        (NODE, "12100a0178200d5898f8ffffffffffffff01", Type::DateTime, integer(-1000)),
        (NODE, "120a0a0178201182010200ff", Type::Bytes, Cell::Bytes(&[0, 255])),
        (NODE, "12090a0178201282010101", Type::File, Cell::Bytes(&[1])),
        (NODE, "12070a017820033801", Type::Int32, Cell::Null),
        // Without a value, but not null.
        (NODE, "12050a01782003", Type::Int32, Cell::Null),
        // Cut to the width of the type.
        (PYSPARKPLUG, "0880d095ffbc3112080a0178200150fe011801", Type::Int8, integer(-2)),
        (PYSPARKPLUG, "0880d095ffbc3112080a017820015080011801", Type::Int8, integer(-128)),
        (PYSPARKPLUG, "0880d095ffbc3112090a0178200250d4fd031801", Type::Int16, integer(-300)),
        (PYSPARKPLUG, "0880d095ffbc31120b0a0178200350feffffff0f1801", Type::Int32, integer(-2)),
        (PYSPARKPLUG, "0880d095ffbc3112100a0178200458feffffffffffffffff011801", Type::Int64, integer(-2)),
        (PYSPARKPLUG, "0880d095ffbc31120b0a0178200750feffffff0f1801", Type::UInt32, integer(4_294_967_294)),
        (PYSPARKPLUG, "0880d095ffbc3112100a0178200858ffffffffffffffffff011801", Type::UInt64, Cell::Integer(u64::MAX.into())),
        (PYSPARKPLUG, "0880d095ffbc31120c0a0178200d58fbd095ffbc311801", Type::DateTime, integer(1_700_000_000_123)),
        (PYSPARKPLUG, "0880d095ffbc31120a0a0178201182010200ff1801", Type::Bytes, Cell::Bytes(&[0, 255])),
        (PYSPARKPLUG, "0880d095ffbc3112070a0178200338011801", Type::Int32, Cell::Null),
        (PYSPARKPLUG, "0880d095ffbc31120c0a01782017820104ffff02001801", Type::Int16Array, Cell::Bytes(&[255, 255, 2, 0])),
        // Refuses negative numbers; its callers extend them to 32 bits themselves.
        (TAHU, "12120a01781880d095ffbc31200150feffffff0f", Type::Int8, integer(-2)),
        (TAHU, "12120a01781880d095ffbc31200350feffffff0f", Type::Int32, integer(-2)),
        (TAHU, "12170a01781880d095ffbc31200458feffffffffffffffff01", Type::Int64, integer(-2)),
        (TAHU, "12120a01781880d095ffbc31200750feffffff0f", Type::UInt32, integer(4_294_967_294)),
        (TAHU, "12130a01781880d095ffbc31200d58fbd095ffbc31", Type::DateTime, integer(1_700_000_000_123)),
        (TAHU, "120e0a01781880d095ffbc3120033801", Type::Int32, Cell::Null),
        (SRAD, "12080a0178200150fe01", Type::Int8, integer(-2)),
        (SRAD, "12090a0178200250d4fd03", Type::Int16, integer(-300)),
        (SRAD, "120b0a0178200350feffffff0f", Type::Int32, integer(-2)),
        (SRAD, "12100a017820045880808080808080808001", Type::Int64, integer(i64::MIN)),
        (SRAD, "120b0a0178200750feffffff0f", Type::UInt32, integer(4_294_967_294)),
        (SRAD, "12100a0178200858ffffffffffffffffff01", Type::UInt64, Cell::Integer(u64::MAX.into())),
        (SRAD, "120a0a01782009650000c03f", Type::Float, Cell::Float(1.5)),
        (SRAD, "120c0a0178200d58fbd095ffbc31", Type::DateTime, integer(1_700_000_000_123)),
        (SRAD, "12070a017820033801", Type::Int32, Cell::Null),
    ]
}

#[test]
fn scalars_of_every_encoder_are_read() {
    for (encoder, hex, datatype, expected) in scalars() {
        read(&bytes(hex), |payload| {
            let [metric] = &payload.metrics[..] else {
                panic!("{payload:?}");
            };
            assert_eq!(metric.name, Some("x"));
            assert_eq!(metric.datatype, Some(datatype), "{encoder} {hex}");
            assert_eq!(cell(metric), expected, "{encoder} {hex}");
        })
        .unwrap();
    }
}

const DATA_SETS: [(&str, &str); 3] = [
    (
        NODE,
        "124c0a017820108a0144080312026964120474656d7012026f6b1801180a180b22170a0608feffffff0f0a0921000000000000f83f0a02280122130a0208030a0921000000000000e0bf0a022800",
    ),
    (
        TAHU,
        "12530a01781880d095ffbc3120108a0144080312026964120474656d7012026f6b1801180a180b22170a0608feffffff0f0a0921000000000000f83f0a02280122130a0208030a0921000000000000e0bf0a022800",
    ),
    (
        SRAD,
        "12490a017820108a0141080312026964120474656d7012026f6b1801180a180b22140a0308fe010a0921000000000000f83f0a02280122130a0208030a0921000000000000e0bf0a022800",
    ),
];

#[test]
fn data_sets_of_every_encoder_are_read() {
    for (encoder, hex) in DATA_SETS {
        read(&bytes(hex), |payload| {
            let Value::DataSet(data_set) = &payload.metrics[0].value else {
                panic!("{payload:?}");
            };
            let columns: Vec<_> = data_set.columns.iter().map(|column| column.name).collect();
            assert_eq!(columns, ["id", "temp", "ok"]);
            let rows: Vec<&[Cell<'_>]> = data_set.rows().collect();
            let expected = [
                [Cell::Integer(-2), Cell::Float(1.5), Cell::Bool(true)],
                [Cell::Integer(3), Cell::Float(-0.5), Cell::Bool(false)],
            ];
            assert_eq!(rows, expected, "{encoder}");
        })
        .unwrap();
    }
}

const TEMPLATES: [(&str, &str); 2] = [
    (
        NODE,
        "12490a017820139201410a0131120d0a0372706d200250d4fdffff0f121b0a05696e6e6572201392010f12080a026f6e200b700122016228001a070a01701003180422056d6f746f722800",
    ),
    (
        SRAD,
        "123e0a017820139201360a0131120b0a0372706d200250d4fd03121b0a05696e6e6572201392010f12080a026f6e200b7001220162280022056d6f746f722800",
    ),
];

#[test]
fn templates_of_every_encoder_are_read() {
    for (encoder, hex) in TEMPLATES {
        read(&bytes(hex), |payload| {
            let Value::Template(template) = &payload.metrics[0].value else {
                panic!("{payload:?}");
            };
            assert!(!template.is_definition);
            let [rpm, inner] = &template.metrics[..] else {
                panic!("{template:?}");
            };
            assert_eq!(
                (rpm.name, cell(rpm)),
                (Some("rpm"), Cell::Integer(-300)),
                "{encoder}"
            );
            let Value::Template(inner) = &inner.value else {
                panic!("{inner:?}");
            };
            let on = &inner.metrics[0];
            assert_eq!((on.name, cell(on)), (Some("on"), Cell::Bool(true)));
        })
        .unwrap();
    }
    let with_definition = "122f0a0d5f74797065735f2f6d6f746f721880d095ffbc31201392011412100a0372706d1880d095ffbc31200250002801122e0a01781880d095ffbc31201392011f12140a0372706d1880d095ffbc31200250d4fdffff0f22056d6f746f722800";
    let definitions = read(&bytes(with_definition), |payload| {
        let is_definition = |metric: &Metric<'_>| matches!(&metric.value, Value::Template(template) if template.is_definition);
        payload
            .metrics
            .iter()
            .map(is_definition)
            .collect::<Vec<_>>()
    });
    assert_eq!(definitions, Ok(vec![true, false]), "{TAHU}");
}

#[test]
fn properties_and_marks_are_read() {
    let table = [
        (
            NODE,
            "125a0a017810071880d095ffbc31200a280130014a3d0a075175616c6974790a07656e67556e69740a064e65737465641205080318f4031207080c4203c2b043121108144a0d0a01611208080118ffffffff0f690000000000803540",
            Some(500),
            Some("°C"),
            true,
            true,
        ),
        (
            TAHU,
            "123d0a017810071880d095ffbc31200a28014a220a075175616c6974790a07656e67556e69741205080318f4031207080c4203c2b043690000000000803540",
            Some(500),
            Some("°C"),
            true,
            false,
        ),
        // Has the codes of good and bad the wrong way round: its good is 0.
        (
            SRAD,
            "122a0a017810071880d095ffbc31200a28014a0f0a075175616c697479120408031800690000000000803540",
            Some(0),
            None,
            true,
            false,
        ),
        // Without properties.
        (
            PYSPARKPLUG,
            "0880d095ffbc3112140a01781007200a280130016900000000008035401801",
            None,
            None,
            true,
            true,
        ),
    ];
    for (encoder, hex, quality, unit, is_historical, is_transient) in table {
        read(&bytes(hex), |payload| {
            let metric = &payload.metrics[0];
            assert_eq!((metric.quality, metric.unit), (quality, unit), "{encoder}");
            assert_eq!(metric.alias, Some(7));
            let marks = (metric.is_historical, metric.is_transient, metric.is_null);
            assert_eq!(marks, (is_historical, is_transient, false));
            assert_eq!(cell(metric), Cell::Float(21.5));
        })
        .unwrap();
    }
}

pub(in crate::record::decode::sparkplug) fn valid() -> Vec<Vec<u8>> {
    scalars()
        .into_iter()
        .map(|(_, hex, _, _)| hex)
        .chain(DATA_SETS.map(|(_, hex)| hex))
        .chain(TEMPLATES.map(|(_, hex)| hex))
        .map(bytes)
        .collect()
}
