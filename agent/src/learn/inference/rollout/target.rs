//! What a version is to serve on.

use std::sync::Arc;

use dunlin_models::registry::ModelKey;
use dunlin_sync::sample::{Schema, Stream};

use crate::config::settings::RecipeRule;

/// A recipe's rule on one of the streams that it is for.
pub(super) struct Target<'a> {
    pub(super) key: ModelKey,
    pub(super) rule: &'a Arc<RecipeRule>,
    pub(super) stream: &'a Stream,
    pub(super) schema: &'a Schema,
}

impl<'a> Target<'a> {
    pub(super) fn new(rule: &'a Arc<RecipeRule>, stream: &'a Stream, schema: &'a Schema) -> Self {
        Self {
            key: ModelKey::new(&rule.name, &stream.name),
            rule,
            stream,
            schema,
        }
    }

    /// Position of the label in the schema.
    pub(super) fn label(&self) -> Option<usize> {
        let label = self.rule.label.as_deref();
        label.and_then(|label| self.schema.field(label))
    }

    /// Where predictions are published, if they are.
    pub(super) fn topic(&self) -> Option<String> {
        let topic = self.rule.publish.as_ref()?;
        let of = topic.of(&self.rule.name, self.stream, self.schema);
        if of.is_none() {
            let stream = &self.stream.name;
            tracing::warn!(stream, %topic, "no tag of that name; its predictions are not published");
        }
        of
    }
}
