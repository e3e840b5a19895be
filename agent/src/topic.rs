//! Topic filters with captures.

/// A topic filter whose named wildcards become tags: `plant/+line/+machine/vibration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter {
    text: String,
}

impl TopicFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let levels: Vec<&str> = text.split('/').collect();
        for (index, level) in levels.iter().enumerate() {
            let name = level.trim_start_matches(['+', '#']);
            if name.contains(['+', '#', '\0']) || level.len() > name.len() + 1 {
                return Err("a wildcard stands at the start of its level".into());
            }
            if level.starts_with('#') && index + 1 < levels.len() {
                return Err("# stands at the end".into());
            }
        }
        if text.is_empty() {
            return Err("is empty".into());
        }
        Ok(Self { text: text.into() })
    }

    /// As written in the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
