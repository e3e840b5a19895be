//! What a program around the agent brings along: recipes and upstreams of its own, by the names that a
//! configuration uses.

use std::{fmt, sync::Arc};

#[cfg(feature = "learning")]
use dunlin_models::recipe::Recipe;
use dunlin_sync::upstream::Upstream;

#[cfg(feature = "learning")]
use crate::recipes::OwnRecipes;

/// Opens the name of a user's own upstream in `url = "custom:NAME"`.
pub const UPSTREAM_SCHEME: &str = "custom";

/// A program's own recipes and upstreams.
#[derive(Clone, Debug, Default)]
pub struct Own {
    #[cfg(feature = "learning")]
    recipes: OwnRecipes,
    upstreams: Vec<OwnUpstream>,
}

/// An upstream of the user's own.
#[derive(Clone)]
pub struct OwnUpstream {
    /// Its name, without `custom:`.
    pub name: String,
    /// The upstream.
    pub upstream: Arc<dyn Upstream>,
}

impl Own {
    /// These and a recipe, which a `[[recipe]]` names as `algorithm = "custom:NAME"`; it takes the place of
    /// another of the same name.
    #[cfg(feature = "learning")]
    #[must_use]
    pub fn with_recipe(mut self, name: &str, recipe: impl Recipe + 'static) -> Self {
        self.recipes = self.recipes.with(name, recipe);
        self
    }

    /// These and an upstream, which `[upstream]` names as `url = "custom:NAME"`; it takes the place of another
    /// of the same name.
    #[must_use]
    pub fn with_upstream(mut self, name: &str, upstream: impl Upstream + 'static) -> Self {
        self.upstreams.retain(|own| own.name != name);
        self.upstreams.push(OwnUpstream {
            name: name.to_owned(),
            upstream: Arc::new(upstream),
        });
        self
    }

    /// The recipes.
    #[cfg(feature = "learning")]
    pub const fn recipes(&self) -> &OwnRecipes {
        &self.recipes
    }

    /// The upstream called `name`, without `custom:`.
    pub fn upstream(&self, name: &str) -> Option<&OwnUpstream> {
        self.upstreams.iter().find(|own| own.name == name)
    }

    /// The names of all upstreams, as a configuration writes them.
    pub fn upstream_urls(&self) -> impl Iterator<Item = String> {
        let names = self.upstreams.iter().map(|own| &own.name);
        names.map(|name| format!("{UPSTREAM_SCHEME}:{name}"))
    }
}

impl PartialEq for OwnUpstream {
    /// Whether it is the very same upstream.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.upstream, &other.upstream)
    }
}

impl fmt::Debug for OwnUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{UPSTREAM_SCHEME}:{}", self.name)
    }
}
