//! Sealed generations that are open: a few kept for the next reader, for as long as there are readers, and
//! those that a reader still holds, because one database cannot be open twice.

use std::sync::{Arc, Weak};

use crate::generation::Generation;

/// Sealed generations kept open for readers.
const RECENT_MAX: usize = 2;

/// One that is kept open.
struct Recent {
    id: u64,
    _open: Arc<Generation>,
    /// Since [`Handles::close_unread`] last looked.
    was_read: bool,
}

#[derive(Default)]
pub(super) struct Handles {
    /// Kept open, most recently used last.
    recent: Vec<Recent>,
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
        self.recent.retain(|recent| recent.id != id);
        self.make_room();
        self.recent.push(Recent {
            id,
            _open: Arc::clone(generation),
            was_read: true,
        });
        self.remember(id, generation);
    }

    /// Closes those that nobody has read since the last call.
    pub(super) fn close_unread(&mut self) {
        self.recent
            .retain_mut(|recent| std::mem::take(&mut recent.was_read));
    }

    /// Finds `generation` as long as a reader holds it, no longer.
    pub(super) fn remember(&mut self, id: u64, generation: &Arc<Generation>) {
        let open = |held: &Weak<Generation>| held.strong_count() > 0;
        self.held.retain(|(other, held)| *other != id && open(held));
        self.held.push((id, Arc::downgrade(generation)));
    }

    /// Closes the generation `id` for all but those who hold it.
    pub(super) fn forget(&mut self, id: u64) {
        self.recent.retain(|recent| recent.id != id);
        self.held.retain(|(other, _)| *other != id);
    }
}
