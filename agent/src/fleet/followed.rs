//! How far each line is followed.
//!
//! Promises: what was seen, and what the centre was told, survives a restart, in a file of its own. Where that
//! cannot be written, no release is taken.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use dunlin_sync::{
    centre::{Document, blobs::BlobHash},
    files::state_file,
};
use serde::{Deserialize, Serialize};

use crate::release::verdict::Verdict;

const FILE: &str = "followed";

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Highest serial of a release that was signed for us.
    serial: u64,
    /// SHA-256 of its document.
    document: [u8; 32],
    /// It has been taken up, or is not for us.
    is_done: bool,
    /// What the centre was told last.
    told: Option<Verdict>,
}

/// Whether there is something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// To be verified, or taken up again.
    Some,
    /// It may not come now, for this reason.
    Refused(String),
}

pub(super) struct Followed {
    path: PathBuf,
    lines: BTreeMap<String, Line>,
    /// The file lacks some of it.
    is_behind: bool,
    /// Serial of the document that was looked at last, whoever has signed it.
    looked_at: BTreeMap<String, u64>,
}

impl Followed {
    pub(super) fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let lines = state_file::read(&path).unwrap_or_else(|error| {
            tracing::error!(%error, "which releases were seen is forgotten");
            None
        });
        Self {
            path,
            lines: lines.unwrap_or_default(),
            is_behind: false,
            looked_at: BTreeMap::new(),
        }
    }

    /// Whether the newest document of a line is new.
    pub(super) fn news(&mut self, line: &str, document: &Document) -> News {
        self.looked_at.insert(line.to_owned(), document.serial);
        let Some(seen) = self.lines.get(line) else {
            return News::Some;
        };
        let (serial, newest) = (document.serial, seen.serial);
        if serial > newest {
            return News::Some;
        }
        if serial < newest {
            let what = format!("its serial is {serial}, and {newest} was seen already");
            return News::Refused(what);
        }
        if BlobHash::of(&document.bytes).0 != seen.document {
            let what = format!("it is another release than the {serial} that was seen");
            return News::Refused(what);
        }
        if seen.is_done { News::None } else { News::Some }
    }

    /// The release in this document was signed for us: durably, nothing earlier is taken from now on.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn seen(&mut self, line: &str, document: &Document) -> io::Result<()> {
        let known = self.lines.entry(line.to_owned()).or_default();
        let hash = BlobHash::of(&document.bytes).0;
        if (known.serial, known.document) == (document.serial, hash) && !self.is_behind {
            return Ok(());
        }
        *known = Line {
            serial: document.serial,
            document: hash,
            is_done: false,
            told: known.told.take(),
        };
        self.write()
    }

    /// The release that was seen last is taken up, or is not for us.
    pub(super) fn done(&mut self, line: &str) {
        if let Some(line) = self.lines.get_mut(line) {
            line.is_done = true;
            self.store();
        }
    }

    /// Serial of the document that was looked at last.
    pub(super) fn looked_at(&self, line: &str) -> u64 {
        self.looked_at.get(line).copied().unwrap_or(0)
    }

    /// Whether the centre was told just that last.
    pub(super) fn has_told(&self, line: &str, verdict: &Verdict) -> bool {
        let told = self.lines.get(line).and_then(|line| line.told.as_ref());
        told.is_some_and(|told| told.says_what(verdict))
    }

    /// The centre was told so.
    pub(super) fn told(&mut self, line: &str, verdict: Verdict) {
        self.lines.entry(line.to_owned()).or_default().told = Some(verdict);
        self.store();
    }

    fn write(&mut self) -> io::Result<()> {
        let written = state_file::write(&self.path, &self.lines);
        self.is_behind = written.is_err();
        written
    }

    fn store(&mut self) {
        if let Err(error) = self.write() {
            let path = self.path.display();
            // At worst the same is done once more.
            tracing::warn!(%path, %error, "cannot store which releases were seen");
        }
    }
}
