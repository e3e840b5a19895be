//! Sealed generations that are open: a few kept for the next reader, and those that a reader still
//! holds, because one database cannot be open twice.

use std::sync::{Arc, Weak};

use crate::generation::Generation;

/// Sealed generations kept open for readers.
const RECENT_MAX: usize = 2;

#[derive(Default)]
pub(super) struct Handles {
    /// Kept open, most recently used last.
    recent: Vec<(u64, Arc<Generation>)>,
    /// Everything that may still be open.
    held: Vec<(u64, Weak<Generation>)>,
}

impl Handles {
    /// The generation `id`, if it is open.
    pub(super) fn find(&mut self, id: u64) -> Option<Arc<Generation>> {
        let held = self.held.iter().find(|(other, _)| *other == id);
        let generation = held.and_then(|(_, held)| held.upgrade())?;
        self.keep(id, &generation);
        Some(generation)
    }

    /// Closes the one used longest ago unless there is room for another.
    pub(super) fn make_room(&mut self) {
        let surplus = (self.recent.len() + 1).saturating_sub(RECENT_MAX);
        self.recent.drain(..surplus);
    }

    /// Keeps `generation` open.
    pub(super) fn keep(&mut self, id: u64, generation: &Arc<Generation>) {
        self.recent.retain(|(other, _)| *other != id);
        self.make_room();
        self.recent.push((id, Arc::clone(generation)));
        self.remember(id, generation);
    }

    /// Finds `generation` as long as a reader holds it, no longer.
    pub(super) fn remember(&mut self, id: u64, generation: &Arc<Generation>) {
        let open = |held: &Weak<Generation>| held.strong_count() > 0;
        self.held.retain(|(other, held)| *other != id && open(held));
        self.held.push((id, Arc::downgrade(generation)));
    }

    /// Closes the generation `id` for all but those who hold it.
    pub(super) fn forget(&mut self, id: u64) {
        self.recent.retain(|(other, _)| *other != id);
        self.held.retain(|(other, _)| *other != id);
    }
}
