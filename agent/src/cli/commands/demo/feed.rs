//! What learning has to tell, read from the records that it writes about itself.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use dunlin_sync::{
    block::Section,
    rows::Values,
    sample::{Catalog, Schema, StreamId},
};

use super::setup::{RECIPE, STREAM};
use crate::{
    config::settings::StatusWords,
    learn::{EVENTS, PREDICTIONS, TASKS, scheduler::task::TaskKind},
};

/// Lines that wait to be told, at most; more are not worth reading.
const NEWS_MAX: usize = 100;

/// Gathers the feed from committed sections.
pub(super) struct Feed {
    words: StatusWords,
    /// Whether the latest answer about a machine flagged it.
    flags: HashMap<String, bool>,
    untold: VecDeque<String>,
}

impl Feed {
    pub(super) fn new(words: StatusWords) -> Self {
        Self {
            words,
            flags: HashMap::new(),
            untold: VecDeque::new(),
        }
    }

    /// Whether the latest answer about `machine` (such as `line1/machine3`) flagged it; `None` before
    /// the first.
    pub(super) fn flag(&self, machine: &str) -> Option<bool> {
        self.flags.get(machine).copied()
    }

    /// What has happened since the last call, a line each.
    pub(super) fn take_untold(&mut self) -> Vec<String> {
        self.untold.drain(..).collect()
    }

    /// Takes what `section` says about learning, if anything.
    pub(super) fn read(&mut self, section: &Section, schema: &Schema, catalog: &Catalog) {
        let prefix = format!("{}/{RECIPE}/{STREAM}/", schema.name);
        for (stream, rows) in runs(section) {
            let stream = catalog.stream(stream);
            let Some(machine) = stream.and_then(|stream| stream.name.strip_prefix(&prefix)) else {
                continue;
            };
            let text = |name: &str, row: usize| text(section, schema, name, row);
            match &*schema.name {
                PREDICTIONS => {
                    let Some(last) = rows.last() else { continue };
                    let column = schema.field("flag");
                    let column = column.and_then(|at| section.rows.columns.get(at));
                    if let Some(Values::Bool(flags)) = column.map(|column| &column.values) {
                        let flag = flags.get(last).copied().unwrap_or_default();
                        self.flags.insert(machine.to_owned(), flag);
                    }
                }
                TASKS => {
                    for row in rows {
                        let (kind, status) = (text("kind", row), text("status", row));
                        let what = self.task(kind, status, text("reason", row));
                        self.tell(machine, what);
                    }
                }
                EVENTS => {
                    for row in rows {
                        let what = match text("kind", row) {
                            "drift" => Some(format!("drift noticed ({})", text("what", row))),
                            "rolled_back" => Some(format!("taken back: {}", text("what", row))),
                            _ => None,
                        };
                        self.tell(machine, what);
                    }
                }
                _ => return,
            }
        }
    }

    fn task(&self, kind: &str, status: &str, reason: &str) -> Option<String> {
        let is_first = kind == TaskKind::Scratch.as_str();
        let what = if is_first { "first" } else { "fine-tuned" };
        if status == self.words.available {
            Some(format!("{what} model promoted"))
        } else if status == self.words.rejected {
            Some(format!("{what} model refused: {reason}"))
        } else if status == self.words.failed {
            Some(format!("no {what} model: {reason}"))
        } else if status == self.words.queued && !is_first {
            Some(format!("to be fine-tuned: {reason}"))
        } else {
            None
        }
    }

    fn tell(&mut self, machine: &str, what: Option<String>) {
        let Some(what) = what else { return };
        if self.untold.len() == NEWS_MAX {
            self.untold.pop_front();
        }
        self.untold.push_back(format!("{machine}: {what}"));
    }
}

/// The rows of each stream in `section`.
pub(super) fn runs(section: &Section) -> impl Iterator<Item = (StreamId, Range<usize>)> + '_ {
    let mut end = 0;
    section.runs.iter().map(move |run| {
        let start = end;
        end += run.rows as usize;
        (run.stream, start..end)
    })
}

fn text<'a>(section: &'a Section, schema: &Schema, name: &str, row: usize) -> &'a str {
    let column = schema.field(name);
    let column = column.and_then(|at| section.rows.columns.get(at));
    match column.map(|column| &column.values) {
        Some(Values::Text(texts)) => texts.get(row).map_or("", |text| text),
        _ => "",
    }
}

#[cfg(test)]
mod tests;
