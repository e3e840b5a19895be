//! What a birth announces: names, types and aliases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Resolved;
use crate::record::decode::sparkplug::{data_type::DataType, payload::Metric};

/// The metrics of one edge node or device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    /// In the order of their names.
    metrics: Vec<Announced>,
    /// Alias and place among the metrics, in the order of the aliases.
    aliases: Vec<(u64, u32)>,
}

/// A metric as its birth announced it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) name: String,
    pub(super) datatype: Option<DataType>,
}

/// A metric of a birth, before its templates are flattened.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) alias: Option<u64>,
    pub(super) datatype: Option<DataType>,
}

impl<'a> Entry<'a> {
    /// `None` if it has no name, which a birth must give.
    pub(super) fn of(metric: &Metric<'a>) -> Option<Self> {
        Some(Self {
            name: metric.name?,
            alias: metric.alias,
            datatype: metric.datatype,
        })
    }
}

impl Table {
    /// The table of a birth with these entries, flattened into these metrics.
    ///
    /// Of a name that comes twice the last type holds. An alias of two names stands for neither: some
    /// encoders give every metric the alias 0, and send names throughout.
    pub(super) fn new(entries: &[Entry<'_>], flattened: &[Resolved<'_>]) -> Self {
        let mut types = BTreeMap::new();
        types.extend(entries.iter().map(|entry| (entry.name, entry.datatype)));
        types.extend(flattened.iter().map(|leaf| (&*leaf.name, leaf.datatype)));
        let mut names = BTreeMap::new();
        for entry in entries {
            if let Some(alias) = entry.alias {
                names
                    .entry(alias)
                    .and_modify(|name| {
                        if *name != Some(entry.name) {
                            *name = None;
                        }
                    })
                    .or_insert(Some(entry.name));
            }
        }
        let metrics: Vec<Announced> = types
            .into_iter()
            .map(|(name, datatype)| Announced {
                name: name.to_owned(),
                datatype,
            })
            .collect();
        let mut table = Self {
            metrics,
            aliases: Vec::new(),
        };
        table.aliases = names
            .into_iter()
            .filter_map(|(alias, name)| Some((alias, table.place(name?)? as u32)))
            .collect();
        table
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Announced> {
        self.metrics.get(self.place(name)?)
    }

    pub(super) fn by_alias(&self, alias: u64) -> Option<&Announced> {
        let found = self.aliases.binary_search_by_key(&alias, |&(held, _)| held);
        let &(_, place) = self.aliases.get(found.ok()?)?;
        self.metrics.get(place as usize)
    }

    pub(super) fn size(&self) -> Size {
        self.metrics.iter().fold(Size::default(), |size, metric| {
            size.plus(Size::of_name(&metric.name))
        })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.metrics
            .binary_search_by(|held| held.name.as_str().cmp(name))
            .ok()
    }
}

/// Names, and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) names: usize,
    pub(super) bytes: usize,
}

impl Size {
    pub(super) fn of_name(name: &str) -> Self {
        Self {
            names: 1,
            bytes: name.len(),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            names: self.names.saturating_add(other.names),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            names: self.names.saturating_sub(other.names),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}
