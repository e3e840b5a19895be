//! `[[recipe]]`: recipes of the user's own, and where predictions are published.

use std::sync::Arc;

use dunlin_models::{
    data::WindowShape,
    judging::gate::GateSettings,
    recipe::{Problem, TrainError},
    recipes::custom::Custom,
};

use super::*;
use crate::{
    config::settings::{RecipeRule, Sampling},
    own::Own,
    recipes::ChosenRecipe,
};

fn own() -> Own {
    let shape = WindowShape {
        lookback: 7,
        horizon: 0,
    };
    let train = |_: &dyn dunlin_models::data::Source,
                 _: Option<&[f32]>,
                 _: u64,
                 _: &mut dyn dunlin_models::recipe::Host|
     -> Result<Vec<f32>, TrainError> { Ok(Vec::new()) };
    let mine = Custom::new("mine", Problem::Regress, shape, train, |_, _, _| {});
    Own::default().with_recipe("mine", mine)
}

fn found(recipe: &str, own: &Own) -> Result<Arc<RecipeRule>, String> {
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
fn a_recipe_that_no_stream_can_be_meant_by_is_warned_of() {
    for (streams, is_warned) in [
        ("v/*", false),
        ("*", false),
        ("s", false),
        ("V/*", true),
        ("v", true),
    ] {
        let text = format!(
            "{MINIMAL}[[stream]]\nname = \"v\"\ntopic = \"plant/+line/v\"\n[[recipe]]\n\
             name = \"r\"\nstreams = \"{streams}\"\nalgorithm = \"pca\"\n"
        );
        let (_dir, path) = file_with(&text);
        let checked = check(Some(&path), &Overrides::default());
        assert!(checked.settings.is_ok());
        let warned = checked.warnings.iter().map(ToString::to_string);
        let warned: Vec<String> = warned
            .filter(|text| text.contains("no stream can be called"))
            .collect();
        assert_eq!(
            warned.len(),
            usize::from(is_warned),
            "{streams}: {warned:?}"
        );
        assert!(
            warned
                .iter()
                .all(|text| text.contains("v/<line>") && text.contains("dunlin.toml:"))
        );
    }
}

#[test]
fn a_recipe_of_ones_own_brings_task_and_window() {
    let rule = found("algorithm = \"custom:mine\"\nlabel = \"y\"", &own()).unwrap();
    assert_eq!(rule.recipe.problem(), Problem::Regress);
    assert_eq!(rule.recipe.shape().lookback, 7);
    assert_eq!(rule.recipe, rule.recipe.clone());
}

#[test]
fn mistakes_about_recipes_of_ones_own_are_told() {
    let told = |recipe: &str, own: &Own| found(recipe, own).unwrap_err();
    let other = told("algorithm = \"custom:yours\"", &own());
    assert!(
        other.contains("`custom:yours` is not known here"),
        "{other}"
    );
    assert!(other.contains("use one of: custom:mine"), "{other}");
    let none = told("algorithm = \"custom:mine\"", &Own::default());
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
fn which_records_are_taken_is_said_with_the_recipe() {
    let with = |lines: &str| found(&format!("algorithm = \"pca\"\n{lines}"), &own());
    assert_eq!(with("").unwrap().sampling, Sampling::default());
    let rule = with(
        "label = \"state\"\nfrom = \"1970-01-02\"\nto = \"1970-01-02\"\nbalance = true\n\
         fraction = 0.25\nseed = 7",
    );
    let rule = rule.unwrap();
    let day_ns = 86_400_000_000_000;
    let expected = Sampling {
        from: Some(day_ns),
        to: Some(2 * day_ns - 1),
        balance: true,
        fraction: 0.25,
        seed: 7,
    };
    assert_eq!(rule.sampling, expected);
    let query = rule.query("v/1", day_ns + 5, 100).unwrap();
    assert_eq!(
        query.to_string(),
        format!(
            "--streams=v/1 --label=state --last=20000 --from={day_ns} --to={} --fraction=0.25 \
             --seed=7 --rows-per-chunk-max=100 --balance",
            day_ns + 5
        )
    );
    let early = rule.query("v/1", day_ns - 1, 100).unwrap_err();
    assert_eq!(early, "no record is as late as `from` yet");
    for (lines, told) in [
        ("from = \"soon\"", "\"soon\" is no time"),
        ("from = \"2\"\nto = \"1\"", "is later than `to`"),
        ("balance = true", "balance: needs a label"),
        ("fraction = 0.0", "write a number from 0.000001 to 1"),
    ] {
        let error = with(lines).unwrap_err();
        assert!(error.contains(told), "{lines}: {error}");
    }
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

#[test]
fn what_a_recipe_leaves_out_is_as_the_types_have_it() {
    let rule = found("algorithm = \"pca\"", &Own::default()).unwrap();
    assert_eq!(rule.sampling, Sampling::default());
    assert_eq!(rule.gate, GateSettings::default());
}

#[test]
fn layers_are_whole_numbers_however_they_are_written() {
    let layers = |written: &str| {
        let text = format!("algorithm = \"mlp_regressor\"\nlabel = \"l\"\nhidden = {written}");
        found(&text, &Own::default()).map(|rule| match &rule.recipe {
            ChosenRecipe::BuiltIn(settings) => settings.hidden.clone(),
            ChosenRecipe::Own(_) => Vec::new(),
        })
    };
    assert_eq!(layers("[64, 16.0]"), Ok(vec![64, 16]));
    for wrong in [
        "[]",
        "[0]",
        "[16.5]",
        "[4294967360]",
        "[-1]",
        "64",
        "[1e300]",
    ] {
        let error = layers(wrong).unwrap_err();
        assert!(
            error.contains("write hidden = [64, 16]"),
            "{wrong}: {error}"
        );
    }
}
