//! What a publish says, once its metrics have their names.

use std::{borrow::Cow, collections::BTreeMap};

use super::super::{data_type::DataType, payload::DataSet};
use crate::record::decode::value::Cell;

/// What a publish says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolution<'a> {
    /// What happened.
    pub(crate) event: Event,
    /// Its values, those of templates flattened; none for deaths and commands.
    pub(crate) metrics: Vec<Resolved<'a>>,
    /// How often each alias came that nobody has announced; their values are left out.
    pub(crate) unknown_aliases: BTreeMap<u64, u64>,
    /// Whether messages before it are missing.
    pub(crate) sequence: Sequence,
    /// Whether the edge node should be asked to announce itself again, and the best reason for it.
    pub(crate) needs_rebirth: Option<Rebirth>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The node or device announced its metrics. With a node's birth its devices are forgotten until
    /// their own.
    Birth,
    /// A birth of the edge node that is known already came again; nothing changes.
    RepeatedBirth,
    /// Values.
    Data,
    /// The node with all its devices, or the device, is gone: what it said last is stale.
    Death,
    /// The death of a connection that the edge node has replaced since; nothing changes.
    OldDeath,
    /// A command, which is not for us.
    Command,
}

/// The place of a message among those of its edge node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It has no number, or none is known to compare with.
    Unknown,
    /// It begins or follows.
    InOrder,
    /// The number of the message before: most likely that message again.
    Repeated,
    /// Messages are missing, or came in another order.
    Gap {
        /// The number that would have followed.
        expected: u64,
        /// The number that came.
        came: u64,
    },
}

/// Why an edge node should be asked for its births.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebirth {
    /// It, or its device, has not announced its metrics, or not since its death.
    NoBirth,
    /// It sent an alias that it has not announced.
    UnknownAlias,
    /// What is missing may have been a birth.
    SequenceGap,
}

/// A metric with its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved<'a> {
    /// Its name; members of templates are called `TEMPLATE/MEMBER`.
    pub(crate) name: Cow<'a, str>,
    /// When it was measured, else when it was sent; milliseconds since 1970 UTC.
    pub(crate) timestamp_ms: Option<u64>,
    /// Its type, as it came or else as it was announced.
    pub(crate) datatype: Option<DataType>,
    /// Not the current value, but one from before.
    pub(crate) is_historical: bool,
    /// Not meant to be stored.
    pub(crate) is_transient: bool,
    /// 192 good, 0 bad, 500 stale; vendors have more.
    pub(crate) quality: Option<i32>,
    /// Its unit, if a property tells; usually in births alone.
    pub(crate) unit: Option<&'a str>,
    /// What it holds.
    pub(crate) value: Reading<'a>,
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading<'a> {
    /// One value; times are whole numbers of milliseconds since 1970 UTC.
    Cell(Cell<'a>),
    /// A table.
    DataSet(DataSet<'a>),
}
