use std::collections::BTreeSet;

use super::*;

/// A value of the range that is no default.
fn another(range: RecipeRange) -> RecipeValue {
    match range {
        RecipeRange::Count { max, .. } => RecipeValue::Count(max),
        RecipeRange::Real { min, max } => RecipeValue::Real(min + (max - min) / 3.0),
        RecipeRange::Flag => RecipeValue::Flag(false),
        RecipeRange::Layers { units_max, .. } => RecipeValue::Layers(vec![units_max as usize, 3]),
    }
}

#[test]
fn each_setting_has_a_key_and_each_key_a_setting_of_its_own() {
    let before = RecipeSettings::default_of(Algorithm::MlpForecast);
    let mut names = BTreeSet::new();
    for key in KEYS {
        let mut settings = before.clone();
        let value = another(key.range);
        assert!(key.set(&mut settings, &value), "{}", key.name);
        assert_eq!(key.value(&settings), value, "{}", key.name);
        let changed = |other: &&RecipeKey| other.value(&settings) != other.value(&before);
        let changed: Vec<&str> = KEYS.iter().filter(changed).map(|key| key.name).collect();
        assert_eq!(changed, [key.name]);
        names.insert(key.name.to_owned());
    }
    let stored = serde_json::to_value(&before).unwrap_or_default();
    let stored = stored.as_object().into_iter().flatten();
    names.insert("algorithm".to_owned());
    assert_eq!(names, stored.map(|(name, _)| name.clone()).collect());
}

#[test]
fn what_is_out_of_range_or_of_another_type_is_not_set() {
    let mut settings = RecipeSettings::default_of(Algorithm::Pca);
    let before = settings.clone();
    let all = [
        RecipeValue::Count(u64::MAX),
        RecipeValue::Real(f64::NAN),
        RecipeValue::Real(-1.0),
        RecipeValue::Layers(vec![]),
        RecipeValue::Layers(vec![0]),
        RecipeValue::Layers(vec![1; 9]),
    ];
    for key in KEYS {
        for value in &all {
            assert!(!key.set(&mut settings, value), "{} {value:?}", key.name);
        }
    }
    assert_eq!(settings, before);
}

#[test]
fn defaults_are_in_range_and_make_a_recipe() {
    for algorithm in [
        Algorithm::RidgeNlinear,
        Algorithm::Pca,
        Algorithm::ConvClassifier,
        Algorithm::Rocket,
        Algorithm::MlpRegressor,
    ] {
        let settings = RecipeSettings::default_of(algorithm);
        for key in KEYS {
            let is_unused = key.name == "horizon" && algorithm.problem() != Problem::Forecast;
            assert!(is_unused || key.range.contains(&key.value(&settings)));
        }
        assert!(crate::recipes::build(&settings).is_ok());
    }
}
