//! Files of `dunlin export`, told by their columns, come back as they were.

use dunlin_sync::sample::Split;

use super::super::{Reason, Reject, quoted};

/// Columns that make a file one of ours.
const NEEDED: [&str; 4] = ["ts", "is_train", "fold", "stream"];
/// Columns of ours that hold no value.
pub const FIXED: [&str; 6] = ["ts", "time", "is_train", "fold", "source_ts", "stream"];
/// In front of the name of a tag.
pub const TAG: &str = "tag.";
/// In front of a field's name that would be taken for something else.
pub const FIELD: &str = "field.";

/// Where an export has what is not a value, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnColumns {
    /// Our timestamp.
    pub ts: usize,
    /// Train or validation.
    pub is_train: usize,
    /// Fold.
    pub fold: usize,
    /// The source's time.
    pub source_ts: Option<usize>,
    /// Name of the stream.
    pub stream: usize,
    /// Tags with their names.
    pub tags: Vec<(usize, String)>,
    /// Fields with their names.
    pub fields: Vec<(usize, String)>,
}

impl OwnColumns {
    /// Those of a file with these columns, if it is one of ours.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Option<Self> {
        let names: Vec<&str> = names.collect();
        let place = |name: &str| names.iter().position(|other| *other == name);
        let [ts, is_train, fold, stream] = NEEDED.map(place);
        let mut own = Self {
            ts: ts?,
            is_train: is_train?,
            fold: fold?,
            source_ts: place("source_ts"),
            stream: stream?,
            tags: Vec::new(),
            fields: Vec::new(),
        };
        for (column, name) in names.iter().enumerate() {
            if FIXED.contains(name) {
                continue;
            }
            if let Some(tag) = name.strip_prefix(TAG) {
                own.tags.push((column, tag.to_owned()));
            } else {
                let name = armed(name);
                let name = name.strip_prefix(FIELD).unwrap_or(name);
                own.fields.push((column, name.to_owned()));
            }
        }
        Some(own)
    }
}

/// Whether a spreadsheet would take it for a formula, however many apostrophes we have put before it.
pub fn is_formula(text: &str) -> bool {
    let text = text.trim_start_matches('\'');
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

/// The text without the apostrophe that an export has put in front.
pub fn armed(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest,
        _ => text,
    }
}

/// The split as an export writes it.
pub(super) fn split(is_train: &str, fold: &str) -> Result<Split, Reject> {
    let bad = |what: String| Reject::new(Reason::WrongType, what);
    Ok(Split {
        is_train: match is_train {
            "true" => true,
            "false" => false,
            other => return Err(bad(format!("is_train is {}", quoted(other)))),
        },
        fold: fold
            .parse()
            .map_err(|_| bad(format!("fold is {}: 0 to 255", quoted(fold))))?,
    })
}
