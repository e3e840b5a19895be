//! From the protobuf bytes of a publish to its metrics.

use std::str;

use prost::{Message as _, bytes::Bytes};

use super::{
    data_type::DataType,
    protobuf::{self, ElementValue, MetricValue, PropertyValue},
    value::Scalar,
};
use crate::record::decode::{NESTING_MAX, Reason, Reject, value::Cell};

/// Longest payload: decoding may take 64 times its memory, half as much again for a moment, if it holds
/// nothing but empty metrics.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// Most metrics in one payload, the members of its templates among them.
pub(crate) const METRICS_MAX: usize = 16_384;
/// Longest name of a metric, with those of the templates it is in.
pub(crate) const METRIC_NAME_BYTES_MAX: usize = 512;
/// The `uuid` of payloads whose metrics are compressed.
const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";
/// Names under which vendors send a metric's unit; the specification has none.
const UNIT_KEYS: [&str; 2] = ["engUnit", "Engineering Units"];

/// A decoded protobuf message, which owns what a [`Payload`] borrows.
#[derive(Clone, Debug)]
pub(crate) struct Message(protobuf::Payload);

/// The metrics of one publish.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Payload<'a> {
    /// When it was sent, milliseconds since 1970 UTC.
    pub(crate) timestamp_ms: Option<u64>,
    /// Place among the messages of the edge node, 0 to 255 and round again.
    pub(crate) seq: Option<u64>,
    /// At most [`METRICS_MAX`], with those within them.
    pub(crate) metrics: Vec<Metric<'a>>,
}

/// One metric as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric<'a> {
    /// Its name; may be missing where there is an alias.
    pub(crate) name: Option<&'a str>,
    /// The number that stands for its name.
    pub(crate) alias: Option<u64>,
    /// When it was measured, milliseconds since 1970 UTC.
    pub(crate) timestamp_ms: Option<u64>,
    /// Its type; a birth tells it, data need not.
    pub(crate) datatype: Option<DataType>,
    /// Expressly without a value.
    pub(crate) is_null: bool,
    /// Not the current value, but one from before.
    pub(crate) is_historical: bool,
    /// Not meant to be stored.
    pub(crate) is_transient: bool,
    /// Its property `Quality`: 192 good, 0 bad, 500 stale; vendors have more.
    pub(crate) quality: Option<i32>,
    /// Its unit, if a property tells.
    pub(crate) unit: Option<&'a str>,
    /// What it holds.
    pub(crate) value: Value<'a>,
}

/// What a metric holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// One value.
    Scalar(Scalar<'a>),
    /// A table.
    DataSet(DataSet<'a>),
    /// A group of metrics.
    Template(Template<'a>),
}

/// A table; the names of its columns need not differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DataSet<'a> {
    /// Its columns.
    pub(crate) columns: Vec<Column<'a>>,
    cells: Vec<Cell<'a>>,
}

/// A column of a [`DataSet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The type of its cells.
    pub(crate) datatype: Option<DataType>,
}

/// A group of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Template<'a> {
    /// Tells what its instances look like; its values are none that were measured.
    pub(crate) is_definition: bool,
    /// Its members.
    pub(crate) metrics: Vec<Metric<'a>>,
}

impl<'a> DataSet<'a> {
    /// Its rows, each with one cell for each column.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Cell<'a>]> {
        self.cells.chunks_exact(self.columns.len().max(1))
    }
}

impl Message {
    /// Decodes the protobuf bytes of a publish of or to an edge node.
    ///
    /// # Errors
    /// [`Reason::NotSparkplug`] for other bytes, and for a compressed payload; [`Reason::TooLarge`] for more
    /// than [`PAYLOAD_BYTES_MAX`].
    pub(crate) fn decode(payload: Bytes) -> Result<Self, Reject> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let detail = format!("more than {PAYLOAD_BYTES_MAX} bytes; send several payloads");
            return Err(Reject::new(Reason::TooLarge, detail));
        }
        let message = protobuf::Payload::decode(payload).map_err(|error| {
            let mut detail = error.to_string();
            // With templates in templates, prost names every level.
            detail.truncate(detail.floor_char_boundary(200));
            Reject::new(Reason::NotSparkplug, detail)
        })?;
        if message.uuid.as_deref() == Some(COMPRESSED) {
            return Err(Reject::new(
                Reason::NotSparkplug,
                "the payload is compressed (SPBV1.0_COMPRESSED), which is not supported",
            ));
        }
        Ok(Self(message))
    }

    /// Its metrics.
    ///
    /// # Errors
    /// [`Reject`] for a text that is not UTF-8, a metric with neither name nor alias, a data set whose rows
    /// differ in length, and for more than [`METRICS_MAX`], [`METRIC_NAME_BYTES_MAX`] or [`NESTING_MAX`].
    pub(crate) fn payload(&self) -> Result<Payload<'_>, Reject> {
        let mut reader = Reader::default();
        Ok(Payload {
            timestamp_ms: self.0.timestamp,
            seq: self.0.seq,
            metrics: reader.metrics(&self.0.metrics, 0)?,
        })
    }
}

/// Metrics read so far; the number, from 1, of the one an error is in.
#[derive(Default)]
struct Reader {
    metrics: usize,
}

impl Reader {
    fn metrics<'a>(
        &mut self,
        metrics: &'a [protobuf::Metric],
        depth: usize,
    ) -> Result<Vec<Metric<'a>>, Reject> {
        if self.metrics + metrics.len() > METRICS_MAX {
            return Err(Reject::new(
                Reason::TooManyRecords,
                format!("more than {METRICS_MAX} metrics in one publish; send several"),
            ));
        }
        let mut read = Vec::with_capacity(metrics.len());
        for metric in metrics {
            read.push(self.metric(metric, depth)?);
        }
        Ok(read)
    }

    fn metric<'a>(
        &mut self,
        metric: &'a protobuf::Metric,
        depth: usize,
    ) -> Result<Metric<'a>, Reject> {
        self.metrics += 1;
        let name = match metric.name.as_deref() {
            // What an encoder that has defaults for everything sends for no name.
            None | Some([]) => None,
            Some(name) => Some(self.text(name, "the name")?),
        };
        if name.is_none() && metric.alias.is_none() {
            return Err(self.bad("has neither name nor alias"));
        }
        if name.is_some_and(|name| name.len() > METRIC_NAME_BYTES_MAX) {
            let detail = format!("has a name of more than {METRIC_NAME_BYTES_MAX} bytes");
            return Err(self.bad(&detail));
        }
        let value = match metric.value.as_ref().filter(|_| !metric.is_null) {
            None => Value::Scalar(Scalar::Null),
            Some(MetricValue::DataSet(data_set)) => Value::DataSet(self.data_set(data_set)?),
            Some(MetricValue::Template(_)) if depth == NESTING_MAX => {
                return Err(self.bad("is nested too deep"));
            }
            Some(MetricValue::Template(template)) => Value::Template(Template {
                is_definition: template.is_definition,
                metrics: self.metrics(&template.metrics, depth + 1)?,
            }),
            Some(MetricValue::Int(raw)) => Value::Scalar(Scalar::Int(*raw)),
            Some(MetricValue::Long(raw)) => Value::Scalar(Scalar::Long(*raw)),
            Some(MetricValue::Float(number)) => Value::Scalar(Scalar::Float(*number)),
            Some(MetricValue::Double(number)) => Value::Scalar(Scalar::Double(*number)),
            Some(MetricValue::Boolean(truth)) => Value::Scalar(Scalar::Boolean(*truth)),
            Some(MetricValue::Text(text)) => {
                Value::Scalar(Scalar::Text(self.text(text, "the value")?))
            }
            Some(MetricValue::Bytes(bytes)) => Value::Scalar(Scalar::Bytes(bytes)),
        };
        let properties = metric.properties.as_deref();
        Ok(Metric {
            name,
            alias: metric.alias,
            timestamp_ms: metric.timestamp,
            datatype: metric.datatype.and_then(DataType::from_code),
            is_null: metric.is_null,
            is_historical: metric.is_historical,
            is_transient: metric.is_transient,
            quality: properties.and_then(quality),
            unit: properties.and_then(unit),
            value,
        })
    }

    fn data_set<'a>(&self, data_set: &'a protobuf::DataSet) -> Result<DataSet<'a>, Reject> {
        let types = data_set.types.iter().map(|&code| DataType::from_code(code));
        let types = types.chain(std::iter::repeat(None));
        let columns: Vec<Column<'_>> = data_set
            .columns
            .iter()
            .zip(types)
            .map(|(name, datatype)| {
                let name = self.text(name, "the name of a column")?;
                Ok(Column { name, datatype })
            })
            .collect::<Result<_, Reject>>()?;
        let mut cells = Vec::new();
        for (row, number) in data_set.rows.iter().zip(1_usize..) {
            if row.elements.len() != columns.len() {
                return Err(self.bad(&format!(
                    "has {} values in row {number} of its data set, but {} columns",
                    row.elements.len(),
                    columns.len(),
                )));
            }
            for (element, column) in row.elements.iter().zip(&columns) {
                let scalar = match &element.value {
                    None => Scalar::Null,
                    Some(ElementValue::Int(raw)) => Scalar::Int(*raw),
                    Some(ElementValue::Long(raw)) => Scalar::Long(*raw),
                    Some(ElementValue::Float(number)) => Scalar::Float(*number),
                    Some(ElementValue::Double(number)) => Scalar::Double(*number),
                    Some(ElementValue::Boolean(truth)) => Scalar::Boolean(*truth),
                    Some(ElementValue::Text(text)) => {
                        Scalar::Text(self.text(text, "a cell of the data set")?)
                    }
                };
                cells.push(scalar.cell(column.datatype));
            }
        }
        Ok(DataSet { columns, cells })
    }

    fn text<'a>(&self, bytes: &'a [u8], what: &str) -> Result<&'a str, Reject> {
        str::from_utf8(bytes).map_err(|error| {
            Reject::new(
                Reason::NotUtf8,
                format!(
                    "metric {}: byte {} of {what} is not UTF-8",
                    self.metrics,
                    error.valid_up_to(),
                ),
            )
        })
    }

    fn bad(&self, what: &str) -> Reject {
        Reject::new(
            Reason::NotSparkplug,
            format!("metric {} {what}", self.metrics),
        )
    }
}

/// A property that is there under one of `keys`.
fn property<'a>(set: &'a protobuf::PropertySet, keys: &[&str]) -> Option<&'a PropertyValue> {
    let pairs = set.keys.iter().zip(&set.values);
    let (_, property) = pairs
        .into_iter()
        .find(|(name, _)| keys.iter().any(|key| key.as_bytes() == **name))?;
    property.value.as_ref()
}

fn quality(set: &protobuf::PropertySet) -> Option<i32> {
    match *property(set, &["Quality"])? {
        PropertyValue::Int(raw) => Some(raw as i32),
        PropertyValue::Long(raw) => i32::try_from(raw as i64).ok(),
        PropertyValue::Text(_) => None,
    }
}

/// A unit that is not UTF-8, as a degree sign in Latin-1, is none.
fn unit(set: &protobuf::PropertySet) -> Option<&str> {
    match property(set, &UNIT_KEYS)? {
        PropertyValue::Text(text) => str::from_utf8(text).ok(),
        PropertyValue::Int(_) | PropertyValue::Long(_) => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
