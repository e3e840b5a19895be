//! What status and doctor say in the same words.

use crate::base::{progress::RecipeProgress, text, text::count};

/// Stream rules that never had a record.
pub(crate) fn silent(rules: &[String]) -> String {
    const NAMED_MAX: usize = 8;
    let named = rules[..rules.len().min(NAMED_MAX)].join(", ");
    let more = match rules.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("never a record of stream {named}{more}")
}

/// How far a recipe is towards its first models; `None` if it has all of them.
pub(crate) fn progress(of: &RecipeProgress) -> Option<String> {
    let recipe = &of.recipe;
    if of.streams == 0 {
        let pattern = text::printable(&of.pattern);
        return Some(format!("{recipe}: no stream is called `{pattern}`"));
    }
    (of.streams_waiting > 0).then(|| {
        let first = text::printable(&of.first);
        let (rows, needed) = (count(of.rows), count(of.rows_needed));
        let way = if of.waits_for_release {
            format!("{first} waits for a release or an import; {rows} of {needed} records to judge it by")
        } else if of.rows < of.rows_needed {
            format!("{rows} of {needed} records towards the first model of {first}")
        } else {
            format!("no model of {first} has passed yet (dunlin models list)")
        };
        format!(
            "{recipe}: {way}; {} of {} without one",
            of.streams_waiting,
            text::of(of.streams, "stream")
        )
    })
}
