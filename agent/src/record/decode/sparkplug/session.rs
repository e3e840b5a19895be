//! What a listener remembers of each edge node: the names behind aliases, types, sequence numbers.
//!
//! To be kept across restarts, as births are rare. [`Session::resolve`] changes nothing; what a publish
//! changes comes back as a [`Change`], for [`Session::apply`] once the publish has been taken.
//!
//! Aliases are looked up within the edge node, or the device, that announced them: 3.0 has them unique
//! over the whole edge node, but up to 2.2 devices shared them. They hold until the death of their edge node: if
//! it sends again, its birth has been missed, and its aliases may stand for other names now. After the death of
//! a device they hold as long as no number is missing among the messages.

mod flatten;
mod node;
mod resolution;
mod table;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use self::{
    flatten::flatten,
    node::{Device, Node},
    table::{Entry, Size, Table},
};
pub(crate) use self::{
    node::Counters,
    resolution::{Event, Reading, Rebirth, Resolution, Resolved, Sequence},
};
use super::{
    payload::{Payload, Value},
    topic::{EdgeTopic, MessageKind},
};
use crate::record::decode::{Reason, Reject, quoted, value::Cell};

/// Of the serialised form of a [`Session`]; another version cannot be read.
pub(crate) const VERSION: u32 = 1;
/// Most edge nodes remembered.
pub(crate) const NODES_MAX: usize = 1_024;
/// Most names of metrics and devices remembered of one edge node.
pub(crate) const NODE_NAMES_MAX: usize = 16_384;
/// Most names of metrics, devices and edge nodes remembered.
pub(crate) const NAMES_MAX: usize = 65_536;
/// Most bytes in those names.
pub(crate) const NAME_BYTES_MAX: usize = 4 << 20;

/// All edge nodes that have announced something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// By group and edge node.
    groups: BTreeMap<String, BTreeMap<String, Node>>,
    nodes: usize,
    size: Size,
}

/// What a publish changes in the session.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a session that does not apply its changes cannot name what comes next"]
pub(crate) struct Change<'t> {
    topic: EdgeTopic<'t>,
    update: Update,
    seq: Option<u64>,
    counters: Counters,
    needs_rebirth: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Update {
    Nothing,
    NodeBirth {
        birth_ms: Option<u64>,
        bd_seq: Option<u64>,
        table: Table,
    },
    DeviceBirth(Table),
    Death,
}

impl Change<'_> {
    /// Group and name of the edge node.
    pub(crate) fn edge_node(&self) -> (&str, &str) {
        (self.topic.group, self.topic.edge_node)
    }

    /// Whether the edge node should announce itself again (`Some(true)`), or has sent data in order. Births and
    /// deaths say neither: one that cannot be healed sends them, too.
    pub(crate) fn needs_rebirth(&self) -> Option<bool> {
        let is_data = self.topic.kind == MessageKind::Data;
        (is_data || self.needs_rebirth).then_some(self.needs_rebirth)
    }

    /// Whether names or births change, which is rare; otherwise sequence numbers and counters alone.
    pub(crate) fn is_structural(&self) -> bool {
        self.update != Update::Nothing
    }
}

impl Session {
    /// Names the metrics of a publish. Apply its change before the next publish is resolved.
    ///
    /// # Errors
    /// [`Reject`] for a birth with a metric without a name, or with more names than can be remembered, and
    /// for members of templates without a name or with too long a one.
    pub(crate) fn resolve<'a, 't>(
        &'a self,
        topic: EdgeTopic<'t>,
        payload: Payload<'a>,
    ) -> Result<(Resolution<'a>, Change<'t>), Reject> {
        let mut resolution = Resolution {
            event: Event::Data,
            metrics: Vec::new(),
            unknown_aliases: BTreeMap::new(),
            sequence: Sequence::Unknown,
            needs_rebirth: None,
        };
        let mut change = Change {
            topic,
            update: Update::Nothing,
            seq: None,
            counters: Counters::default(),
            needs_rebirth: false,
        };
        let node = self.node(topic);
        match (topic.kind, topic.device) {
            (MessageKind::Command, _) => {
                resolution.event = Event::Command;
                return Ok((resolution, change));
            }
            (MessageKind::Death, None) => {
                (resolution.event, change.update) =
                    match (node.and_then(|node| node.bd_seq), bd_seq(&payload)) {
                        (Some(born), Some(died)) if born != died => {
                            (Event::OldDeath, Update::Nothing)
                        }
                        _ => (Event::Death, Update::Death),
                    };
                return Ok((resolution, change));
            }
            (MessageKind::Birth, None) => {
                let birth_ms = payload.timestamp_ms;
                let bd_seq = bd_seq(&payload);
                let seq = payload.seq.unwrap_or(0);
                let table = birth(payload, &mut resolution.metrics)?;
                if node.is_some_and(|node| node.is_birth(birth_ms, bd_seq)) {
                    resolution.event = Event::RepeatedBirth;
                    resolution.sequence = Sequence::Repeated;
                    return Ok((resolution, change));
                }
                self.check_room(topic, &table)?;
                resolution.event = Event::Birth;
                resolution.sequence = Sequence::InOrder;
                change.seq = Some(seq);
                change.update = Update::NodeBirth {
                    birth_ms,
                    bd_seq,
                    table,
                };
                return Ok((resolution, change));
            }
            (MessageKind::Birth, Some(_)) => {
                resolution.event = Event::Birth;
                change.seq = payload.seq;
                let table = birth(payload, &mut resolution.metrics)?;
                self.check_room(topic, &table)?;
                change.update = Update::DeviceBirth(table);
            }
            (MessageKind::Death, Some(_)) => {
                resolution.event = Event::Death;
                change.seq = payload.seq;
                change.update = Update::Death;
            }
            (MessageKind::Data, _) => {
                change.seq = payload.seq;
                let table = node.and_then(|node| node.table_of(topic.device));
                let sequence = node.map_or(Sequence::Unknown, |node| node.sequence(change.seq));
                let holds = |node: &&Node| node.aliases_hold(topic.device, sequence);
                let aliases = table.filter(|_| node.as_ref().is_some_and(holds));
                data((table, aliases), payload, &mut resolution)?;
            }
        }
        resolution.sequence = node.map_or(Sequence::Unknown, |node| node.sequence(change.seq));
        // A device's birth or death needs that of its node alone.
        let device = topic.device.filter(|_| topic.kind == MessageKind::Data);
        resolution.needs_rebirth = if !node.is_some_and(|node| node.is_complete(device)) {
            Some(Rebirth::NoBirth)
        } else if !resolution.unknown_aliases.is_empty() {
            Some(Rebirth::UnknownAlias)
        } else if let Sequence::Gap { .. } = resolution.sequence {
            Some(Rebirth::SequenceGap)
        } else {
            None
        };
        change.needs_rebirth = resolution.needs_rebirth.is_some();
        change.counters = Counters {
            sequence_gaps: u64::from(matches!(resolution.sequence, Sequence::Gap { .. })),
            unknown_aliases: resolution.unknown_aliases.values().sum(),
        };
        Ok((resolution, change))
    }

    /// Remembers what a publish has changed.
    pub(crate) fn apply(&mut self, change: Change<'_>) {
        let topic = change.topic;
        match change.update {
            Update::Nothing => {}
            Update::NodeBirth {
                birth_ms,
                bd_seq,
                table,
            } => {
                let node = self.resized(topic, &table);
                node.is_born = true;
                node.birth_ms = birth_ms;
                node.bd_seq = bd_seq;
                node.table = table;
                node.devices.clear();
            }
            Update::DeviceBirth(table) => {
                let is_born = true;
                let name = topic.device.unwrap_or_default().to_owned();
                let node = self.resized(topic, &table);
                node.devices.insert(name, Device { is_born, table });
            }
            Update::Death => {
                if let Some(node) = self.node_mut(topic) {
                    node.die(topic.device);
                }
            }
        }
        if let Some(node) = self.node_mut(topic) {
            let counters = &mut node.counters;
            counters.sequence_gaps += change.counters.sequence_gaps;
            counters.unknown_aliases += change.counters.unknown_aliases;
            if change.seq.is_some() {
                node.last_seq = change.seq;
            }
        }
    }

    /// Devices of the edge node that have been born and have not died.
    pub(crate) fn born_devices(&self, topic: EdgeTopic<'_>) -> Vec<String> {
        let devices = self.node(topic).into_iter().flat_map(|node| &node.devices);
        let born = devices.filter(|(_, device)| device.is_born);
        born.map(|(name, _)| name.clone()).collect()
    }

    /// What went wrong with the edge node's messages; `None` for one that has never announced itself.
    pub(crate) fn counters(&self, topic: EdgeTopic<'_>) -> Option<Counters> {
        self.node(topic).map(|node| node.counters)
    }

    fn node(&self, topic: EdgeTopic<'_>) -> Option<&Node> {
        self.groups.get(topic.group)?.get(topic.edge_node)
    }

    fn node_mut(&mut self, topic: EdgeTopic<'_>) -> Option<&mut Node> {
        self.groups.get_mut(topic.group)?.get_mut(topic.edge_node)
    }

    /// The sizes of the edge node and of the session once `table` is in.
    fn sizes_with(&self, topic: EdgeTopic<'_>, table: &Table) -> (Size, Size) {
        let (node_before, session) = match self.node(topic) {
            Some(node) => (node.size, self.size.minus(node.size)),
            None => (Size::default(), self.size.plus(id_size(topic))),
        };
        let node_after = match topic.device {
            None => table.size(),
            Some(device) => {
                let held = self.node(topic).and_then(|node| node.devices.get(device));
                let before = held.map_or(Size::default(), |held| held.size(device));
                let after = Size::of_name(device).plus(table.size());
                node_before.minus(before).plus(after)
            }
        };
        (node_after, session.plus(node_after))
    }

    /// Forgets an edge node and its devices.
    fn forget(&mut self, topic: EdgeTopic<'_>) {
        let Some(nodes) = self.groups.get_mut(topic.group) else {
            return;
        };
        if let Some(node) = nodes.remove(topic.edge_node) {
            self.nodes = self.nodes.saturating_sub(1);
            self.size = self.size.minus(node.size).minus(id_size(topic));
        }
        if nodes.is_empty() {
            self.groups.remove(topic.group);
        }
    }

    /// Edge nodes that have died with all their devices, and may be forgotten for that of `topic`.
    fn dead_nodes<'s>(
        &'s self,
        topic: EdgeTopic<'s>,
    ) -> impl Iterator<Item = (EdgeTopic<'s>, &'s Node)> {
        let all = self.groups.iter().flat_map(move |(group, nodes)| {
            nodes.iter().map(move |(edge_node, node)| {
                let of = EdgeTopic {
                    group,
                    edge_node,
                    ..topic
                };
                (of, node)
            })
        });
        all.filter(move |(of, node)| {
            let is_own = (of.group, of.edge_node) == (topic.group, topic.edge_node);
            !is_own && !node.is_born && !node.devices.values().any(|device| device.is_born)
        })
    }

    /// Which bound `nodes` edge nodes with names of this size exceed.
    fn exceeded(nodes: usize, session: Size) -> Option<String> {
        if nodes > NODES_MAX {
            Some(format!("more than {NODES_MAX} edge nodes that are alive"))
        } else if session.names > NAMES_MAX {
            Some(format!("more than {NAMES_MAX} names over all edge nodes"))
        } else if session.bytes > NAME_BYTES_MAX {
            Some(format!(
                "more than {NAME_BYTES_MAX} bytes in the names of all edge nodes"
            ))
        } else {
            None
        }
    }

    /// Edge nodes there are with that of `topic`.
    fn nodes_with(&self, topic: EdgeTopic<'_>) -> usize {
        self.nodes + usize::from(self.node(topic).is_none())
    }

    /// Whether there is room for a birth, once the dead have given way.
    fn check_room(&self, topic: EdgeTopic<'_>, table: &Table) -> Result<(), Reject> {
        let (node, mut session) = self.sizes_with(topic, table);
        let mut nodes = self.nodes_with(topic);
        if Self::exceeded(nodes, session).is_some() {
            for (dead, node) in self.dead_nodes(topic) {
                session = session.minus(node.size).minus(id_size(dead));
                nodes -= 1;
            }
        }
        let full = if node.names > NODE_NAMES_MAX {
            let what = "names of metrics and devices in one edge node";
            Some(format!("more than {NODE_NAMES_MAX} {what}"))
        } else {
            Self::exceeded(nodes, session)
        };
        let Some(full) = full else { return Ok(()) };
        let name = quoted(topic.edge_node);
        Err(Reject::new(
            Reason::TooManyNames,
            format!("the birth of {name} is not taken: {full}"),
        ))
    }

    /// Forgets dead edge nodes until there is room for a birth.
    fn make_room(&mut self, topic: EdgeTopic<'_>, table: &Table) {
        loop {
            let (_, session) = self.sizes_with(topic, table);
            if Self::exceeded(self.nodes_with(topic), session).is_none() {
                return;
            }
            let dead = self.dead_nodes(topic).next();
            let dead = dead.map(|(of, _)| (of.group.to_owned(), of.edge_node.to_owned()));
            let Some((group, edge_node)) = dead else {
                return;
            };
            self.forget(EdgeTopic {
                group: &group,
                edge_node: &edge_node,
                ..topic
            });
        }
    }

    /// The edge node of a birth, new if need be, with the sizes as they will be.
    fn resized(&mut self, topic: EdgeTopic<'_>, table: &Table) -> &mut Node {
        self.make_room(topic, table);
        let (node_size, session_size) = self.sizes_with(topic, table);
        self.size = session_size;
        self.nodes += usize::from(self.node(topic).is_none());
        let nodes = self.groups.entry(topic.group.to_owned()).or_default();
        let node = nodes.entry(topic.edge_node.to_owned()).or_default();
        node.size = node_size;
        node
    }
}

fn id_size(topic: EdgeTopic<'_>) -> Size {
    Size {
        names: 1,
        bytes: topic.group.len() + topic.edge_node.len(),
    }
}

/// Number of the connection a node's birth or death belongs to.
fn bd_seq(payload: &Payload<'_>) -> Option<u64> {
    let metrics = &mut payload.metrics.iter();
    let metric = metrics.find(|metric| metric.name == Some("bdSeq"))?;
    let Value::Scalar(scalar) = metric.value else {
        return None;
    };
    match scalar.cell(metric.datatype) {
        Cell::Integer(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

/// Flattens the metrics of a birth and makes its table.
fn birth<'a>(payload: Payload<'a>, into: &mut Vec<Resolved<'a>>) -> Result<Table, Reject> {
    let entries: Option<Vec<Entry<'a>>> = payload.metrics.iter().map(Entry::of).collect();
    let entries = entries.ok_or_else(|| {
        Reject::new(
            Reason::NotSparkplug,
            "a metric of a birth has an alias, but no name",
        )
    })?;
    into.reserve(payload.metrics.len());
    for (metric, entry) in payload.metrics.into_iter().zip(&entries) {
        flatten(
            Cow::Borrowed(entry.name),
            metric,
            None,
            payload.timestamp_ms,
            into,
        )?;
    }
    Ok(Table::new(&entries, into))
}

/// Names the metrics of data by what its node or device has announced (`table`), and those that come without
/// a name as far as `aliases` still hold.
fn data<'a>(
    (table, aliases): (Option<&'a Table>, Option<&'a Table>),
    payload: Payload<'a>,
    resolution: &mut Resolution<'a>,
) -> Result<(), Reject> {
    resolution.metrics.reserve(payload.metrics.len());
    for mut metric in payload.metrics {
        let name = match (metric.name, metric.alias.unwrap_or_default()) {
            (Some(name), _) => name,
            (None, alias) => {
                let Some(announced) = aliases.and_then(|table| table.by_alias(alias)) else {
                    *resolution.unknown_aliases.entry(alias).or_default() += 1;
                    continue;
                };
                metric.datatype = metric.datatype.or(announced.datatype);
                &announced.name
            }
        };
        flatten(
            Cow::Borrowed(name),
            metric,
            table,
            payload.timestamp_ms,
            &mut resolution.metrics,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
