//! Payloads as trees, for whoever looks into them before there is a rule.

use std::borrow::Cow;

use super::{Reject, cbor, inflate, json, msgpack, tape::Value, trimmed, value::Cell};
use crate::config::settings::{Compression, PayloadFormat};

/// What a payload is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A text.
    Text(String),
    /// Bytes of a binary format.
    Bytes,
    /// A list.
    List(Vec<Tree>),
    /// Members in the order of the payload.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// What lies under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        self.members()
            .iter()
            .find_map(|(own, value)| (own == key).then_some(value))
    }

    /// Its members; none of what is no object.
    pub(crate) fn members(&self) -> &[(String, Tree)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// Its elements; none of what is no list.
    pub(crate) fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it has no parts.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Object(_))
    }
}

/// The payload without its compression, of which the first bytes tell.
pub(crate) fn inflated(payload: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, Reject> {
    inflate::decompressed(payload, Compression::Auto, bytes_max)
}

/// The payload as JSON, CBOR or `MessagePack`, whichever `format` says.
pub(crate) fn tree(payload: &[u8], format: PayloadFormat) -> Option<Tree> {
    match format {
        PayloadFormat::Cbor => Some(of(cbor::tape_of_cbor(payload).ok()?.root())),
        PayloadFormat::MessagePack => Some(of(msgpack::tape_of_msgpack(payload).ok()?.root())),
        _ => {
            let text = trimmed(std::str::from_utf8(payload).ok()?);
            Some(of(json::tape(text).ok()?.root()))
        }
    }
}

/// Recursion ends with the nesting that a tape takes.
fn of(value: Value<'_, '_>) -> Tree {
    if value.is_object() {
        let members = value.members();
        return Tree::Object(
            members
                .map(|(key, value)| (key.into_owned(), of(value)))
                .collect(),
        );
    }
    match value.as_scalar() {
        None => Tree::List(value.items().map(of).collect()),
        Some(Cell::Null) => Tree::Null,
        Some(Cell::Bool(truth)) => Tree::Bool(*truth),
        Some(Cell::Bytes(_)) => Tree::Bytes,
        Some(Cell::Text(text)) => Tree::Text(text.clone().into_owned()),
        Some(number) => Tree::Number(number.text().unwrap_or_default().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_three_formats_give_the_same_tree() {
        let text = r#"{"a":{"b":[1,"x",true,null]}}"#;
        let json = tree(text.as_bytes(), PayloadFormat::Json).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut cbor = Vec::new();
        ciborium::into_writer(&value, &mut cbor).unwrap();
        assert_eq!(tree(&cbor, PayloadFormat::Cbor).unwrap(), json);
        let packed = rmp_serde::to_vec(&value).unwrap();
        assert_eq!(tree(&packed, PayloadFormat::MessagePack).unwrap(), json);
        let inner = json.get("a").and_then(|a| a.get("b")).unwrap();
        assert_eq!(inner.items()[0], Tree::Number("1".into()));
        assert_eq!(tree(b"{", PayloadFormat::Json), None);
    }
}
