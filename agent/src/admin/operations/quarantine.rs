//! Looking into the quarantine, and emptying it.

use std::collections::BTreeMap;

use dunlin_sync::quarantine::{Content, Item, Quarantine};
use serde::{Deserialize, Serialize};

use super::{Listener, Need, Operation, OperationError, OperationParts, Request};

const LIST_ITEMS_MAX: u64 = 10_000;
/// Characters of a topic or a detail in a summary.
const TEXT_CHARS_MAX: usize = 200;
/// Items removed at once.
const REMOVE_ITEMS_MAX: usize = 1_000;

/// Which items; those that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these; empty: any.
    pub ids: Vec<u64>,
    /// Only with this reason.
    pub reason: Option<String>,
    /// Only put there before this, nanoseconds UTC.
    pub before_ns: Option<i64>,
}

impl Selection {
    fn takes(&self, id: u64, item: &Item) -> bool {
        (self.ids.is_empty() || self.ids.contains(&id))
            && self.reason.as_ref().is_none_or(|r| *r == item.reason)
            && self.before_ns.is_none_or(|before| item.at_ns < before)
    }
}

/// One item, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub id: u64,
    /// When it was put there, nanoseconds UTC.
    pub at_ns: i64,
    /// Short name of the reason.
    pub reason: String,
    /// What exactly is wrong.
    pub detail: String,
    /// Records it held.
    pub records: u64,
    /// `publish` or `row`.
    pub kind: String,
    /// Topic of the publish or name of the stream, fit for a terminal.
    pub of: String,
    /// Payload bytes of a publish as sent.
    pub payload_bytes: Option<u64>,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Items.
    pub items: u64,
    /// Records in them.
    pub records: u64,
}

/// Bounded, and without control characters: fit for one line of a terminal.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(TEXT_CHARS_MAX) {
        if character.is_control() {
            short.extend(character.escape_debug());
        } else {
            short.push(character);
        }
    }
    if characters.next().is_some() {
        short.push_str("...");
    }
    short
}

/// Lists items, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListItems {
    /// Which.
    pub selection: Selection,
    /// At most this many.
    pub items_max: u64,
}

impl Operation for ListItems {
    type Answer = Vec<Summary>;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::List(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        _: &mut dyn Listener,
    ) -> Result<Vec<Summary>, OperationError> {
        let items_max = self.items_max.min(LIST_ITEMS_MAX) as usize;
        let mut summaries = Vec::new();
        let visited = parts.quarantine.visit(|id, item| {
            if summaries.len() < items_max && self.selection.takes(id, &item) {
                summaries.push(summary(id, item));
            }
            summaries.len() < items_max
        });
        visited.map_err(OperationError::failed)?;
        Ok(summaries)
    }
}

fn summary(id: u64, item: Item) -> Summary {
    let (kind, of, payload_bytes) = match (&item.content, item.content.publish()) {
        (Content::Row(row), _) => ("row", row.stream.clone(), None),
        (_, None) => ("publish", String::new(), None),
        (_, Some(publish)) => {
            let topic = String::from_utf8_lossy(publish.topic).into_owned();
            let kind = publish.missing.map_or("publish", |_| "partly stored");
            (kind, topic, Some(publish.payload_bytes))
        }
    };
    Summary {
        id,
        at_ns: item.at_ns,
        reason: item.reason,
        detail: shortened(&item.detail),
        records: item.records,
        kind: kind.to_owned(),
        of: shortened(&of),
        payload_bytes,
    }
}

/// Shows one item, if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowItem {
    /// Its number.
    pub id: u64,
}

impl Operation for ShowItem {
    type Answer = Option<Item>;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Show(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        _: &mut dyn Listener,
    ) -> Result<Option<Item>, OperationError> {
        parts
            .quarantine
            .get(self.id)
            .map_err(OperationError::failed)
    }
}

/// Counts what is in quarantine, by reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountItems(pub Selection);

impl Operation for CountItems {
    type Answer = BTreeMap<String, Quarantined>;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Count(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        _: &mut dyn Listener,
    ) -> Result<BTreeMap<String, Quarantined>, OperationError> {
        let mut by_reason: BTreeMap<String, Quarantined> = BTreeMap::new();
        let visited = parts.quarantine.visit(|id, item| {
            if self.0.takes(id, &item) {
                let held = by_reason.entry(item.reason).or_default();
                held.items += 1;
                held.records += item.records;
            }
            true
        });
        visited.map_err(OperationError::failed)?;
        Ok(by_reason)
    }
}

/// Deletes items; answers how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeItems(pub Selection);

impl Operation for PurgeItems {
    type Answer = u64;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Purge(self)
    }

    fn run(self, parts: &OperationParts, _: &mut dyn Listener) -> Result<u64, OperationError> {
        let (quarantine, selection) = (&parts.quarantine, &self.0);
        if *selection == Selection::default() {
            return quarantine.purge().map_err(OperationError::failed);
        }
        let mut removed = 0;
        for ids in ids(quarantine, selection)?.chunks(REMOVE_ITEMS_MAX) {
            removed += quarantine.remove(ids).map_err(OperationError::failed)?;
        }
        Ok(removed)
    }
}

/// The numbers of the items that `selection` takes, oldest first.
pub(super) fn ids(
    quarantine: &Quarantine,
    selection: &Selection,
) -> Result<Vec<u64>, OperationError> {
    let mut ids = Vec::new();
    let visited = quarantine.visit(|id, item| {
        if selection.takes(id, &item) {
            ids.push(id);
        }
        true
    });
    visited.map_err(OperationError::failed)?;
    Ok(ids)
}
