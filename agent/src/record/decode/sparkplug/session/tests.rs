#![allow(clippy::unwrap_used)]

//! Payloads of the encoders named in the tests of `payload`.

mod bounds;
mod lifecycle;

use super::{Event, Reading, Rebirth, Resolution, Sequence, Session};
use crate::record::decode::{
    Reason, Reject,
    sparkplug::{
        data_type::DataType,
        payload::{Message, Metric, Payload, Template, Value, tests::bytes},
        topic::{EdgeTopic, Topic},
        value::Scalar,
    },
    value::Cell,
};

impl Session {
    /// Whether what the edge node or device said last is out of date: it is gone, or has not announced
    /// itself.
    pub(super) fn is_stale(&self, topic: EdgeTopic<'_>) -> bool {
        !self
            .node(topic)
            .is_some_and(|node| node.is_complete(topic.device))
    }
}

fn edge(topic: &str) -> EdgeTopic<'_> {
    match Topic::parse(topic) {
        Ok(Topic::Edge(edge)) => edge,
        other => panic!("{other:?}"),
    }
}

/// Resolves and applies; `look` sees the resolution in between.
fn take<T>(
    session: &mut Session,
    topic: &str,
    payload: Payload<'_>,
    look: impl FnOnce(&Resolution<'_>) -> T,
) -> Result<T, Reject> {
    let before = session.clone();
    let resolved = session
        .resolve(edge(topic), payload)
        .map(|(resolution, change)| (look(&resolution), change));
    assert_eq!(*session, before);
    let (seen, change) = resolved?;
    session.apply(change);
    Ok(seen)
}

fn take_hex<T>(
    session: &mut Session,
    topic: &str,
    hex: &str,
    look: impl FnOnce(&Resolution<'_>) -> T,
) -> T {
    let message = Message::decode(bytes(hex).into()).unwrap();
    take(session, topic, message.payload().unwrap(), look).unwrap()
}

fn named(name: &str, alias: Option<u64>) -> Metric<'_> {
    Metric {
        name: Some(name),
        alias,
        timestamp_ms: None,
        datatype: Some(DataType::Int16),
        is_null: false,
        is_historical: false,
        is_transient: false,
        quality: None,
        unit: None,
        value: Value::Scalar(Scalar::Int(0xFFFE)),
    }
}

/// As data come: by alias, without a type.
fn by_alias(alias: u64) -> Metric<'static> {
    Metric {
        name: None,
        datatype: None,
        ..named("", Some(alias))
    }
}

fn bd_seq(number: u64) -> Metric<'static> {
    Metric {
        value: Value::Scalar(Scalar::Long(number)),
        datatype: Some(DataType::Int64),
        ..named("bdSeq", None)
    }
}

fn payload(seq: u64, metrics: Vec<Metric<'_>>) -> Payload<'_> {
    Payload {
        timestamp_ms: Some(1_000 + seq),
        seq: Some(seq),
        metrics,
    }
}

/// Event, sequence, reason for a rebirth, and names with cells.
type Seen = (Event, Sequence, Option<Rebirth>, Vec<(String, String)>);

fn seen(resolution: &Resolution<'_>) -> Seen {
    let metrics = resolution.metrics.iter().map(|metric| {
        let value = match &metric.value {
            Reading::Cell(Cell::Integer(number)) => number.to_string(),
            Reading::Cell(cell) => format!("{cell:?}"),
            Reading::DataSet(data_set) => format!("{} rows", data_set.rows().count()),
        };
        (metric.name.to_string(), value)
    });
    (
        resolution.event,
        resolution.sequence,
        resolution.needs_rebirth,
        metrics.collect(),
    )
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

const NBIRTH: &str = "spBv1.0/g/NBIRTH/n";
const NDATA: &str = "spBv1.0/g/NDATA/n";
const NDEATH: &str = "spBv1.0/g/NDEATH/n";
const DBIRTH: &str = "spBv1.0/g/DBIRTH/n/d";
const DDATA: &str = "spBv1.0/g/DDATA/n/d";
const DDEATH: &str = "spBv1.0/g/DDEATH/n/d";
const DBIRTH_2: &str = "spBv1.0/g/DBIRTH/n/d2";
const DDATA_2: &str = "spBv1.0/g/DDATA/n/d2";

fn born() -> Session {
    let mut session = Session::default();
    let metrics = vec![bd_seq(3), named("level", Some(2))];
    take(&mut session, NBIRTH, payload(0, metrics), |_| ()).unwrap();
    session
}

#[test]
fn data_of_every_encoder_get_their_names_and_types_from_the_birth() {
    // Encoder, birth, data, names and values of the data.
    let sessions = [
        (
            "sparkplug-payload 1.0.3",
            "0880d095ffbc31120b0a0562645365712008580312130a0474656d701001200a69000000000080354012110a056c6576656c1002200250d4fdffff0f1800",
            "08e8d795ffbc31120d1001200a690000000000003640120a1002200250d3fdffff0f120d1009200a69000000000000f03f1801",
            &[("temp", "Float(22.0)"), ("level", "-301")][..],
            true,
        ),
        (
            // Leaves the types out.
            "pysparkplug 0.6.1",
            "0880d095ffbc3112120a0562645365711880d095ffbc3120045803121a0a0474656d7010011880d095ffbc31200a69000000000080354012160a056c6576656c10021880d095ffbc31200250d4fd031800",
            "08e8d795ffbc31121210011884d795ffbc31690000000000003640120d10021884d795ffbc3150d3fd03120c10091884d795ffbc3150ff011801",
            &[("temp", "Float(22.0)"), ("level", "-301")],
            true,
        ),
        (
            "srad-types 0.3.1",
            "0880d095ffbc31120b0a0562645365712004580312130a0474656d701001200a690000000000803540120f0a056c6576656c1002200250d4fd031800",
            "08e8d795ffbc31120d10021884d795ffbc3150d3fd031801",
            &[("level", "-301")],
            false,
        ),
    ];
    for (encoder, birth, data, expected, has_unknown) in sessions {
        let mut session = Session::default();
        let (event, sequence, rebirth, metrics) = take_hex(&mut session, NBIRTH, birth, seen);
        assert_eq!(
            (event, sequence, rebirth),
            (Event::Birth, Sequence::InOrder, None)
        );
        assert_eq!(
            metrics,
            pairs(&[("bdSeq", "3"), ("temp", "Float(21.5)"), ("level", "-300")])
        );
        let (event, sequence, rebirth, metrics) = take_hex(&mut session, NDATA, data, seen);
        assert_eq!(
            (event, sequence),
            (Event::Data, Sequence::InOrder),
            "{encoder}"
        );
        assert_eq!(metrics, pairs(expected), "{encoder}");
        assert_eq!(rebirth, has_unknown.then_some(Rebirth::UnknownAlias));
    }
    // By name, without a type.
    let mut session = Session::default();
    take_hex(&mut session, NBIRTH, sessions[1].1, |_| ());
    let data = "08e8d795ffbc3112120a056c6576656c1884d795ffbc3150d2fd031802";
    let (_, sequence, rebirth, metrics) = take_hex(&mut session, NDATA, data, seen);
    let (expected, came) = (1, 2);
    assert_eq!(sequence, Sequence::Gap { expected, came });
    assert_eq!(rebirth, Some(Rebirth::SequenceGap));
    assert_eq!(metrics, pairs(&[("level", "-302")]));
}

#[test]
fn unknown_aliases_are_counted_and_the_rest_is_taken() {
    let mut session = born();
    let metrics = vec![
        by_alias(7),
        by_alias(2),
        by_alias(7),
        by_alias(8),
        named("other", None),
    ];
    take(&mut session, NDATA, payload(1, metrics), |resolution| {
        let unknown: Vec<(u64, u64)> = resolution.unknown_aliases.clone().into_iter().collect();
        assert_eq!(unknown, [(7, 2), (8, 1)]);
        assert_eq!(
            seen(resolution).3,
            pairs(&[("level", "-2"), ("other", "-2")])
        );
        assert_eq!(resolution.needs_rebirth, Some(Rebirth::UnknownAlias));
    })
    .unwrap();
    assert_eq!(session.counters(edge(NDATA)).unwrap().unknown_aliases, 3);
}

#[test]
fn data_before_any_birth_are_taken_by_name() {
    let mut session = Session::default();
    let metrics = vec![by_alias(1), named("a", None)];
    let (event, sequence, rebirth, metrics) =
        take(&mut session, NDATA, payload(9, metrics), seen).unwrap();
    assert_eq!(
        (event, sequence, rebirth),
        (Event::Data, Sequence::Unknown, Some(Rebirth::NoBirth))
    );
    assert_eq!(metrics, pairs(&[("a", "-2")]));
    // Who has announced nothing is not remembered.
    assert_eq!(session, Session::default());
}

#[test]
fn devices_may_share_aliases() {
    let mut session = born();
    for (seq, topic, name) in [(1, DBIRTH, "speed"), (2, DBIRTH_2, "force")] {
        let metrics = vec![named(name, Some(2))];
        let (_, _, rebirth, _) = take(&mut session, topic, payload(seq, metrics), seen).unwrap();
        assert_eq!(rebirth, None);
    }
    for (seq, topic, name) in [
        (3, NDATA, "level"),
        (4, DDATA, "speed"),
        (5, DDATA_2, "force"),
    ] {
        let seen = take(&mut session, topic, payload(seq, vec![by_alias(2)]), seen).unwrap();
        assert_eq!(
            seen,
            (Event::Data, Sequence::InOrder, None, pairs(&[(name, "-2")]))
        );
    }
    // A device does not speak for another, nor for its node.
    let rebirth = |resolution: &Resolution<'_>| resolution.needs_rebirth;
    let unknown = take(
        &mut session,
        "spBv1.0/g/DDATA/n/d3",
        payload(6, vec![by_alias(2)]),
        rebirth,
    );
    assert_eq!(unknown, Ok(Some(Rebirth::NoBirth)));
}

fn template<'a>(name: &'a str, alias: Option<u64>, metrics: Vec<Metric<'a>>) -> Metric<'a> {
    Metric {
        datatype: Some(DataType::Template),
        value: Value::Template(Template {
            is_definition: false,
            metrics,
        }),
        ..named(name, alias)
    }
}

#[test]
fn templates_are_flattened_and_their_members_keep_their_types() {
    let mut session = Session::default();
    let definition = Metric {
        value: Value::Template(Template {
            is_definition: true,
            metrics: vec![named("rpm", None)],
        }),
        ..named("_types_/motor", None)
    };
    let inner = template("bearing", None, vec![named("temp", None)]);
    let motor = template("motor", Some(1), vec![named("rpm", None), inner]);
    let birth = payload(0, vec![definition, motor, named("_types_", Some(2))]);
    let (_, _, _, metrics) = take(&mut session, NBIRTH, birth, seen).unwrap();
    let expected = pairs(&[
        ("motor/rpm", "-2"),
        ("motor/bearing/temp", "-2"),
        ("_types_", "-2"),
    ]);
    assert_eq!(metrics, expected);
    let untyped = Metric {
        datatype: None,
        ..named("rpm", None)
    };
    let motor = Metric {
        name: None,
        datatype: None,
        ..template("", Some(1), vec![untyped])
    };
    let (_, _, _, metrics) = take(&mut session, NDATA, payload(1, vec![motor]), seen).unwrap();
    assert_eq!(metrics, pairs(&[("motor/rpm", "-2")]));

    let long = "x".repeat(300);
    for member in [named(&long, None), by_alias(1)] {
        let metrics = vec![template(&long, None, vec![member])];
        let refused = take(&mut session, NDATA, payload(2, metrics), |_| ()).unwrap_err();
        assert_eq!(refused.reason, Reason::NotSparkplug);
    }
}

#[test]
fn an_alias_of_two_names_stands_for_neither() {
    let mut session = Session::default();
    let metrics = vec![
        named("a", Some(0)),
        named("b", Some(0)),
        named("c", Some(1)),
        named("c", Some(1)),
    ];
    take(&mut session, NBIRTH, payload(0, metrics), |_| ()).unwrap();
    let (_, _, rebirth, metrics) = take(
        &mut session,
        NDATA,
        payload(1, vec![by_alias(0), named("b", Some(0)), by_alias(1)]),
        seen,
    )
    .unwrap();
    assert_eq!(rebirth, Some(Rebirth::UnknownAlias));
    assert_eq!(metrics, pairs(&[("b", "-2"), ("c", "-2")]));
}

#[test]
fn a_birth_without_names_is_refused() {
    let mut session = born();
    let refused = take(&mut session, NBIRTH, payload(0, vec![by_alias(1)]), |_| ()).unwrap_err();
    assert_eq!(refused.reason, Reason::NotSparkplug);
}
