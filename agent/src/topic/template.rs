//! Where predictions are published: a topic with placeholders, one topic a stream.
//!
//! Promises: a topic that is accepted is one a broker takes, whatever the tags hold; and no filter for
//! which [`PublishTopic::may_match`] is false ever takes it, so an agent never feeds on its own
//! predictions.

use std::fmt;

use dunlin_sync::sample::{Schema, Stream};

/// Longest topic as written, bytes.
const BYTES_MAX: usize = 512;
/// The stream's name; the only placeholder that may span levels.
const STREAM: &str = "stream";
/// The recipe's name.
const RECIPE: &str = "recipe";

/// A piece of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

/// A topic such as `plant/{line}/{machine}/health`: tags of the stream, `{stream}`, `{recipe}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishTopic {
    text: String,
    pieces: Vec<Piece>,
}

/// A level of a topic as far as it is known beforehand.
enum KnownLevel {
    Literal(String),
    /// One level of whatever text.
    One,
    /// One or more levels of whatever text.
    Some,
}

impl PublishTopic {
    /// Reads a topic as written in the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(format!("has not 1 to {BYTES_MAX} bytes"));
        }
        if text.contains(['+', '#']) {
            return Err("holds a wildcard; a publish goes to one topic".into());
        }
        if text.starts_with('$') || text.starts_with('{') {
            return Err("must open with a text of its own, not with $ or a placeholder".into());
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character".into());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a { without a }")?;
            if name.is_empty() || name.contains('{') {
                return Err("has a placeholder without a name".into());
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        if pieces
            .iter()
            .any(|p| matches!(p, Piece::Text(text) if text.contains('}')))
        {
            return Err("has a } without a {".into());
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// Names of tags among its placeholders.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) if name != STREAM && name != RECIPE => Some(&**name),
            _ => None,
        })
    }

    /// The topic for a stream; `None` if it has no such tag.
    pub fn of(&self, recipe: &str, stream: &Stream, schema: &Schema) -> Option<String> {
        let mut topic = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => topic.push_str(text),
                Piece::Placeholder(name) if name == STREAM => {
                    topic.push_str(&sound(stream.plain_name(), true));
                }
                Piece::Placeholder(name) if name == RECIPE => topic.push_str(recipe),
                Piece::Placeholder(name) => {
                    let at = schema.tag_names.iter().position(|tag| tag == name)?;
                    topic.push_str(&sound(stream.tags.get(at)?, false));
                }
            }
        }
        Some(topic)
    }

    /// Whether an MQTT filter (`$share/group/` in front or not) may take one of its topics.
    pub fn may_match(&self, filter: &str) -> bool {
        let plain = match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, filter)| filter),
            None => filter,
        };
        let filter: Vec<&str> = plain.split('/').collect();
        meets(&filter, &self.levels())
    }

    fn levels(&self) -> Vec<KnownLevel> {
        let mut levels = vec![KnownLevel::Literal(String::new())];
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    for (at, part) in text.split('/').enumerate() {
                        if at > 0 {
                            levels.push(KnownLevel::Literal(String::new()));
                        }
                        if let Some(KnownLevel::Literal(literal)) = levels.last_mut() {
                            literal.push_str(part);
                        }
                    }
                }
                Piece::Placeholder(name) => {
                    let known = levels.pop();
                    let spans = name == STREAM || matches!(known, Some(KnownLevel::Some));
                    levels.push(if spans {
                        KnownLevel::Some
                    } else {
                        KnownLevel::One
                    });
                }
            }
        }
        levels
    }
}

impl fmt::Display for PublishTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether any topic of these levels matches the filter.
fn meets(filter: &[&str], topic: &[KnownLevel]) -> bool {
    let (Some((level, filter_rest)), Some((known, topic_rest))) =
        (filter.split_first(), topic.split_first())
    else {
        // A trailing # takes its parent too.
        return topic.is_empty() && (filter.is_empty() || filter == ["#"]);
    };
    if *level == "#" {
        return true;
    }
    match known {
        KnownLevel::Literal(literal) => {
            (*level == "+" || level == literal) && meets(filter_rest, topic_rest)
        }
        KnownLevel::One => meets(filter_rest, topic_rest),
        KnownLevel::Some => meets(filter_rest, topic_rest) || meets(filter_rest, topic),
    }
}

/// A value as part of a topic: what would change its levels or is not allowed becomes `_`.
fn sound(value: &str, spans_levels: bool) -> String {
    let is_bad = |c: char| "+#".contains(c) || c.is_control() || c == '/' && !spans_levels;
    if value.is_empty() {
        return "_".to_owned();
    }
    value
        .chars()
        .map(|c| if is_bad(c) { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
