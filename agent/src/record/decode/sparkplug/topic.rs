//! Sparkplug B topics: `spBv1.0/GROUP/MESSAGE_TYPE/EDGE_NODE[/DEVICE]` and `spBv1.0/STATE/HOST`.

use crate::record::decode::{Reason, Reject, quoted};

pub(super) const NAMESPACE: &str = "spBv1.0";

/// A topic of the Sparkplug B namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    /// A message of or to an edge node; its payload is protobuf.
    Edge(EdgeTopic<'a>),
    /// A host application came or went; its payload is JSON or, up to 2.2, bare text.
    State {
        /// The host's identifier.
        host: &'a str,
    },
}

/// Whose message, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EdgeTopic<'a> {
    /// The group the edge node belongs to.
    pub(crate) group: &'a str,
    /// The edge node, unique within its group.
    pub(crate) edge_node: &'a str,
    /// The device, unique within its edge node; `None` for the node's own messages.
    pub(crate) device: Option<&'a str>,
    /// What is said.
    pub(crate) kind: MessageKind,
}

/// What a message says; with and without a device, that is `DBIRTH` and `NBIRTH` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// All metrics, their names, aliases, types and current values.
    Birth,
    /// Values that changed.
    Data,
    /// The node or device is gone.
    Death,
    /// Sent to the node or device, not by it.
    Command,
}

impl<'a> Topic<'a> {
    /// Reads a topic name.
    ///
    /// # Errors
    /// [`Reason::BadTopic`] for one outside the namespace or not of its form.
    pub(crate) fn parse(topic: &'a str) -> Result<Self, Reject> {
        let mut levels = topic.split('/');
        if levels.next() != Some(NAMESPACE) {
            return Err(bad(topic, "does not begin with spBv1.0/"));
        }
        let levels = (
            levels.next(),
            levels.next(),
            levels.next(),
            levels.next(),
            levels.next(),
        );
        let parsed = match levels {
            (Some("STATE"), Some(host), None, None, None) => Self::State {
                host: id(topic, host)?,
            },
            (Some(group), Some(message_type), Some(edge_node), device, None) => {
                let (kind, of_device) = message_type_of(message_type)
                    .ok_or_else(|| bad(topic, "has an unknown message type at its third level"))?;
                if of_device != device.is_some() {
                    let detail = if of_device {
                        "lacks the device at its fifth level"
                    } else {
                        "has a device, but is about an edge node"
                    };
                    return Err(bad(topic, detail));
                }
                Self::Edge(EdgeTopic {
                    group: id(topic, group)?,
                    edge_node: id(topic, edge_node)?,
                    device: device.map(|device| id(topic, device)).transpose()?,
                    kind,
                })
            }
            _ => return Err(bad(topic, "has not 4 or 5 levels")),
        };
        Ok(parsed)
    }
}

/// The kind, and whether it is about a device.
fn message_type_of(level: &str) -> Option<(MessageKind, bool)> {
    Some(match level {
        "NBIRTH" => (MessageKind::Birth, false),
        "NDATA" => (MessageKind::Data, false),
        "NDEATH" => (MessageKind::Death, false),
        "NCMD" => (MessageKind::Command, false),
        "DBIRTH" => (MessageKind::Birth, true),
        "DDATA" => (MessageKind::Data, true),
        "DDEATH" => (MessageKind::Death, true),
        "DCMD" => (MessageKind::Command, true),
        _ => return None,
    })
}

fn id<'a>(topic: &str, level: &'a str) -> Result<&'a str, Reject> {
    if level.is_empty() {
        return Err(bad(topic, "has an empty level"));
    }
    if level.contains(['+', '#']) || level.chars().any(char::is_control) {
        return Err(bad(topic, "holds a wildcard or a control character"));
    }
    Ok(level)
}

fn bad(topic: &str, what: &str) -> Reject {
    Reject::new(Reason::BadTopic, format!("{} {what}", quoted(topic)))
}

#[cfg(test)]
mod tests;
