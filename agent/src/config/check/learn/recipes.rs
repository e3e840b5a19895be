//! `[[recipe]]` entries to recipe rules.

use dunlin_models::{
    judging::gate::GateSettings,
    recipes::{
        self, RecipeSettings,
        keys::{KEYS as BUILT_IN, RecipeKey, RecipeRange, RecipeValue},
    },
};
use toml::de::DeValue;

use crate::{
    base::{glob, time_text},
    cohort::Condition,
    config::{
        check::{entry::Entry, inputs::Inputs},
        diagnostic::{Diagnostic, Diagnostics},
        read::parse,
        schema::{
            key::OptionalKey,
            keys::{names, recipe as keys},
            kind::{Kind, TypedKind, Value, choice},
        },
        settings::{RecipeRule, Sampling, StatusWords, StreamRule},
    },
    grid::{GridSpec, How},
    own::Own,
    recipes::{ChosenRecipe, OWN_PREFIX, OwnRecipe, OwnRecipes},
    topic::template::PublishTopic,
};

/// Streams named in a hint.
const NAMED_MAX: usize = 8;
/// Each works on its own thread's time.
const RECIPES_MAX: usize = 64;

const HOW: TypedKind<How> = choice();
const NS_PER_MS: i64 = 1_000_000;

/// Every recipe rule.
pub(super) fn rules(
    inputs: &Inputs<'_>,
    streams: &[StreamRule],
    status: &StatusWords,
    found: &mut Diagnostics,
) -> Vec<RecipeRule> {
    let Some(source) = inputs.source else {
        return Vec::new();
    };
    let none = OwnRecipes::default();
    let own = inputs.own.map_or(&none, Own::recipes);
    let mut rules: Vec<RecipeRule> = Vec::new();
    for value in &inputs.tables.recipes {
        let hint = "each recipe starts with [[recipe]]";
        let Some(mut entry) = Entry::of(source, value, "recipe", hint, found) else {
            continue;
        };
        let Some(mut rule) = rule(&mut entry, own, status, found) else {
            continue;
        };
        rule.publish = publish(&entry, streams, found);
        if rules.iter().any(|other| other.name == rule.name) {
            let message = format!("two recipes are called \"{}\"", rule.name);
            entry.error(keys::NAME.key(), message, "give each its own name", found);
        } else if rules.len() == RECIPES_MAX {
            let message = format!("more than {RECIPES_MAX} recipes");
            let hint = "let one recipe watch many streams: streams = \"vibration/*\"";
            entry.error(keys::NAME.key(), message, hint, found);
            break;
        } else {
            warn_if_idle(&entry, &rule, streams, found);
            rules.push(rule);
        }
    }
    rules
}

/// A recipe that no stream of the configuration can be meant by learns nothing, for ever.
fn warn_if_idle(
    entry: &Entry<'_>,
    recipe: &RecipeRule,
    streams: &[StreamRule],
    found: &mut Diagnostics,
) {
    let is_meant = |stream: &StreamRule| {
        if stream.filter.tag_names().is_empty() {
            return glob::matches(&recipe.streams, &stream.name);
        }
        glob::may_match_below(&recipe.streams, &format!("{}/", stream.name))
    };
    // Without streams there is a mistake already.
    if streams.is_empty() || streams.iter().any(is_meant) {
        return;
    }
    let named = |stream: &StreamRule| {
        let captures = stream.filter.tag_names().iter();
        captures.fold(stream.name.clone(), |named, capture| {
            named + "/<" + capture + ">"
        })
    };
    let names: Vec<String> = streams.iter().take(NAMED_MAX).map(named).collect();
    found.warning(
        &entry.origin_of(keys::STREAMS.key()),
        format!(
            "{}.streams: no stream can be called `{}`",
            entry.what, recipe.streams
        ),
        format!("streams are called {}", names.join(", ")),
    );
}

fn rule(
    entry: &mut Entry<'_>,
    own: &OwnRecipes,
    status: &StatusWords,
    found: &mut Diagnostics,
) -> Option<RecipeRule> {
    let name = entry.read(&keys::NAME, found);
    if let Some(name) = &name {
        let kept = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !name.bytes().all(kept) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let hint = "use lower-case letters, digits and _, a letter first";
            let message = "becomes part of a table's name";
            entry.error(keys::NAME.key(), message, hint, found);
        }
        entry.what = format!("recipe \"{name}\"");
    }
    let built_in = BUILT_IN.iter().map(|key| key.name);
    let known: Vec<&str> = names(keys::RECIPE).into_iter().chain(built_in).collect();
    entry.refuse_others(&known, found);
    entry.require(keys::RECIPE, found);
    let streams = entry.read(&keys::STREAMS, found);
    let recipe = recipe(entry, own, found)?;
    let label = entry.read(&keys::LABEL, found);
    if recipe.problem().wants_label() && label.is_none() {
        let hint = "add label = \"...\": the field that says what is right";
        entry.error(keys::LABEL.key(), "is missing", hint, found);
    }
    let available_status = entry.read(&keys::AVAILABLE_STATUS, found);
    let available_status = available_status.filter(|words| !words.is_empty());
    let gap_ms = entry.read(&keys::GAP_MS_MAX, found);
    Some(RecipeRule {
        features: entry.read(&keys::FEATURES, found).unwrap_or_default(),
        condition: condition(entry, found),
        sampling: sampling(entry, label.is_some(), found),
        min_start_count: entry.get(&keys::MIN_START_COUNT, found),
        min_update_count: entry.get(&keys::MIN_UPDATE_COUNT, found),
        rows_max: entry.get(&keys::ROWS_MAX, found),
        replay_share: entry.get(&keys::REPLAY_SHARE, found),
        gap_ns_max: gap_ms.map(|ms| ms as i64 * NS_PER_MS),
        grid: grid(entry, found),
        gate: GateSettings {
            margin: entry.get(&keys::MARGIN, found),
            windows_min: entry.get(&keys::WINDOWS_MIN, found),
        },
        available_status: available_status.unwrap_or_else(|| vec![status.available.clone()]),
        train: entry.get(&keys::TRAIN, found),
        outputs: entry.get(&keys::OUTPUTS, found),
        publish: None,
        label,
        recipe,
        name: name?,
        streams: streams?,
    })
}

/// The grid that is learnt from, if one is.
fn grid(entry: &Entry<'_>, found: &mut Diagnostics) -> Option<GridSpec> {
    let fill = entry.read(&keys::FILL_MS_MAX, found);
    let late = entry.given(&keys::LATE_MS_MAX, found);
    let Some(every) = entry.read(&keys::EVERY, found) else {
        for key in [
            keys::HOW.key(),
            keys::FILL_MS_MAX.key(),
            keys::LATE_MS_MAX.key(),
        ] {
            if entry.raw(keys::EVERY.key()).is_none() && entry.raw(key).is_some() {
                let hint = "add every = \"1 s\", or leave it out";
                entry.error(key, "means nothing without `every`", hint, found);
            }
        }
        return None;
    };
    let mut grid = GridSpec::every(every as i64 * NS_PER_MS);
    if let Some(fill) = fill {
        grid.fill_ns_max = fill as i64 * NS_PER_MS;
    }
    if let Some(late) = late {
        grid.late_ns_max = late as i64 * NS_PER_MS;
    }
    how(entry, &mut grid, found);
    if let Some(mistake) = grid.mistake() {
        let hint = "make steps longer with `every`, or the time shorter";
        entry.error(keys::EVERY.key(), mistake, hint, found);
    }
    Some(grid)
}

/// `how = "mean"`, or `how = { "*" = "last", power = "mean" }`.
fn how(entry: &Entry<'_>, grid: &mut GridSpec, found: &mut Diagnostics) {
    let Some(value) = entry.raw(keys::HOW.key()) else {
        return;
    };
    if value.get_ref().as_str().is_some() {
        if let Some(how) = entry.chosen(keys::HOW.key(), &HOW, found) {
            grid.how = how;
        }
        return;
    }
    let hint = "write how = \"mean\", or how = { \"*\" = \"last\", power = \"mean\" }";
    let what = format!("{}.how", entry.what);
    let Some(fields) = Entry::of(entry.source, value, what, hint, found) else {
        return;
    };
    for (field, _) in fields.in_order() {
        let Some(how) = fields.chosen(field, &HOW, found) else {
            continue;
        };
        match field {
            "*" => grid.how = how,
            field => _ = grid.how_of.insert(field.to_owned(), how),
        }
    }
}

/// Where predictions are published: a topic that no stream takes.
fn publish(
    entry: &Entry<'_>,
    streams: &[StreamRule],
    found: &mut Diagnostics,
) -> Option<PublishTopic> {
    let topic = match PublishTopic::parse(&entry.read(&keys::PUBLISH, found)?) {
        Ok(topic) => topic,
        Err(why) => {
            let hint = "write publish = \"health/{line}/{machine}\"";
            entry.error(keys::PUBLISH.key(), why, hint, found);
            return None;
        }
    };
    for tag in topic.tags() {
        let has_tag = |rule: &StreamRule| {
            tag == "device"
                || rule.tags.contains_key(tag)
                || rule.filter.tag_names().iter().any(|name| name == tag)
        };
        if !streams.iter().any(has_tag) {
            let message = format!("no stream has a tag {{{tag}}}");
            let hint = "use tags of the stream, {stream} or {recipe}";
            entry.error(keys::PUBLISH.key(), message, hint, found);
        }
    }
    for rule in streams {
        if topic.may_match(&rule.filter.mqtt_filter()) {
            let message = format!(
                "stream \"{}\" takes {} and would be fed with predictions",
                rule.name, rule.filter
            );
            let hint = "publish below another first level, or narrow the stream's topic";
            entry.error(keys::PUBLISH.key(), message, hint, found);
        }
    }
    Some(topic)
}

/// `where`, as it will be asked; its names are only known with the records.
fn condition(entry: &Entry<'_>, found: &mut Diagnostics) -> Option<String> {
    let text = entry.read(&keys::WHERE, found)?;
    if let Err(error) = Condition::parse(&text) {
        let hint = "write where = 'temperature > 40 and machine = \"press-7\"'";
        entry.error(keys::WHERE.key(), error, hint, found);
    }
    Some(text)
}

/// Which records are taken of those that count.
fn sampling(entry: &Entry<'_>, has_label: bool, found: &mut Diagnostics) -> Sampling {
    let time = |key: &OptionalKey<String>, end: bool, found: &mut Diagnostics| {
        let text = entry.read(key, found)?;
        let time = time_text::parse(&text, end);
        if time.is_none() {
            let hint = format!("write {}, in quotes", time_text::EXAMPLES);
            entry.error(key.key(), format!("\"{text}\" is no time"), hint, found);
        }
        time
    };
    let from = time(&keys::FROM, false, found);
    let to = time(&keys::TO, true, found);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        entry.error(keys::FROM.key(), "is later than `to`", "swap them", found);
    }
    let balance = entry.get(&keys::BALANCE, found);
    if balance && !has_label {
        let hint = "add label = \"...\": the field that says which class it is";
        entry.error(keys::BALANCE.key(), "needs a label", hint, found);
    }
    Sampling {
        from,
        to,
        balance,
        fraction: entry.get(&keys::FRACTION, found),
        seed: entry.get(&keys::SEED, found),
    }
}

fn recipe(entry: &Entry<'_>, own: &OwnRecipes, found: &mut Diagnostics) -> Option<ChosenRecipe> {
    let algorithm = entry.raw(keys::ALGORITHM.key())?.get_ref().as_str();
    match algorithm.and_then(|name| name.strip_prefix(OWN_PREFIX)) {
        Some(name) => own_recipe(entry, name, own, found).map(ChosenRecipe::Own),
        None => built_in(entry, found).map(ChosenRecipe::BuiltIn),
    }
}

fn own_recipe(
    entry: &Entry<'_>,
    name: &str,
    own: &OwnRecipes,
    found: &mut Diagnostics,
) -> Option<OwnRecipe> {
    for key in BUILT_IN {
        if entry.raw(key.name).is_some() {
            let hint = "remove it; task, window and training come from the recipe";
            entry.error(
                key.name,
                "means nothing to a recipe of your own",
                hint,
                found,
            );
        }
    }
    let known: Vec<String> = own.names().collect();
    let recipe = own.get(name);
    if recipe.is_none() {
        let hint = if known.is_empty() {
            "this program has no recipes of its own; start the program that has it".to_owned()
        } else {
            format!("use one of: {}", known.join(", "))
        };
        let message = format!("`{OWN_PREFIX}{name}` is not known here");
        entry.error(keys::ALGORITHM.key(), message, hint, found);
    }
    recipe.cloned()
}

fn built_in(entry: &Entry<'_>, found: &mut Diagnostics) -> Option<RecipeSettings> {
    let algorithm = entry.read(&keys::ALGORITHM, found)?;
    let mut settings = RecipeSettings::default_of(algorithm);
    for key in BUILT_IN {
        let Some(value) = entry.raw(key.name) else {
            continue;
        };
        match recipe_value(key, value.get_ref()) {
            Ok(value) => {
                let is_set = key.set(&mut settings, &value);
                debug_assert!(is_set, "{}: {value:?} is in its range", key.name);
            }
            Err(wrong) => entry.error(key.name, wrong.message, wrong.hint, found),
        }
    }
    if let Err(why) = recipes::build(&settings) {
        entry.error(
            keys::ALGORITHM.key(),
            why,
            "see the recipe's own settings",
            found,
        );
    }
    Some(settings)
}

fn recipe_value(key: &RecipeKey, value: &DeValue<'_>) -> Result<RecipeValue, Diagnostic> {
    let kind = match key.range {
        RecipeRange::Count { min, max } => Kind::Integer { min, max },
        RecipeRange::Real { min, max } => Kind::Real { min, max },
        RecipeRange::Flag => Kind::Flag,
        RecipeRange::Layers {
            layers_max,
            units_max,
        } => {
            let value = layers(value).map(RecipeValue::Layers);
            let value = value.filter(|value| key.range.contains(value));
            return value.ok_or_else(|| {
                Diagnostic::new(
                    "is no list of layers",
                    format!(
                        "write {} = [64, 16]: units of each layer, 1 to {units_max}, at most \
                         {layers_max} layers",
                        key.name
                    ),
                )
            });
        }
    };
    Ok(match parse::from_toml(&kind, value)? {
        Value::Number(number) => RecipeValue::Count(number),
        Value::Real(real) => RecipeValue::Real(real),
        other => RecipeValue::Flag(other == Value::Flag(true)),
    })
}

fn layers(value: &DeValue<'_>) -> Option<Vec<usize>> {
    let units = value.as_array()?.iter().map(|units| {
        let units = parse::float(units.get_ref()).filter(|units| units.fract() == 0.0)?;
        (0.0..=f64::from(u32::MAX))
            .contains(&units)
            .then_some(units as usize)
    });
    units.collect()
}
