//! The text of the file, and the places in it.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::config::diagnostic::{Diagnostics, Origin};

/// No configuration is longer; a device file or a log named by mistake is.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of a file, and how to name places in it.
pub(in crate::config) struct Source {
    path: PathBuf,
    text: String,
    /// Byte at which each line starts.
    line_starts: Vec<usize>,
}

impl Source {
    /// SHA-256 of the file, in hexadecimal.
    pub(in crate::config) fn sha256(&self) -> String {
        let hash = Sha256::digest(self.text.as_bytes());
        hash.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ok = write!(text, "{byte:02x}");
            text
        })
    }

    /// As if `text` were in the file `path`.
    pub(in crate::config) fn of_text(path: &Path, text: String) -> Self {
        let newlines = text.match_indices('\n');
        let after = newlines.map(|(at, _)| at + 1);
        Self {
            path: path.to_owned(),
            line_starts: std::iter::once(0).chain(after).collect(),
            text,
        }
    }

    /// Reads a file.
    pub(in crate::config) fn open(path: &Path, found: &mut Diagnostics) -> Option<Self> {
        let origin = Origin::File {
            path: path.to_owned(),
            at: None,
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run dunlin as a user who may read it, or let its group do so: chmod 640, chgrp"
                }
                _ => "`dunlin init` writes one; name it with -c",
            };
            found.error(&origin, format!("cannot be read: {error}"), hint);
            return None;
        }
        if bytes.len() as u64 > FILE_BYTES_MAX {
            found.error(&origin, "is longer than 1 MiB", "name a dunlin.toml");
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(Self::of_text(path, text)),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = before.split(|b| *b == b'\n').count();
                let origin = Origin::File {
                    path: path.to_owned(),
                    at: Some((line, 1)),
                };
                found.error(&origin, "is not UTF-8", "save the file as UTF-8");
                None
            }
        }
    }

    /// Where `span` starts.
    pub(in crate::config) fn origin(&self, span: Range<usize>) -> Origin {
        let start = self.text.floor_char_boundary(span.start);
        let line = self
            .line_starts
            .partition_point(|line_start| *line_start <= start);
        let line_start = self.line_starts[line - 1];
        let column = self.text[line_start..start].chars().count() + 1;
        Origin::File {
            path: self.path.clone(),
            at: Some((line, column)),
        }
    }

    /// Parses the text as far as it goes; mistakes of syntax are reported, all of them.
    pub(in crate::config) fn parse(&self, found: &mut Diagnostics) -> DeTable<'_> {
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors {
            let end = self.text.len();
            let origin = self.origin(error.span().unwrap_or(end..end));
            found.error(
                &origin,
                format!("not TOML: {}", error.message()),
                "texts stand in quotes, tables in [brackets], each setting on its own line",
            );
        }
        document.into_inner()
    }
}
