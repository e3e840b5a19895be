//! From a publish's topic to the stream rule that takes it and the values its captures have.
//!
//! Promises: the first matching rule wins; a topic that no stream may be named after is refused before
//! any rule is asked; what was found is remembered for a bounded number of topics, so that a publish on
//! a known topic costs one look-up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use dunlin_sync::lock::unpoisoned;

use crate::{
    config::settings::StreamRule,
    record::decode::{Reason, Reject, quoted},
    topic::{TopicFilter, hostile_part},
};

const CACHED_TOPICS_MAX: usize = 8_192;
/// Longest topic remembered, bytes.
const CACHED_TOPIC_BYTES_MAX: usize = 512;
/// Most memory that all of them take, bytes, roughly: room for the topics of thousands of machines, not for as
/// many that somebody makes up as long as he can.
const CACHED_BYTES_MAX: usize = 3 << 20;
/// What a topic costs beside its name and the texts of its route, bytes, roughly.
const TOPIC_BYTES: usize = 160;
/// Longest captured value, bytes.
pub const CAPTURE_BYTES_MAX: usize = 128;

/// Where the publishes of one topic go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which of the rules given to [`Router::new`], from 0.
    pub rule: usize,
    /// Values of the rule's captures, in the order of [`TopicFilter::tag_names`].
    pub captures: Vec<String>,
    /// Name of the stream: the rule's name and the captured values, joined with `/`.
    pub stream: String,
    /// What the topic says the field is called.
    pub field: Option<String>,
}

impl Route {
    /// Name of the stream of a payload with these tags. What divides the parts of a name is escaped within
    /// them.
    pub(crate) fn stream_with(&self, payload_tags: &[String]) -> String {
        let mut name = self.stream.clone();
        for tag in payload_tags {
            name.push('/');
            name.push_str(&tag.replace('%', "%25").replace('/', "%2F"));
        }
        name
    }
}

/// What is done with the publishes of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// They are stored.
    Stream(Route),
    /// A rule that takes such topics excludes this one, and no other takes it: they are left alone.
    Excluded,
}

/// Finds the route of a topic.
#[derive(Debug)]
pub struct Router {
    rules: Vec<TopicRule>,
    cache: Mutex<Cache>,
}

/// What of a stream rule is about topics.
#[derive(Debug)]
struct TopicRule {
    name: String,
    filter: TopicFilter,
    exclude: Vec<TopicFilter>,
}

/// Topics remembered.
#[derive(Debug, Default)]
struct Cache {
    routes: HashMap<Box<[u8]>, Arc<Destination>>,
    bytes: usize,
}

impl Cache {
    fn remember(&mut self, topic: &[u8], destination: &Arc<Destination>) {
        let texts = match &**destination {
            Destination::Excluded => 0,
            Destination::Stream(route) => {
                let captures: usize = route.captures.iter().map(String::len).sum();
                captures + route.stream.len() + route.field.as_deref().map_or(0, str::len)
            }
        };
        let bytes = TOPIC_BYTES + topic.len() + texts;
        // Starting over is rare, and needs no account of who was used last.
        if self.routes.len() >= CACHED_TOPICS_MAX || self.bytes + bytes > CACHED_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += bytes;
        self.routes.insert(topic.into(), Arc::clone(destination));
    }
}

impl Router {
    /// Over `rules`, the first of which to match a topic takes it.
    pub fn new(rules: &[StreamRule]) -> Self {
        Self {
            rules: rules
                .iter()
                .map(|rule| TopicRule {
                    name: rule.name.clone(),
                    filter: rule.filter.clone(),
                    exclude: rule.exclude.clone(),
                })
                .collect(),
            cache: Mutex::default(),
        }
    }

    /// Where `topic` goes.
    ///
    /// # Errors
    /// [`Reason::BadTopic`] for a topic that is empty, not UTF-8, holds a control character, a quote, a
    /// back-tick, `..`, `+` or `#`, or whose captured value exceeds [`CAPTURE_BYTES_MAX`];
    /// [`Reason::UnknownTopic`] if no rule takes it. The rejection counts one record: without a rule
    /// nobody can tell how many there were.
    pub fn route(&self, topic: &[u8]) -> Result<Arc<Destination>, Reject> {
        // The cache is whole after every operation, so a panic elsewhere does not spoil it.
        let mut cache = unpoisoned(self.cache.lock());
        if let Some(route) = cache.routes.get(topic) {
            return Ok(Arc::clone(route));
        }
        let route = Arc::new(self.find(topic)?);
        if topic.len() <= CACHED_TOPIC_BYTES_MAX {
            cache.remember(topic, &route);
        }
        Ok(route)
    }

    fn find(&self, topic: &[u8]) -> Result<Destination, Reject> {
        let topic = checked(topic)?;
        let mut is_excluded = false;
        for (
            rule,
            TopicRule {
                name,
                filter,
                exclude,
            },
        ) in self.rules.iter().enumerate()
        {
            let Some(captures) = filter.captures(topic) else {
                continue;
            };
            if exclude
                .iter()
                .any(|filter| filter.captures(topic).is_some())
            {
                is_excluded = true;
                continue;
            }
            let mut stream = name.clone();
            for (tag, value) in filter.tag_names().iter().zip(captures.values()) {
                if value.len() > CAPTURE_BYTES_MAX {
                    return Err(bad_topic(format!(
                        "the value of `{tag}` has {} bytes; the most is {CAPTURE_BYTES_MAX}",
                        value.len()
                    )));
                }
                stream.push('/');
                stream.push_str(value);
            }
            return Ok(Destination::Stream(Route {
                rule,
                captures: captures
                    .values()
                    .iter()
                    .map(|&value| value.into())
                    .collect(),
                stream,
                field: captures.field().map(|field| field.replace('/', ".")),
            }));
        }
        if is_excluded {
            return Ok(Destination::Excluded);
        }
        Err(Reject::new(
            Reason::UnknownTopic,
            format!("no [[stream]] takes the topic {}", quoted(topic)),
        ))
    }
}

/// The value in a part of a stream's name.
pub(crate) fn unescaped(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}

/// Tag names of a rule's streams, `device` first.
pub(crate) fn tag_names(rule: &StreamRule) -> Vec<String> {
    let captured = rule.filter.tag_names().iter().cloned();
    ["device".to_owned()]
        .into_iter()
        .chain(captured)
        .chain(rule.payload_tags.iter().map(|tag| tag.name.clone()))
        .chain(rule.tags.keys().cloned())
        .collect()
}

fn checked(topic: &[u8]) -> Result<&str, Reject> {
    let Ok(topic) = std::str::from_utf8(topic) else {
        return Err(bad_topic("the topic is not UTF-8".to_owned()));
    };
    if topic.is_empty() {
        return Err(bad_topic("the topic is empty".to_owned()));
    }
    let hostile = hostile_part(topic).or(topic.contains(['+', '#']).then_some("a wildcard"));
    match hostile {
        Some(what) => Err(bad_topic(format!("{what} in the topic {}", quoted(topic)))),
        None => Ok(topic),
    }
}

fn bad_topic(detail: String) -> Reject {
    Reject::new(Reason::BadTopic, detail)
}

#[cfg(test)]
mod tests;
