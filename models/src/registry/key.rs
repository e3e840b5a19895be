//! Names of lines of models, and of the directories that hold them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sealed;

/// Most bytes of a recipe's or a stream's name.
pub const NAME_BYTES_MAX: usize = 1024;
/// Characters of the readable part of a directory's name.
const READABLE_CHARS_MAX: usize = 40;
/// Bytes of the hash that tells directories apart.
const HASH_BYTES: usize = 16;

/// Names a line of models: one recipe's models of one stream, version after version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelKey {
    /// Name of the recipe, as configured.
    pub recipe: String,
    /// Name of the stream.
    pub stream: String,
}

impl ModelKey {
    /// The line of `recipe` on `stream`.
    pub fn new(recipe: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            recipe: recipe.into(),
            stream: stream.into(),
        }
    }

    /// Name of its directory: what is readable of it, and a hash of all of it. Two keys never share
    /// one, on no file system: lower-case letters, digits, `-` and `_` alone.
    pub fn directory_name(&self) -> String {
        let mut hash = Sha256::new();
        // The length in front tells ("a", "bc") from ("ab", "c").
        hash.update((self.recipe.len() as u64).to_le_bytes());
        hash.update(&self.recipe);
        hash.update(&self.stream);
        let readable = self.recipe.chars().chain(['_']).chain(self.stream.chars());
        let mut name: String = readable
            .take(READABLE_CHARS_MAX)
            .map(|c| match c.to_ascii_lowercase() {
                c if c.is_ascii_alphanumeric() || c == '_' => c,
                _ => '-',
            })
            .collect();
        name.push('-');
        name.push_str(&sealed::hex(&hash.finalize()[..HASH_BYTES]));
        name
    }
}

/// Whether a directory's name could be that of a line; others are none of our business.
pub(super) fn is_directory_name(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, hash)| {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        hash.len() == 2 * HASH_BYTES && hash.bytes().all(is_digit)
    })
}

impl std::fmt::Display for ModelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (recipe, stream) = (self.recipe.escape_debug(), self.stream.escape_debug());
        write!(f, "\"{recipe}\" on \"{stream}\"")
    }
}

#[cfg(test)]
mod tests;
