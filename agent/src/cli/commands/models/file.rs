//! Files that hold models.

use std::{fs::File, io::Read as _, path::Path};

use dunlin_models::registry::ARTIFACT_BYTES_MAX;

use crate::cli::commands::Exit;

/// Reads a file that might be a model: a regular one, not too long.
///
/// # Errors
/// [`Exit::Usage`]
pub fn read_model(path: &Path) -> Result<Vec<u8>, Exit> {
    let usage = |what: &dyn std::fmt::Display| Exit::Usage(format!("{}: {what}", path.display()));
    // Before it is opened: to open a pipe is to wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|error| usage(&error))?;
    if !metadata.is_file() {
        return Err(usage(&"is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| usage(&error))?;
    let read = file.take(ARTIFACT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| usage(&error))?;
    if bytes.len() as u64 > ARTIFACT_BYTES_MAX {
        let most = crate::base::text::bytes(ARTIFACT_BYTES_MAX as f64);
        return Err(usage(&format!("is larger than a model may be ({most})")));
    }
    Ok(bytes)
}
