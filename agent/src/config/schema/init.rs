//! The file that `dunlin init` writes: every setting with its default and a line of help.

use std::fmt::Write;

#[cfg(feature = "learning")]
use dunlin_models::recipes::{
    Algorithm, RecipeSettings,
    keys::{KEYS as BUILT_IN, RecipeValue},
};

#[cfg(feature = "learning")]
use super::keys::recipe::RECIPE;
use super::{DATABASE_TABLE, DefaultValue, SETTINGS, Setting, keys::stream::STREAM};

const HEAD: &str = "\
# Dunlin: MQTT in, a power-cut-safe buffer, a time-series database out.
# Lines that start with # are defaults or examples; remove the # to change one.
# `dunlin check -c dunlin.toml` names every mistake with its line.
# Each setting outside [[stream]] and [[recipe]] also has a flag (--mqtt-url) and a variable
# (DUNLIN_MQTT_URL); both win over this file.

";

const DATABASE: &str = "\
# Options for creating the database, passed on to TDengine.
[upstream.database]
#keep = 3650
#vgroups = 2

";

const STREAMS: &str = "\
# What to take, how to read it, how to split it: one [[stream]] for each kind of record.
# The first stream whose topic matches takes a publish.
[[stream]]
";

#[cfg(feature = "learning")]
const RECIPES: &str = "\
# What to learn on this device, from its own records: one [[recipe]] for each kind of model; every
# stream that `streams` names gets a model of its own. See the README for the algorithms.
#[[recipe]]
";

/// The whole file.
pub(crate) fn render() -> String {
    let mut text = HEAD.to_owned();
    let mut table = "";
    for setting in SETTINGS {
        let (of, _) = setting.table_and_key();
        if of != table {
            if table == "upstream" {
                text.push_str(DATABASE);
            }
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "[{of}]");
            table = of;
        }
        line(&mut text, setting, false);
    }
    text.push_str(STREAMS);
    for setting in STREAM {
        line(&mut text, setting, false);
    }
    #[cfg(feature = "learning")]
    recipe_example(&mut text);
    debug_assert!(text.contains(&format!("[{DATABASE_TABLE}]")));
    text
}

fn line(text: &mut String, setting: &Setting, is_example: bool) {
    let (comment, value, note) = match setting.default {
        DefaultValue::Is(value) => ("#", value, String::new()),
        DefaultValue::Derived { how, example } => ("#", example, format!(" (default: {how})")),
        DefaultValue::Unset(example) => ("#", example, " (default: none)".into()),
        DefaultValue::Required(example) => ("", example, String::new()),
    };
    let comment = if is_example { "#" } else { comment };
    let (key, value) = (setting.key(), setting.written(value));
    // The note ends the first line of the help.
    let (first, rest) = setting.help.split_once('\n').unwrap_or((setting.help, ""));
    let _infallible = writeln!(text, "# {first}{note}");
    for line in rest.lines() {
        let _infallible = writeln!(text, "# {line}");
    }
    let _infallible = writeln!(text, "{comment}{key} = {value}\n");
}

/// An example of `[[recipe]]`: what every recipe has, and the settings of those that are built in.
#[cfg(feature = "learning")]
fn recipe_example(text: &mut String) {
    text.push_str(RECIPES);
    for setting in RECIPE {
        line(text, setting, true);
    }
    let defaults = RecipeSettings::default_of(Algorithm::Pca);
    let forecast = RecipeSettings::default_of(Algorithm::RidgeNlinear);
    for key in BUILT_IN {
        let (value, to_forecast) = (key.value(&defaults), key.value(&forecast));
        let note = if value == to_forecast {
            String::new()
        } else {
            format!(" (to forecast: {})", written(&to_forecast))
        };
        // What only a forecast has.
        let is_unused = value == RecipeValue::Count(0);
        let value = written(if is_unused { &to_forecast } else { &value });
        let _infallible = writeln!(text, "# {}{note}\n#{} = {value}\n", key.help, key.name);
    }
}

#[cfg(feature = "learning")]
fn written(value: &RecipeValue) -> String {
    match value {
        RecipeValue::Count(count) => count.to_string(),
        RecipeValue::Real(real) => real.to_string(),
        RecipeValue::Flag(flag) => flag.to_string(),
        RecipeValue::Layers(units) => format!("{units:?}"),
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
