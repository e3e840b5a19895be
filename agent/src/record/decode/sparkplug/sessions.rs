//! The session, kept in a file so that a restart needs no rebirth.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use dunlin_sync::files::state_file;
use serde::{Deserialize, Serialize};

use super::{
    session::{Change, NODES_MAX, Session, VERSION},
    topic::EdgeTopic,
};

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    session: Session,
}

/// What edge nodes have announced.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    path: PathBuf,
    session: Session,
    /// Not on disk as it is.
    is_dirty: bool,
    /// Edge nodes of which was told that something is missing.
    told: RefCell<BTreeSet<(String, String)>>,
}

impl Sessions {
    /// Those of a data directory.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self::load(data_dir.join("state").join("sparkplug"))
    }

    /// As the last run left them in `path`; empty if there was none, or none that can be read, which costs
    /// a rebirth.
    pub(crate) fn load(path: PathBuf) -> Self {
        let stored = state_file::read::<Stored>(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "what edge nodes have announced is forgotten until their next births");
            None
        });
        let stored = stored.filter(|stored| stored.version == VERSION);
        Self {
            path,
            session: stored.map(|stored| stored.session).unwrap_or_default(),
            is_dirty: false,
            told: RefCell::default(),
        }
    }

    pub(crate) fn current(&self) -> &Session {
        &self.session
    }

    /// Whether nobody has been told of this edge node yet; he is then.
    pub(super) fn is_news(&self, topic: EdgeTopic<'_>) -> bool {
        let mut told = self.told.borrow_mut();
        let node = (topic.group.to_owned(), topic.edge_node.to_owned());
        told.len() < NODES_MAX && told.insert(node)
    }

    /// The edge node begins anew.
    pub(super) fn forget_told(&self, topic: EdgeTopic<'_>) {
        let node = (topic.group.to_owned(), topic.edge_node.to_owned());
        self.told.borrow_mut().remove(&node);
    }

    /// Goes on from what a publish has changed.
    pub(crate) fn apply(&mut self, change: Change<'_>) {
        self.is_dirty |= change.is_structural();
        self.session.apply(change);
    }

    /// What names depend on is on disk then, if it has changed.
    pub(crate) fn save(&mut self) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let stored = Stored {
            version: VERSION,
            session: self.session.clone(),
        };
        if let Err(error) = state_file::write(&self.path, &stored) {
            tracing::warn!(
                %error,
                path = %self.path.display(),
                "what an edge node has announced is not on disk: after a restart it has to announce itself \
                 again"
            );
        }
    }
}
