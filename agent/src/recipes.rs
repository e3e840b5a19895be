//! Which recipe a rule has chosen: one that comes with Dunlin, or one of the user's own.

use std::{fmt, sync::Arc};

use dunlin_models::{
    data::WindowShape,
    recipe::{Problem, Recipe},
    recipes::{self, RecipeSettings},
};

/// Opens the name of a user's own recipe in `algorithm = "custom:NAME"`.
pub const OWN_PREFIX: &str = "custom:";

/// A user's own recipes, by name: what a `[[recipe]]` may say as `algorithm = "custom:NAME"`.
#[derive(Clone, Debug, Default)]
pub struct OwnRecipes(Vec<OwnRecipe>);

/// A recipe of the user's own.
#[derive(Clone)]
pub struct OwnRecipe {
    /// Its name, without `custom:`.
    pub name: String,
    /// The recipe.
    pub recipe: Arc<dyn Recipe>,
}

/// The recipe of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum ChosenRecipe {
    /// Comes with Dunlin.
    BuiltIn(RecipeSettings),
    /// The user's own.
    Own(OwnRecipe),
}

impl OwnRecipes {
    /// These and `recipe`, which takes the place of another of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, recipe: impl Recipe + 'static) -> Self {
        self.0.retain(|own| own.name != name);
        self.0.push(OwnRecipe {
            name: name.to_owned(),
            recipe: Arc::new(recipe),
        });
        self
    }

    /// The recipe called `name`, without `custom:`.
    pub fn get(&self, name: &str) -> Option<&OwnRecipe> {
        self.0.iter().find(|own| own.name == name)
    }

    /// All names, as a configuration writes them.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|own| format!("{OWN_PREFIX}{}", own.name))
    }
}

impl PartialEq for OwnRecipe {
    /// Whether it is the very same recipe.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.recipe, &other.recipe)
    }
}

impl fmt::Debug for OwnRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OWN_PREFIX}{}", self.name)
    }
}

impl From<RecipeSettings> for ChosenRecipe {
    fn from(settings: RecipeSettings) -> Self {
        Self::BuiltIn(settings)
    }
}

impl ChosenRecipe {
    /// What its models are for.
    pub fn problem(&self) -> Problem {
        match self {
            Self::BuiltIn(settings) => settings.algorithm.problem(),
            Self::Own(own) => own.recipe.problem(),
        }
    }

    /// Rows of its windows.
    pub fn shape(&self) -> WindowShape {
        match self {
            Self::BuiltIn(settings) => settings.shape(),
            Self::Own(own) => own.recipe.shape(),
        }
    }

    /// The recipe itself.
    ///
    /// # Errors
    /// A text for people: which setting makes no sense, and what would.
    pub fn build(&self) -> Result<Arc<dyn Recipe>, String> {
        match self {
            Self::BuiltIn(settings) => recipes::build(settings).map(Arc::from),
            Self::Own(own) => Ok(Arc::clone(&own.recipe)),
        }
    }
}
