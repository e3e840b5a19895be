//! What the columns of a Parquet file hold.

use dunlin_sync::sample::FieldType;
use parquet::{
    basic::{ConvertedType as Old, LogicalType, TimeUnit, Type as Physical},
    schema::types::ColumnDescriptor,
};

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Integer,
    /// Unsigned, in so many bits.
    Unsigned(u32),
    F32,
    F64,
    Text,
    /// Points in time, so many nanoseconds each; as UTC or as a clock shows them somewhere.
    Time(i64, bool),
    /// Nanoseconds in a Julian day, and the day.
    Int96,
    Days,
    /// With so many digits behind the point.
    Decimal(i32),
}

impl Kind {
    pub(super) fn is_time(self) -> bool {
        matches!(self, Self::Time(..) | Self::Int96 | Self::Days)
    }

    pub(super) fn field(self) -> FieldType {
        match self {
            Self::Bool => FieldType::Bool,
            Self::Integer | Self::Unsigned(_) => FieldType::I64,
            Self::F32 => FieldType::F32,
            Self::F64 | Self::Decimal(_) => FieldType::F64,
            Self::Text | Self::Time(..) | Self::Int96 | Self::Days => FieldType::Text,
        }
    }
}

/// What a column holds, or why it is left out.
pub(super) fn kind_of(column: &ColumnDescriptor) -> Result<Kind, &'static str> {
    if column.max_rep_level() > 0 || column.path().parts().len() != 1 {
        return Err("a list or a structure");
    }
    let unit_ns = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1_000,
        TimeUnit::NANOS => 1,
    };
    let logical = column.logical_type_ref();
    // What writers said before there were logical types, and old ones say still.
    let old = match logical {
        None => column.converted_type(),
        Some(_) => Old::NONE,
    };
    let is_decimal = matches!(logical, Some(LogicalType::Decimal(_))) || old == Old::DECIMAL;
    Ok(match (column.physical_type(), logical) {
        (Physical::BOOLEAN, _) => Kind::Bool,
        (Physical::INT64, Some(LogicalType::Timestamp(time))) => {
            Kind::Time(unit_ns(&time.unit), time.is_adjusted_to_u_t_c)
        }
        (Physical::INT64, None) if old == Old::TIMESTAMP_MILLIS => Kind::Time(1_000_000, true),
        (Physical::INT64, None) if old == Old::TIMESTAMP_MICROS => Kind::Time(1_000, true),
        (Physical::INT32, Some(LogicalType::Date)) => Kind::Days,
        (Physical::INT32, None) if old == Old::DATE => Kind::Days,
        (Physical::INT32 | Physical::INT64, _) if is_decimal => Kind::Decimal(column.type_scale()),
        (Physical::INT32, None) if matches!(old, Old::UINT_8 | Old::UINT_16 | Old::UINT_32) => {
            Kind::Unsigned(32)
        }
        (Physical::INT64, None) if old == Old::UINT_64 => Kind::Unsigned(64),
        (Physical::INT32, Some(LogicalType::Integer(integer))) if !integer.is_signed => {
            Kind::Unsigned(32)
        }
        (Physical::INT64, Some(LogicalType::Integer(integer))) if !integer.is_signed => {
            Kind::Unsigned(64)
        }
        (Physical::INT32 | Physical::INT64, _) => Kind::Integer,
        (Physical::INT96, _) => Kind::Int96,
        (Physical::FLOAT, _) => Kind::F32,
        (Physical::DOUBLE, _) => Kind::F64,
        (Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY, _) if is_decimal => {
            return Err("a long decimal");
        }
        (Physical::BYTE_ARRAY, _) => Kind::Text,
        (Physical::FIXED_LEN_BYTE_ARRAY, _) => return Err("bytes of a fixed length"),
    })
}
