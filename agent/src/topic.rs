//! Topic filters with captures.

/// A topic filter whose named wildcards become tags: `plant/+line/+machine/vibration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter {
    text: String,
}

impl TopicFilter {
    /// As written in the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
