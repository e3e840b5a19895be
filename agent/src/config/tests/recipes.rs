//! `[[recipe]]`: recipes of the user's own, and where predictions are published.

use std::sync::Arc;

use dunlin_models::{
    data::WindowShape,
    recipe::{Task, TrainError},
    recipes::custom::Custom,
};

use super::*;
use crate::{recipes::OwnRecipes, settings::RecipeRule};

fn own() -> OwnRecipes {
    let shape = WindowShape {
        lookback: 7,
        horizon: 0,
    };
    let train = |_: &dyn dunlin_models::data::Source,
                 _: Option<&[f32]>,
                 _: u64,
                 _: &mut dyn dunlin_models::recipe::Host|
     -> Result<Vec<f32>, TrainError> { Ok(Vec::new()) };
    let mine = Custom::new("mine", Task::Regress, shape, train, |_, _, _| {});
    OwnRecipes::default().with("mine", mine)
}

fn found(recipe: &str, own: &OwnRecipes) -> Result<Arc<RecipeRule>, String> {
    let text = format!(
        "{MINIMAL}[[stream]]\nname = \"v\"\ntopic = \"plant/+line/v\"\n[[recipe]]\nname = \"r\"\n\
         streams = \"v/*\"\n{recipe}\n"
    );
    let (_dir, path) = file_with(&text);
    let settings = load_with(Some(&path), &Overrides::default(), own);
    let settings = settings.map_err(|mistakes| shown(&mistakes))?;
    Ok(Arc::new(settings.learn.recipes[0].clone()))
}

#[test]
fn a_recipe_of_ones_own_brings_task_and_window() {
    let rule = found("algorithm = \"custom:mine\"\nlabel = \"y\"", &own()).unwrap();
    assert_eq!(rule.recipe.task(), Task::Regress);
    assert_eq!(rule.recipe.shape().lookback, 7);
    assert_eq!(rule.recipe, rule.recipe.clone());
}

#[test]
fn mistakes_about_recipes_of_ones_own_are_told() {
    let told = |recipe: &str, own: &OwnRecipes| found(recipe, own).unwrap_err();
    let other = told("algorithm = \"custom:yours\"", &own());
    assert!(
        other.contains("`custom:yours` is not known here"),
        "{other}"
    );
    assert!(other.contains("use one of: custom:mine"), "{other}");
    let none = told("algorithm = \"custom:mine\"", &OwnRecipes::default());
    assert!(none.contains("no recipes of its own"), "{none}");
    let window = told(
        "algorithm = \"custom:mine\"\nlabel = \"y\"\nlookback = 3",
        &own(),
    );
    assert!(window.contains("lookback: means nothing"), "{window}");
    let label = told("algorithm = \"custom:mine\"", &own());
    assert!(label.contains("label: is missing"), "{label}");
}

#[test]
fn a_condition_that_makes_no_sense_is_told_with_its_place() {
    let with = |condition: &str| {
        found(
            &format!("algorithm = \"pca\"\nwhere = '{condition}'"),
            &own(),
        )
    };
    assert_eq!(with("a > 1").unwrap().condition.as_deref(), Some("a > 1"));
    let told = with("a >").unwrap_err();
    assert!(told.contains("recipe \"r\".where"), "{told}");
}

#[test]
fn predictions_are_published_where_no_stream_listens() {
    let of = |topic: &str| {
        found(
            &format!("algorithm = \"pca\"\npublish = \"{topic}\""),
            &own(),
        )
    };
    let rule = of("health/{line}/{stream}/{recipe}/{device}").unwrap();
    assert_eq!(
        rule.publish.as_ref().unwrap().to_string(),
        "health/{line}/{stream}/{recipe}/{device}"
    );
    for (topic, told) in [
        ("health/+", "wildcard"),
        ("health/{hall}", "no stream has a tag {hall}"),
        ("plant/{line}/v", "would be fed with predictions"),
        ("t/{line}", "stream \"s\" takes t/#"),
    ] {
        let error = of(topic).unwrap_err();
        assert!(error.contains(told), "{topic}: {error}");
    }
}
