//! Topic filters with captures: which topics a stream rule takes, and which of their levels become tags.
//!
//! Promises: [`TopicFilter::parse`] accepts what a broker accepts and a tag can be named after, and
//! says where and why otherwise; matching follows MQTT (a filter that opens with a wildcard does not
//! take topics that open with `$`; `a/#` takes `a` itself too, with an empty capture).

pub(crate) mod cover;
#[cfg(feature = "learning")]
pub mod template;

use std::fmt;

/// Longest filter, bytes: what MQTT can carry.
const FILTER_BYTES_MAX: usize = 65_535;
/// Longest tag name, bytes.
const TAG_NAME_BYTES_MAX: usize = 64;

/// What one level of a filter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// This text and no other.
    Literal(Box<str>),
    /// `+`, `+name` or `{field}`: any one level.
    One(Use),
    /// `#`, `#name` or `#{field}`, always last: this level and all below it, or none.
    Rest(Use),
}

/// What becomes of what a wildcard takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Nothing,
    Tag,
    /// It names the field.
    Field,
}

/// Stands for the level that names the field.
pub(crate) const FIELD: &str = "{field}";

/// A topic filter whose named wildcards become tags: `plant/+line/+machine/vibration`.
///
/// `+name` captures one level, a trailing `#name` all levels from there on, joined with `/`. A bare
/// `+` or `#` matches and is not a tag: **topics that differ only there share one stream**, so name
/// every wildcard that tells two machines apart. `{field}` takes one level, `#{field}` all from there on,
/// joined with `.`: what is published there is the field of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter {
    text: String,
    /// `$share/group/`, or empty.
    share: Box<str>,
    levels: Vec<Level>,
    tag_names: Vec<String>,
}

/// Why a topic filter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic filter, character {position}: {problem}")]
pub struct TopicError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// What the named wildcards of a filter took from one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures<'t> {
    values: Vec<&'t str>,
    field: Option<&'t str>,
}

impl<'t> Captures<'t> {
    /// One value per name of [`TopicFilter::tag_names`], in that order.
    pub fn values(&self) -> &[&'t str] {
        &self.values
    }

    /// What the topic says the field is called, its levels divided by `/`.
    pub fn field(&self) -> Option<&'t str> {
        self.field
    }
}

impl TopicFilter {
    /// Reads a filter as written in the configuration; `$share/group/...` is taken too.
    ///
    /// # Errors
    /// [`TopicError`] with the position of what no broker would take, of a tag name outside
    /// `[a-zA-Z_][a-zA-Z0-9_]{0,63}`, taken twice (in whatever case) or called `device`, and of a
    /// level that [`route`](crate::record::route) would never let through.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(TopicError {
                position: 1,
                problem: format!("{} bytes; the most is {FILTER_BYTES_MAX}", text.len()),
            });
        }
        let share_bytes = share_prefix(text)?;
        let (share, plain) = text.split_at(share_bytes);
        if plain.is_empty() {
            return Err(error_at(
                text,
                share_bytes,
                "nothing to subscribe to; write for example `plant/+line/+machine/vibration`",
            ));
        }
        let mut levels = Vec::new();
        let mut tag_names: Vec<String> = Vec::new();
        let mut offset = share_bytes;
        for level in plain.split('/') {
            if matches!(levels.last(), Some(Level::Rest(_))) {
                return Err(error_at(
                    text,
                    offset - 1,
                    "`#` takes all that follows and must come last",
                ));
            }
            let wildcard = level.chars().next().filter(|first| "+#".contains(*first));
            let wildcard = wildcard.or((level == FIELD).then_some('+'));
            let Some(wildcard) = wildcard else {
                check_literal(text, offset, level)?;
                levels.push(Level::Literal(level.into()));
                offset += level.len() + 1;
                continue;
            };
            let name = level.strip_prefix(['+', '#']).unwrap_or(level);
            let used = match name {
                "" => Use::Nothing,
                FIELD => Use::Field,
                _ => Use::Tag,
            };
            let is_field = |level: &Level| matches!(level, Level::One(Use::Field));
            if used == Use::Field && levels.iter().any(is_field) {
                let problem = "another level names the field already";
                return Err(error_at(text, offset, problem));
            }
            if used == Use::Tag {
                check_tag_name(text, offset + 1, name, &tag_names)?;
                tag_names.push(name.to_owned());
            }
            levels.push(match wildcard {
                '+' => Level::One(used),
                _ => Level::Rest(used),
            });
            offset += level.len() + 1;
        }
        Ok(Self {
            text: text.to_owned(),
            share: share.into(),
            levels,
            tag_names,
        })
    }

    /// As written in the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a level names the field.
    pub fn names_field(&self) -> bool {
        let mut levels = self.levels.iter();
        levels.any(|level| matches!(level, Level::One(Use::Field) | Level::Rest(Use::Field)))
    }

    /// Names of the captures, from left to right.
    pub fn tag_names(&self) -> &[String] {
        &self.tag_names
    }

    /// What the broker is asked for: names removed, `$share/group/` kept.
    pub fn mqtt_filter(&self) -> String {
        let levels: Vec<&str> = self
            .levels
            .iter()
            .map(|level| match level {
                Level::Literal(literal) => literal,
                Level::One(_) => "+",
                Level::Rest(_) => "#",
            })
            .collect();
        format!("{}{}", self.share, levels.join("/"))
    }

    /// What the named wildcards take from `topic`, or `None` if the filter does not take it at all.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'t>> {
        let opens_wild = !matches!(self.levels.first(), Some(Level::Literal(_)));
        if opens_wild && topic.starts_with('$') {
            return None;
        }
        let mut values = Vec::with_capacity(self.tag_names.len());
        let mut field = None;
        // `None` once every level of the topic has been used up.
        let mut rest = Some(topic);
        for level in &self.levels {
            if let Level::Rest(used) = level {
                match used {
                    Use::Nothing => {}
                    Use::Tag => values.push(rest.unwrap_or_default()),
                    // Nothing there would be no name.
                    Use::Field => field = Some(rest.filter(|rest| !rest.is_empty())?),
                }
                return Some(Captures { values, field });
            }
            let (head, tail) = match rest?.split_once('/') {
                Some((head, tail)) => (head, Some(tail)),
                None => (rest?, None),
            };
            match level {
                Level::Literal(literal) if **literal != *head => return None,
                Level::One(Use::Tag) => values.push(head),
                Level::One(Use::Field) => field = Some(head),
                _ => {}
            }
            rest = tail;
        }
        rest.is_none().then_some(Captures { values, field })
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What in `topic` no stream may be named after: control characters (NUL among them), quotes,
/// back-ticks and `..`. `None` if it is clean.
pub(crate) fn hostile_part(topic: &str) -> Option<&'static str> {
    for character in topic.chars() {
        match character {
            '`' => return Some("a back-tick"),
            '"' | '\'' => return Some("a quote"),
            '\0' => return Some("a NUL"),
            _ if character.is_control() => return Some("a control character"),
            _ => {}
        }
    }
    topic.contains("..").then_some("`..`")
}

/// Bytes of `$share/group/` at the front of `text`.
fn share_prefix(text: &str) -> Result<usize, TopicError> {
    let Some(after) = text.strip_prefix("$share/") else {
        return Ok(0);
    };
    let group = after.split('/').next().unwrap_or_default();
    let start = "$share/".len();
    if group.is_empty() || group.contains(['+', '#']) {
        return Err(error_at(
            text,
            start,
            "a shared subscription is `$share/GROUP/FILTER`, with a group name without `+` and `#`",
        ));
    }
    if let Some(what) = hostile_part(group) {
        return Err(error_at(text, start, &format!("{what} in the group name")));
    }
    if after.len() == group.len() {
        return Err(error_at(
            text,
            text.len(),
            "a shared subscription is `$share/GROUP/FILTER`; the filter is missing",
        ));
    }
    Ok(start + group.len() + 1)
}

fn check_literal(text: &str, offset: usize, level: &str) -> Result<(), TopicError> {
    if let Some(at) = level.find(['+', '#']) {
        return Err(error_at(
            text,
            offset + at,
            "a wildcard opens its level: write `/+name/`, or `/#name` at the end",
        ));
    }
    if let Some(what) = hostile_part(level) {
        return Err(error_at(
            text,
            offset,
            &format!("{what} in a level; publishes on such topics are never taken"),
        ));
    }
    Ok(())
}

fn check_tag_name(
    text: &str,
    offset: usize,
    name: &str,
    taken: &[String],
) -> Result<(), TopicError> {
    let problem = if !is_tag_name(name) {
        format!(
            "a tag name has letters, digits and `_`, opens with no digit and has at most \
             {TAG_NAME_BYTES_MAX} of them; {name:?} has not"
        )
    } else if name.eq_ignore_ascii_case("device") {
        "`device` is the tag of this device; choose another name".to_owned()
    } else if taken.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        format!("the tag `{name}` is captured already; choose another name")
    } else {
        return Ok(());
    };
    Err(error_at(text, offset, &problem))
}

/// Whether a tag may be called this: `[a-zA-Z_][a-zA-Z0-9_]{0,63}`.
pub fn is_tag_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= TAG_NAME_BYTES_MAX
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn error_at(text: &str, byte: usize, problem: &str) -> TopicError {
    TopicError {
        position: text[..byte].chars().count() + 1,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests;
