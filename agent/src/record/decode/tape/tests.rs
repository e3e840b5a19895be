#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

impl Value<'_, '_> {
    /// Members of an object or elements of an array, counted anew each time; 0 of a scalar.
    pub(in super::super) fn len(self) -> usize {
        if self.is_object() {
            self.raw_members().count()
        } else {
            self.items().count()
        }
    }
}

/// Any JSON, with the numbers at the ends of what CBOR and `MessagePack` hold.
pub(in super::super) fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<f32>().prop_map(Into::into),
        (-40_i64..300).prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        "[a-z]{30,300}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..20)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Where a valid payload is to be changed, and to what.
pub(in super::super) fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)
}

/// Changes, inserts or takes away bytes, or cuts off the rest.
pub(in super::super) fn damaged(
    mut payload: Vec<u8>,
    damage: &[(prop::sample::Index, u8, u8)],
) -> Vec<u8> {
    for (place, byte, kind) in damage {
        if payload.is_empty() {
            break;
        }
        let place = place.index(payload.len());
        match kind {
            0 => payload[place] = *byte,
            1 => payload.insert(place, *byte),
            2 => {
                payload.remove(place);
            }
            _ => payload.truncate(place),
        }
    }
    payload
}

/// The value as JSON; panics for what JSON cannot write.
pub(in super::super) fn as_json(value: Value<'_, '_>) -> serde_json::Value {
    match value.as_scalar() {
        None if value.is_object() => value
            .members()
            .map(|(key, value)| (key.into_owned(), as_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        None => value.items().map(as_json).collect::<Vec<_>>().into(),
        Some(Cell::Null) => serde_json::Value::Null,
        Some(Cell::Bool(truth)) => (*truth).into(),
        Some(Cell::Number(text)) => serde_json::from_str(text).unwrap(),
        Some(Cell::Integer(integer)) => match u64::try_from(*integer) {
            Ok(integer) => integer.into(),
            Err(_) => i64::try_from(*integer).unwrap().into(),
        },
        Some(Cell::Float(number)) => serde_json::Number::from_f64(*number).unwrap().into(),
        Some(Cell::Text(text)) => text.as_ref().into(),
        Some(Cell::Bare(_) | Cell::Bytes(_)) => panic!("{value:?}"),
    }
}

/// The value in the style of RFC 8949's diagnostic notation.
pub(in super::super) fn notation(value: Value<'_, '_>) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value.as_scalar() {
        None if value.is_object() => {
            let members = value.raw_members();
            let members = members.map(|(key, value)| format!("{}: {}", cell(key), notation(value)));
            format!("{{{}}}", joined(members.collect()))
        }
        None => format!("[{}]", joined(value.items().map(notation).collect())),
        Some(scalar) => cell(scalar),
    }
}

fn cell(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Bool(truth) => truth.to_string(),
        Cell::Number(text) | Cell::Bare(text) => (*text).to_owned(),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Float(number) => format!("{number:?}"),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Bytes(bytes) => {
            let mut text = "h'".to_owned();
            for byte in *bytes {
                write!(text, "{byte:02x}").unwrap();
            }
            text + "'"
        }
    }
}

/// What `hexadecimal` says.
pub(in super::super) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<char> = hexadecimal.chars().filter(|digit| *digit != ' ').collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    pairs
        .map(|pair| u8::from_str_radix(&pair, 16).unwrap())
        .collect()
}

/// Every position a walk visits, which must be every node once.
pub(in super::super) fn check_whole(tape: &Tape<'_>, payload_bytes: usize) {
    fn visited(value: Value<'_, '_>) -> usize {
        let members: usize = value.members().map(|(_, value)| 1 + visited(value)).sum();
        let items: usize = value.items().map(visited).sum();
        1 + members + items
    }
    assert_eq!(visited(tape.root()), tape.nodes.len());
    assert!(tape.nodes.len() <= payload_bytes);
    assert!(tape.nodes.capacity() <= 2 * payload_bytes + 4);
}

fn path(keys: &[&str]) -> Vec<Box<str>> {
    keys.iter().map(|key| (*key).into()).collect()
}

/// `{"a": [1, {"b": "c", 5: true}, []], 2.5: null, "a": 7}`.
fn sample() -> Tape<'static> {
    let text = |text: &'static str| Cell::Text(text.into());
    let mut builder = TapeBuilder::new(0, Reason::NotJson);
    let object = builder.open_object().unwrap();
    builder.key(text("a")).unwrap();
    let array = builder.open_array().unwrap();
    builder.scalar(Cell::Integer(1)).unwrap();
    let inner = builder.open_object().unwrap();
    builder.key(text("b")).unwrap();
    builder.scalar(text("c")).unwrap();
    builder.key(Cell::Integer(5)).unwrap();
    builder.scalar(Cell::Bool(true)).unwrap();
    builder.close(inner);
    let empty = builder.open_array().unwrap();
    builder.close(empty);
    builder.close(array);
    builder.key(Cell::Float(2.5)).unwrap();
    builder.scalar(Cell::Null).unwrap();
    builder.key(text("a")).unwrap();
    builder.scalar(Cell::Integer(7)).unwrap();
    builder.close(object);
    builder.finish()
}

#[test]
fn a_node_is_as_small_as_its_cell() {
    assert!(size_of::<Node<'_>>() <= 32);
}

#[test]
fn values_lie_at_their_paths() {
    let tape = sample();
    for (keys, found) in [
        (&[][..], Some(notation(tape.root()))),
        (&["a"], Some("[1, {\"b\": \"c\", 5: true}, []]".to_owned())),
        (&["a", "0"], Some("1".to_owned())),
        (&["a", "1", "b"], Some("\"c\"".to_owned())),
        (&["a", "1", "5"], Some("true".to_owned())),
        (&["a", "2"], Some("[]".to_owned())),
        (&["2.5"], Some("null".to_owned())),
        (&["a", "3"], None),
        (&["a", "00"], None),
        (&["a", "01"], None),
        (&["a", "+1"], None),
        (&["a", "-"], None),
        (&["a", ""], None),
        (&["a", "99999999999999999999999"], None),
        (&["a", "2", "0"], None),
        (&["a", "0", "0"], None),
        (&["b"], None),
    ] {
        let value = tape.root().at(&path(keys));
        assert_eq!(value.map(notation), found, "{keys:?}");
    }
}

#[test]
fn objects_and_arrays_are_walked_and_counted() {
    let tape = sample();
    let root = tape.root();
    let keys: Vec<_> = root.members().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "2.5", "a"]);
    assert!(root.is_object() && !root.is_array() && root.as_scalar().is_none());
    assert_eq!(root.items().count(), 0);
    let array = root.at(&path(&["a"])).unwrap();
    assert!(array.is_array() && !array.is_object());
    assert_eq!(array.members().count(), 0);
    let lengths: Vec<_> = array.items().map(Value::len).collect();
    assert_eq!((root.len(), array.len()), (3, 3));
    assert_eq!(lengths, [0, 2, 0]);
    check_whole(&tape, 100);
}

#[test]
fn keys_must_be_texts_or_numbers() {
    for key in [Cell::Null, Cell::Bool(true), Cell::Bytes(b"a")] {
        let mut builder = TapeBuilder::new(0, Reason::NotJson);
        let _open = builder.open_object().unwrap();
        assert_eq!(builder.key(key).unwrap_err().reason, Reason::WrongType);
    }
}

#[test]
fn nodes_and_nesting_are_bounded() {
    let mut builder = TapeBuilder::new(usize::MAX, Reason::NotJson);
    for _ in 0..NODES_MAX {
        builder.scalar(Cell::Null).unwrap();
    }
    let reject = builder.scalar(Cell::Null).unwrap_err();
    assert_eq!(reject.reason, Reason::TooManyRecords);

    let mut builder = TapeBuilder::new(0, Reason::NotJson);
    for _ in 0..=NESTING_MAX {
        let _open = builder.open_array().unwrap();
    }
    let reject = builder.scalar(Cell::Null).unwrap_err();
    assert_eq!(reject.reason, Reason::NotJson);
}
