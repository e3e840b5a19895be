//! A parsed payload as one flat list: to be walked more than once, and looked into by path.
//!
//! A node takes 32 bytes, and every node at least one byte of the payload; scalars borrow from it. So a
//! tape costs one allocation and no tree, whatever the payload says.

use std::{borrow::Cow, iter};

use super::{NESTING_MAX, Reason, Reject, value::Cell};

/// Most nodes of a tape.
pub(super) const NODES_MAX: usize = 1 << 21;

/// Bytes of payload per node in the readings of sensors, to start with: a key and a number take two
/// nodes and some 17 bytes.
const BYTES_PER_NODE: usize = 8;

/// One entry of a tape. `end` is the position behind the last node inside.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// A value, or a key of an object.
    Scalar(Cell<'a>),
    /// Keys, each with its value behind it, up to `end`.
    Object { end: u32 },
    /// Elements up to `end`.
    Array { end: u32 },
}

/// A parsed payload.
#[derive(Clone, Debug)]
pub(super) struct Tape<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Tape<'a> {
    /// The value of the whole payload.
    pub(super) fn root(&self) -> Value<'_, 'a> {
        Value {
            nodes: &self.nodes,
            position: 0,
        }
    }
}

/// One value of a tape, with all that lies inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'t, 'a> {
    nodes: &'t [Node<'a>],
    position: usize,
}

impl<'t, 'a> Value<'t, 'a> {
    /// `None`: an object or array.
    pub(super) fn as_scalar(self) -> Option<&'t Cell<'a>> {
        match self.node()? {
            Node::Scalar(cell) => Some(cell),
            Node::Object { .. } | Node::Array { .. } => None,
        }
    }

    pub(super) fn is_object(self) -> bool {
        matches!(self.node(), Some(Node::Object { .. }))
    }

    pub(super) fn is_array(self) -> bool {
        matches!(self.node(), Some(Node::Array { .. }))
    }

    /// Members of an object in the order of the payload, none of anything else. A key that is a number
    /// is written as a decimal. Keys may come twice.
    pub(super) fn members(self) -> impl Iterator<Item = (Cow<'t, str>, Self)> {
        self.raw_members()
            .map(|(key, value)| (key_text(key), value))
    }

    /// Members of an object with their keys as they came: a text, an integer or a float.
    pub(super) fn raw_members(self) -> impl Iterator<Item = (&'t Cell<'a>, Self)> {
        let mut nodes = self.children(self.is_object());
        iter::from_fn(move || Some((nodes.next()?.as_scalar()?, nodes.next()?)))
    }

    /// Elements of an array, none of anything else.
    pub(super) fn items(self) -> impl Iterator<Item = Self> {
        self.children(self.is_array())
    }

    /// The value that lies at `path`, the keys of a JSON pointer (RFC 6901) without their escapes; the
    /// number of an element from 0 in an array. Of a key that comes twice, the first counts. Looks at
    /// every key or element in front of the wanted one.
    pub(super) fn at(self, path: &[Box<str>]) -> Option<Self> {
        path.iter().try_fold(self, |value, key| value.child(key))
    }

    fn node(self) -> Option<&'t Node<'a>> {
        self.nodes.get(self.position)
    }

    /// The position behind this value.
    fn end(self) -> usize {
        match self.node() {
            Some(Node::Object { end } | Node::Array { end }) => *end as usize,
            Some(Node::Scalar(_)) | None => self.position + 1,
        }
    }

    /// What lies directly inside, the keys of an object among it; nothing unless `wanted`.
    fn children(self, wanted: bool) -> impl Iterator<Item = Self> {
        let end = if wanted { self.end() } else { 0 };
        let mut position = self.position + 1;
        iter::from_fn(move || {
            if position >= end {
                return None;
            }
            let child = Self { position, ..self };
            position = child.end();
            Some(child)
        })
    }

    fn child(self, key: &str) -> Option<Self> {
        if self.is_array() {
            self.items().nth(element_number(key)?)
        } else {
            let mut members = self.members();
            members.find_map(|(own, value)| (own == key).then_some(value))
        }
    }
}

fn key_text<'t>(key: &'t Cell<'_>) -> Cow<'t, str> {
    match key {
        Cell::Text(text) => Cow::Borrowed(text),
        Cell::Integer(integer) => Cow::Owned(integer.to_string()),
        Cell::Float(number) => Cow::Owned(number.to_string()),
        // No other key comes past the builder.
        _ => Cow::Borrowed(""),
    }
}

/// RFC 6901 knows neither signs nor leading zeros.
fn element_number(key: &str) -> Option<usize> {
    let is_plain = key == "0" || !key.starts_with(['0', '+']);
    key.parse().ok().filter(|_| is_plain)
}

/// Makes a tape, node by node. Its refusals do not say where: that is for the reader to add.
pub(super) struct TapeBuilder<'a> {
    nodes: Vec<Node<'a>>,
    depth: usize,
    malformed: Reason,
}

/// An object or array that is not closed yet: the position of its node.
#[must_use]
pub(super) struct Open(usize);

impl<'a> TapeBuilder<'a> {
    /// For a payload of so many bytes; `malformed` is the reason to refuse one nested too deep.
    pub(super) fn new(payload_bytes: usize, malformed: Reason) -> Self {
        let nodes = (payload_bytes / BYTES_PER_NODE + 1).min(NODES_MAX);
        Self {
            nodes: Vec::with_capacity(nodes),
            depth: 0,
            malformed,
        }
    }

    /// Adds a value.
    pub(super) fn scalar(&mut self, cell: Cell<'a>) -> Result<(), Reject> {
        self.push(Node::Scalar(cell))
    }

    /// Adds a key, to be followed by its value.
    pub(super) fn key(&mut self, cell: Cell<'a>) -> Result<(), Reject> {
        match cell {
            Cell::Text(_) | Cell::Integer(_) | Cell::Float(_) => self.push(Node::Scalar(cell)),
            _ => Err(not_a_key()),
        }
    }

    /// Begins an object, whose members follow.
    pub(super) fn open_object(&mut self) -> Result<Open, Reject> {
        self.open(Node::Object { end: 0 })
    }

    /// Begins an array, whose elements follow.
    pub(super) fn open_array(&mut self) -> Result<Open, Reject> {
        self.open(Node::Array { end: 0 })
    }

    /// Ends the object or array that was opened last.
    pub(super) fn close(&mut self, Open(position): Open) {
        self.depth -= 1;
        let behind = self.nodes.len() as u32;
        if let Some(Node::Object { end } | Node::Array { end }) = self.nodes.get_mut(position) {
            *end = behind;
        }
    }

    /// The tape, once its one value is complete.
    pub(super) fn finish(self) -> Tape<'a> {
        Tape { nodes: self.nodes }
    }

    fn open(&mut self, node: Node<'a>) -> Result<Open, Reject> {
        let position = self.nodes.len();
        self.push(node)?;
        self.depth += 1;
        Ok(Open(position))
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Reject> {
        if self.depth > NESTING_MAX || self.nodes.len() >= NODES_MAX {
            return Err(self.full());
        }
        self.nodes.push(node);
        Ok(())
    }

    #[cold]
    fn full(&self) -> Reject {
        if self.depth > NESTING_MAX {
            Reject::new(
                self.malformed,
                format!("nested deeper than {NESTING_MAX} levels"),
            )
        } else {
            Reject::new(
                Reason::TooManyRecords,
                format!("more than {NODES_MAX} keys and values"),
            )
        }
    }
}

/// The refusal of a key that could not be written as a field's name.
#[cold]
pub(super) fn not_a_key() -> Reject {
    Reject::new(
        Reason::WrongType,
        "a key that is neither a text nor a number",
    )
}

/// `reject` with the place it is about.
#[cold]
pub(super) fn located(reject: &Reject, at_byte: usize, payload: &[u8]) -> Reject {
    let detail = &reject.detail;
    Reject::new(
        reject.reason,
        format!("{detail} at byte {at_byte} of {}", payload.len()),
    )
}

#[cfg(test)]
pub(super) mod tests;
