#![allow(clippy::unwrap_used)]

mod encoders;

pub(in crate::record::decode::sparkplug) use encoders::valid;

use proptest::prelude::*;

use super::{
    METRIC_NAME_BYTES_MAX, METRICS_MAX, Message, Metric, PAYLOAD_BYTES_MAX, Payload, Value,
    protobuf,
};
use crate::record::decode::{NESTING_MAX, Reason, Reject, value::Cell};

pub(in crate::record::decode::sparkplug) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
        .collect()
}

fn read<T>(payload: &[u8], look: impl FnOnce(&Payload<'_>) -> T) -> Result<T, Reject> {
    let message = Message::decode(payload.to_vec().into())?;
    let payload = message.payload()?;
    Ok(look(&payload))
}

fn cell<'a>(metric: &Metric<'a>) -> Cell<'a> {
    match metric.value {
        Value::Scalar(scalar) => scalar.cell(metric.datatype),
        _ => panic!("{metric:?}"),
    }
}

#[test]
fn a_unit_in_latin_1_is_no_reason_to_refuse() {
    let payload = one_metric(&protobuf::Metric {
        properties: Some(Box::new(protobuf::PropertySet {
            keys: vec![b"engUnit".to_vec().into()],
            values: vec![protobuf::Property {
                value: Some(protobuf::PropertyValue::Text(b"\xb0C".to_vec().into())),
            }],
        })),
        ..named(b"x")
    });
    read(&payload, |payload| {
        assert_eq!(payload.metrics[0].unit, None);
    })
    .unwrap();
}

fn named(name: &[u8]) -> protobuf::Metric {
    protobuf::Metric {
        name: Some(name.to_vec().into()),
        ..protobuf::Metric::default()
    }
}

fn one_metric(metric: &protobuf::Metric) -> Vec<u8> {
    encoded(vec![metric.clone()])
}

fn encoded(metrics: Vec<protobuf::Metric>) -> Vec<u8> {
    use prost::Message as _;
    protobuf::Payload {
        metrics,
        ..protobuf::Payload::default()
    }
    .encode_to_vec()
}

fn refusal(payload: &[u8]) -> (Reason, String) {
    let reject = read(payload, |_| ()).unwrap_err();
    assert!(reject.detail.len() <= 200, "{}", reject.detail);
    (reject.reason, reject.detail)
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert_eq!(refusal(b"{\"a\":1}").0, Reason::NotSparkplug);
    let (reason, detail) = refusal(&encoded(vec![named(b"x"), named(b"caf\xe9")]));
    assert_eq!(reason, Reason::NotUtf8);
    assert_eq!(detail, "metric 2: byte 3 of the name is not UTF-8");
    let (reason, detail) = refusal(&encoded(vec![named(b"")]));
    assert_eq!(reason, Reason::NotSparkplug);
    assert_eq!(detail, "metric 1 has neither name nor alias");
    let ragged = protobuf::Metric {
        value: Some(protobuf::MetricValue::DataSet(Box::new(
            protobuf::DataSet {
                columns: vec!["a".into(), "b".into()],
                types: vec![3, 3],
                rows: vec![protobuf::Row {
                    elements: vec![protobuf::Element { value: None }],
                }],
            },
        ))),
        ..named(b"x")
    };
    let (reason, detail) = refusal(&one_metric(&ragged));
    assert_eq!(reason, Reason::NotSparkplug);
    assert_eq!(
        detail,
        "metric 1 has 1 values in row 1 of its data set, but 2 columns"
    );
    let compressed = [&[0x22, 18][..], b"SPBV1.0_COMPRESSED"].concat();
    assert!(refusal(&compressed).1.contains("compressed"));
}

#[test]
fn an_empty_payload_is_one_without_metrics() {
    read(&[], |payload| assert_eq!(*payload, Payload::default())).unwrap();
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    // A metric, a name, bytes of 4 GiB each.
    for lie in ["12ffffffff0f", "12070affffffff0f", "12090a0178820affffff0f"] {
        assert_eq!(refusal(&bytes(lie)).0, Reason::NotSparkplug);
    }
}

#[test]
fn what_a_message_takes_is_in_proportion_to_its_bytes() {
    assert!(
        size_of::<protobuf::Metric>() <= 128,
        "{}",
        size_of::<protobuf::Metric>()
    );
    assert!(size_of::<protobuf::Element>() <= 40);
    assert!(size_of::<protobuf::Property>() <= 40);
}

fn nested(depth: usize) -> protobuf::Metric {
    let mut metric = named(b"leaf");
    for _ in 0..depth {
        metric = protobuf::Metric {
            value: Some(protobuf::MetricValue::Template(Box::new(
                protobuf::Template {
                    metrics: vec![metric],
                    is_definition: false,
                },
            ))),
            ..named(b"t")
        };
    }
    metric
}

#[test]
fn maxima_hold_to_the_one() {
    assert_eq!(
        read(&[0x12, 0].repeat(PAYLOAD_BYTES_MAX / 2), |_| ())
            .unwrap_err()
            .reason,
        Reason::TooManyRecords
    );
    assert_eq!(
        refusal(&vec![0x12; PAYLOAD_BYTES_MAX + 1]).0,
        Reason::TooLarge
    );

    assert_eq!(read(&one_metric(&nested(NESTING_MAX)), |_| ()), Ok(()));
    assert_eq!(
        refusal(&one_metric(&nested(NESTING_MAX + 1))).0,
        Reason::NotSparkplug
    );
    assert_eq!(refusal(&one_metric(&nested(200))).0, Reason::NotSparkplug);

    let metrics = |count| encoded(vec![named(b"x"); count]);
    assert_eq!(
        read(&metrics(METRICS_MAX), |payload| payload.metrics.len()),
        Ok(METRICS_MAX)
    );
    assert_eq!(refusal(&metrics(METRICS_MAX + 1)).0, Reason::TooManyRecords);

    let name = |bytes| one_metric(&named(&vec![b'x'; bytes]));
    assert_eq!(read(&name(METRIC_NAME_BYTES_MAX), |_| ()), Ok(()));
    assert_eq!(
        refusal(&name(METRIC_NAME_BYTES_MAX + 1)).0,
        Reason::NotSparkplug
    );
}

/// A valid payload, or several behind one another (which protobuf merges), with bytes changed.
pub(in crate::record::decode::sparkplug) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let parts = proptest::collection::vec(proptest::sample::select(valid()), 1..4);
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    (
        parts,
        changes,
        any::<proptest::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(parts, changes, end, is_cut)| {
            let mut payload = parts.concat();
            for (place, byte) in changes {
                let place = place.index(payload.len());
                payload[place] = byte;
            }
            if is_cut {
                payload.truncate(end.index(payload.len()));
            }
            payload
        })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&payload, |_| ());
    }

    #[test]
    fn mutated_payloads_are_read_or_refused(payload in mutated()) {
        let _ = read(&payload, |payload| {
            for metric in &payload.metrics {
                if let Value::Scalar(scalar) = metric.value {
                    let _ = scalar.cell(metric.datatype);
                }
            }
        });
    }
}
