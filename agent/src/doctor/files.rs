//! The configuration's own file, and what works in it but is probably not meant.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use super::Findings;
use crate::config::Diagnostic;

const ABOUT: &str = "configuration";
const WRITABLE_BY_OTHERS: u32 = 0o022;

pub(super) fn examine(file: Option<&Path>, warnings: &[Diagnostic], found: &mut Findings) {
    if let Some(file) = file {
        writable(file, found);
    }
    for warning in warnings {
        let what = format!("{}: {}", warning.origin, warning.message);
        found.warning(ABOUT, what, warning.hint.clone());
    }
}

fn writable(file: &Path, found: &mut Findings) {
    let shown = file.display();
    match file.metadata() {
        Ok(meta) if meta.mode() & WRITABLE_BY_OTHERS != 0 => found.warning(
            ABOUT,
            format!("{shown}: other users may change it"),
            format!("chmod go-w {shown}"),
        ),
        Ok(_) => found.ok(ABOUT, format!("{shown} is understood")),
        Err(error) => found.problem(ABOUT, format!("{shown}: {error}"), "name a file"),
    }
}
