//! What is read of the messages of `sparkplug_b.proto`; the fields left out are skipped.
//!
//! Texts are declared as bytes, which protobuf encodes alike. So they are not copied, one that is not UTF-8
//! is refused with its place, and one that nobody reads is not refused at all.

use prost::bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    #[prost(uint64, optional, tag = "1")]
    pub(super) timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    pub(super) metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) seq: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) uuid: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) name: Option<Bytes>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) datatype: Option<u32>,
    #[prost(bool, tag = "5")]
    pub(super) is_historical: bool,
    #[prost(bool, tag = "6")]
    pub(super) is_transient: bool,
    #[prost(bool, tag = "7")]
    pub(super) is_null: bool,
    #[prost(message, optional, boxed, tag = "9")]
    pub(super) properties: Option<Box<PropertySet>>,
    #[prost(oneof = "MetricValue", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub(super) value: Option<MetricValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum MetricValue {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(bytes = "bytes", tag = "15")]
    Text(Bytes),
    #[prost(bytes = "bytes", tag = "16")]
    Bytes(Bytes),
    #[prost(message, boxed, tag = "17")]
    DataSet(Box<DataSet>),
    #[prost(message, boxed, tag = "18")]
    Template(Box<Template>),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DataSet {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) columns: Vec<Bytes>,
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub(super) types: Vec<u32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Row {
    #[prost(message, repeated, tag = "1")]
    pub(super) elements: Vec<Element>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Element {
    #[prost(oneof = "ElementValue", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) value: Option<ElementValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ElementValue {
    #[prost(uint32, tag = "1")]
    Int(u32),
    #[prost(uint64, tag = "2")]
    Long(u64),
    #[prost(float, tag = "3")]
    Float(f32),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(bool, tag = "5")]
    Boolean(bool),
    #[prost(bytes = "bytes", tag = "6")]
    Text(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Template {
    #[prost(message, repeated, tag = "2")]
    pub(super) metrics: Vec<Metric>,
    #[prost(bool, tag = "5")]
    pub(super) is_definition: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PropertySet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) keys: Vec<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(super) values: Vec<Property>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Property {
    #[prost(oneof = "PropertyValue", tags = "3, 4, 8")]
    pub(super) value: Option<PropertyValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum PropertyValue {
    #[prost(uint32, tag = "3")]
    Int(u32),
    #[prost(uint64, tag = "4")]
    Long(u64),
    #[prost(bytes = "bytes", tag = "8")]
    Text(Bytes),
}
