//! `[[recipe]]` entries to recipe rules.

use dunlin_models::{
    data::WindowShape,
    judging::gate::GateSettings,
    recipe::Problem,
    recipes::{self, Algorithm, RecipeSettings},
};

use crate::{
    base::{glob, time_text},
    cohort::Condition,
    config::{
        check::{entry::Entry, inputs::Inputs},
        diagnostic::Diagnostics,
        read::parse,
        schema::kind::{TypedKind, choice, count_of_millis, integer, text},
        settings::{RecipeRule, Sampling, StatusWords, StreamRule},
    },
    recipes::{ChosenRecipe, OWN_PREFIX, OwnRecipe, OwnRecipes},
    topic::template::PublishTopic,
};

/// What a rule of any recipe may say.
const KEYS: [&str; 21] = [
    "name",
    "streams",
    "algorithm",
    "features",
    "label",
    "where",
    "from",
    "to",
    "balance",
    "fraction",
    "seed",
    "min_start_count",
    "min_update_count",
    "rows_max",
    "replay_share",
    "gap_ms_max",
    "margin",
    "windows_min",
    "available_status",
    "outputs",
    "publish",
];
/// What belongs to the recipes that come with Dunlin.
const BUILT_IN_KEYS: [&str; 14] = [
    "lookback",
    "horizon",
    "ridge",
    "forgetting",
    "variance_kept",
    "false_alarm_rate",
    "hidden",
    "epochs_max",
    "batch_size",
    "learning_rate",
    "learning_rate_decay",
    "patience_epochs",
    "gradient_norm_max",
    "balance_classes",
];
/// Streams named in a hint.
const NAMED_MAX: usize = 8;
/// Each works on its own thread's time.
const RECIPES_MAX: usize = 64;
const ROWS_MAX_DEFAULT: u64 = 20_000;
const START_COUNT_DEFAULT: u64 = 1_000;
const UPDATE_COUNT_DEFAULT: u64 = 2_000;

const NAME: TypedKind<String> = text(1, 32);
const TEXT: TypedKind<String> = text(1, 1024);
const ALGORITHM: TypedKind<Algorithm> = choice();
const COUNT: TypedKind<u64> = integer(1, 1_000_000_000);
const ROWS: TypedKind<usize> = integer(1, 100_000);
const SEED: TypedKind<u64> = integer(0, i64::MAX as u64);
const GAP_MS: TypedKind<u64> = count_of_millis(1, 365 * 86_400_000);

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
    let own = inputs.own.unwrap_or(&none);
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
            entry.error("name", message, "give each its own name", found);
        } else if rules.len() == RECIPES_MAX {
            let message = format!("more than {RECIPES_MAX} recipes");
            let hint = "let one recipe watch many streams: streams = \"vibration/*\"";
            entry.error("name", message, hint, found);
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
        &entry.origin_of("streams"),
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
    let name = entry.read("name", &NAME, found);
    if let Some(name) = &name {
        let kept = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !name.bytes().all(kept) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let hint = "use lower-case letters, digits and _, a letter first";
            let message = "becomes part of a table's name";
            entry.error("name", message, hint, found);
        }
        entry.what = format!("recipe \"{name}\"");
    }
    entry.refuse_others(&[&KEYS[..], &BUILT_IN_KEYS].concat(), found);
    for (key, hint) in [
        ("name", "add name = \"press_health\""),
        ("streams", "add streams = \"vibration/*\""),
        ("algorithm", "add algorithm = \"pca\""),
    ] {
        if entry.raw(key).is_none() {
            entry.error(key, "is missing", hint, found);
        }
    }
    let streams = entry.read("streams", &TEXT, found);
    let recipe = recipe(entry, own, found)?;
    let label = entry.read("label", &TEXT, found);
    if recipe.problem().wants_label() && label.is_none() {
        let hint = "add label = \"...\": the field that says what is right";
        entry.error("label", "is missing", hint, found);
    }
    let count = |key: &str, default: u64, found: &mut Diagnostics| {
        entry.read(key, &COUNT, found).unwrap_or(default)
    };
    let available_status = match entry.texts("available_status", 64, found) {
        none if none.is_empty() => vec![status.available.clone()],
        some => some,
    };
    let gate = GateSettings::default();
    let gap_ms = entry.read("gap_ms_max", &GAP_MS, found);
    Some(RecipeRule {
        features: entry.texts("features", 256, found),
        condition: condition(entry, found),
        sampling: sampling(entry, label.is_some(), found),
        min_start_count: count("min_start_count", START_COUNT_DEFAULT, found),
        min_update_count: count("min_update_count", UPDATE_COUNT_DEFAULT, found),
        rows_max: count("rows_max", ROWS_MAX_DEFAULT, found),
        replay_share: entry.real("replay_share", 0.5, (0.0, 10.0), found),
        gap_ns_max: gap_ms.map(|ms| ms as i64 * 1_000_000),
        gate: GateSettings {
            margin: entry.real("margin", gate.margin, (0.0, 0.9), found),
            windows_min: count("windows_min", gate.windows_min, found),
        },
        available_status,
        outputs: entry.flag("outputs", true, found),
        publish: None,
        label,
        recipe,
        name: name?,
        streams: streams?,
    })
}

/// Where predictions are published: a topic that no stream takes.
fn publish(
    entry: &Entry<'_>,
    streams: &[StreamRule],
    found: &mut Diagnostics,
) -> Option<PublishTopic> {
    let topic = match PublishTopic::parse(&entry.read("publish", &TEXT, found)?) {
        Ok(topic) => topic,
        Err(why) => {
            let hint = "write publish = \"health/{line}/{machine}\"";
            entry.error("publish", why, hint, found);
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
            entry.error("publish", message, hint, found);
        }
    }
    for rule in streams {
        if topic.may_match(&rule.filter.mqtt_filter()) {
            let message = format!(
                "stream \"{}\" takes {} and would be fed with predictions",
                rule.name, rule.filter
            );
            let hint = "publish below another first level, or narrow the stream's topic";
            entry.error("publish", message, hint, found);
        }
    }
    Some(topic)
}

/// `where`, as it will be asked; its names are only known with the records.
fn condition(entry: &Entry<'_>, found: &mut Diagnostics) -> Option<String> {
    let text = entry.read("where", &TEXT, found)?;
    if let Err(error) = Condition::parse(&text) {
        let hint = "write where = 'temperature > 40 and machine = \"press-7\"'";
        entry.error("where", error, hint, found);
    }
    Some(text)
}

/// Which records are taken of those that count.
fn sampling(entry: &Entry<'_>, has_label: bool, found: &mut Diagnostics) -> Sampling {
    let default = Sampling::default();
    let time = |key: &str, end: bool, found: &mut Diagnostics| {
        let text = entry.read(key, &TEXT, found)?;
        let time = time_text::parse(&text, end);
        if time.is_none() {
            let hint = format!("write {}, in quotes", time_text::EXAMPLES);
            entry.error(key, format!("\"{text}\" is no time"), hint, found);
        }
        time
    };
    let (from, to) = (time("from", false, found), time("to", true, found));
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        entry.error("from", "is later than `to`", "swap them", found);
    }
    let balance = entry.flag("balance", default.balance, found);
    if balance && !has_label {
        let hint = "add label = \"...\": the field that says which class it is";
        entry.error("balance", "needs a label", hint, found);
    }
    Sampling {
        from,
        to,
        balance,
        fraction: entry.real("fraction", default.fraction, (1e-6, 1.0), found),
        seed: entry.read("seed", &SEED, found).unwrap_or(default.seed),
    }
}

fn recipe(entry: &Entry<'_>, own: &OwnRecipes, found: &mut Diagnostics) -> Option<ChosenRecipe> {
    let algorithm = entry.raw("algorithm")?.get_ref().as_str();
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
    for key in BUILT_IN_KEYS {
        if entry.raw(key).is_some() {
            let hint = "remove it; task, window and training come from the recipe";
            entry.error(key, "means nothing to a recipe of your own", hint, found);
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
        entry.error("algorithm", message, hint, found);
    }
    recipe.cloned()
}

fn built_in(entry: &Entry<'_>, found: &mut Diagnostics) -> Option<RecipeSettings> {
    let algorithm = entry.read("algorithm", &ALGORITHM, found)?;
    let is_forecast = algorithm.problem() == Problem::Forecast;
    let default_rows = if is_forecast { 96 } else { 1 };
    let rows = |key: &str, default: usize, found: &mut Diagnostics| {
        entry.read(key, &ROWS, found).unwrap_or(default)
    };
    let shape = WindowShape {
        lookback: rows("lookback", default_rows, found),
        horizon: rows("horizon", if is_forecast { 24 } else { 0 }, found),
    };
    let default = RecipeSettings::new(algorithm, shape);
    let hidden = entry.raw("hidden").map(|value| {
        let list = value.get_ref().as_array()?;
        let units = list.iter().map(|units| {
            let units = parse::float(units.get_ref())?;
            (1.0..=4096.0).contains(&units).then_some(units as usize)
        });
        units.collect::<Option<Vec<usize>>>()
    });
    let hidden = match hidden {
        None => default.hidden.clone(),
        Some(Some(hidden)) if !hidden.is_empty() && hidden.len() <= 8 => hidden,
        Some(_) => {
            let hint = "write hidden = [64, 16]: units of each layer, 1 to 4096, at most 8 layers";
            entry.error("hidden", "is no list of layers", hint, found);
            default.hidden.clone()
        }
    };
    let settings = RecipeSettings {
        ridge: entry.real("ridge", default.ridge, (0.0, 1e6), found),
        forgetting: entry.share("forgetting", default.forgetting, found),
        variance_kept: entry.share("variance_kept", default.variance_kept, found),
        false_alarm_rate: entry.share("false_alarm_rate", default.false_alarm_rate, found),
        epochs_max: rows("epochs_max", default.epochs_max as usize, found) as u32,
        batch_size: rows("batch_size", default.batch_size, found),
        learning_rate: entry.real("learning_rate", default.learning_rate, (1e-9, 10.0), found),
        learning_rate_decay: entry.share("learning_rate_decay", default.learning_rate_decay, found),
        patience_epochs: rows("patience_epochs", default.patience_epochs as usize, found) as u32,
        gradient_norm_max: entry.real(
            "gradient_norm_max",
            default.gradient_norm_max,
            (1e-6, 1e6),
            found,
        ),
        balance_classes: entry.flag("balance_classes", default.balance_classes, found),
        hidden,
        ..default
    };
    if let Err(why) = recipes::build(&settings) {
        entry.error("algorithm", why, "see the recipe's own settings", found);
    }
    Some(settings)
}
