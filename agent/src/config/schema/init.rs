//! The file that `dunlin init` writes: every setting with its default and a line of help.

use std::fmt::Write;

use super::{DATABASE_TABLE, DefaultValue, SETTINGS, Setting};

const HEAD: &str = "\
# Dunlin: MQTT in, a power-cut-safe buffer, a time-series database out.
# Lines that start with # are defaults or examples; remove the # to change one.
# `dunlin check -c dunlin.toml` names every mistake with its line.
# Each setting also has a flag (--mqtt-url) and a variable (DUNLIN_MQTT_URL); both win over this file.

";

const DATABASE: &str = "\
# Options for creating the database, passed on to TDengine.
[upstream.database]
#keep = 3650
#vgroups = 2

";

const STREAMS: &str = r#"# What to take, how to read it, how to split it: one [[stream]] for each kind of record.
# The first stream whose topic matches takes a publish.
[[stream]]
# Name of the table.
name = "vibration"
# + stands for one level and # for the rest; a name behind it makes the level a tag.
topic = "plant/+line/+machine/vibration"
# json: an object or a list of objects; number: one bare number; csv; senml (RFC 8428).
format = "json"
# For csv: the separator, and whether every payload starts with a line of names.
#delimiter = ","
#header = true
# Types: f64, f32, i64, bool, text. `at` is a JSON pointer; `required`: quarantine what lacks it.
#fields = { rms = "f64", state = { type = "text", at = "/status/state", required = true } }
# Whether fields that are not declared are taken too.
infer = true
# Where the record has its own time, and its unit as a number: s, ms, us, ns; told by its size if
# not named.
#time = "/time"
#time_unit = "ms"
# The time is left out (and counted) if it is before this, or further ahead of a synchronised clock.
#time_min = "2000-01-01"
#time_max_ahead = "1 d"
# Tags besides the device and what the topic captures.
#tags = { plant = "north" }
# NaN and infinity: refuse (to quarantine) or missing.
nan = "refuse"
# What the broker has retained: once (not again with the payload stored last from its topic), ignore
# or always.
retained = "once"
# Most fields a table may grow to, 1 to 4096.
fields_max = 256
# Most streams (machines) that may be made of it; one more goes to quarantine.
#instances_max = 500
# Which records train and which validate, drawn once for each:
#   { method = "random", train = 0.8, seed = 7 }   each for itself
#   { method = "hash", train = 0.8 }               a function of stream and timestamp
#   { method = "block", train = 0.8, run_s = 60 }  whole minutes, so that neighbours do not leak
#   { method = "kfold", k = 5 }                    a fold number for cross-validation
split = { method = "random", train = 0.8 }
"#;

const RECIPES: &str = r#"
# What to learn on this device, from its own records: one [[recipe]] for each kind of model; every
# stream that `streams` names gets a model of its own. See the README for the algorithms.
# [[recipe]]
# name = "health"                  # lower-case letters, digits and _
# streams = "vibration/*"          # names of streams; * stands for any characters
# algorithm = "pca"                # or ridge_nlinear, nlinear, dlinear, mlp_forecast, autoencoder, ...
# features = ["rms", "peak"]       # default: every number
# label = "state"                  # to classify or estimate
# where = 'temperature > 40 and machine = "press-7"'
# from = "2026-05-01"              # and to: no records before or after
# fraction = 0.5                   # a share of the records, drawn by `seed`
# balance = true                   # as many records of every class as of the rarest
# lookback = 32                    # records a model looks at
# horizon = 24                     # records it forecasts
# false_alarm_rate = 0.01          # share of usual windows that may be flagged
# min_start_count = 1000           # records before the first model
# min_update_count = 2000          # new records before it is fine-tuned
# margin = 0.01                    # by which a new version must beat the one that serves
# publish = "health/{line}/{machine}"
"#;

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
        line(&mut text, setting);
    }
    text.push_str(STREAMS);
    text.push_str(RECIPES);
    debug_assert!(text.contains(&format!("[{DATABASE_TABLE}]")));
    text
}

fn line(text: &mut String, setting: &Setting) {
    let (_, key) = setting.table_and_key();
    let (comment, value, note) = match setting.default {
        DefaultValue::Is(value) => ("#", value, String::new()),
        DefaultValue::Derived { how, example } => ("#", example, format!(" (default: {how})")),
        DefaultValue::Unset(example) => ("#", example, " (default: none)".into()),
        DefaultValue::Required(example) => ("", example, String::new()),
    };
    let value = setting.written(value);
    let help = setting.help;
    let _infallible = writeln!(text, "# {help}{note}\n{comment}{key} = {value}\n");
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
