//! `[[stream]]` entries and `--topic` flags to stream rules.

mod fields;
mod filters;
mod split;

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::{
    base::time_text,
    config::{
        check::{entry::Entry, inputs::Inputs},
        diagnostic::{Diagnostics, Origin},
        read::{parse::default_of, source::Source},
        schema::{
            keys::{names, stream as keys},
            kind::{TypedKind, text},
        },
        settings::{DeclaredField, PayloadFormat, SplitRule, StreamRule, TimeRange, TimeUnit},
    },
    topic::TopicFilter,
};

/// Rules are tried one after the other for each publish.
const STREAMS_MAX: usize = 1000;

/// Tags and columns that the agent makes itself.
const RESERVED_TAGS: [&str; 6] = ["device", "stream", "ts", "is_train", "fold", "source_ts"];

const TAG: TypedKind<String> = text(1, 1024);

/// A rule, and where its name and its filter were written.
struct LocatedRule {
    rule: StreamRule,
    name: Origin,
    topic: Origin,
}

/// Every rule, those of flags and variables instead of the file's if there are any.
pub(super) fn rules(inputs: &Inputs<'_>, found: &mut Diagnostics) -> Vec<StreamRule> {
    let tables = inputs.tables;
    let errors_before = found.errors.len();
    // The file's streams are checked even where flags replace them.
    let from_file: Vec<LocatedRule> = inputs
        .source
        .map(|source| {
            let entries = tables.streams.iter();
            entries
                .filter_map(|value| from_entry(source, value, found))
                .collect()
        })
        .unwrap_or_default();
    let topics = inputs.overrides.topics();
    let rules: Vec<LocatedRule> = if topics.is_empty() {
        from_file
    } else {
        let topics = topics.into_iter();
        topics
            .filter_map(|(origin, topic)| from_topic(&origin, topic, found))
            .collect()
    };
    if rules.is_empty() && !tables.stream_is_bad && found.errors.len() == errors_before {
        found.error(
            &inputs.values.nowhere,
            "no stream: nothing would be subscribed",
            "add [[stream]] with name and topic, or --topic 'plant/+machine/#'",
        );
    }
    if rules.len() > STREAMS_MAX {
        let message = format!("{} streams; at most {STREAMS_MAX} are taken", rules.len());
        let hint = "let one stream take many topics: + for a level, # for the rest";
        found.error(&rules[STREAMS_MAX].name, message, hint);
    } else {
        check_together(&rules, found);
    }
    rules.into_iter().map(|located| located.rule).collect()
}

/// Warns where the agent would take its own status for data.
pub(super) fn check_status_topic(
    rules: &[StreamRule],
    status_topic: &str,
    origin: &Origin,
    found: &mut Diagnostics,
) {
    for rule in rules {
        if filters::covers(rule.filter.as_str(), status_topic) {
            found.warning(
                origin,
                format!(
                    "stream \"{}\" also takes this agent's own status topic {status_topic}, as \
                     records that cannot be decoded",
                    rule.name
                ),
                "narrow the stream's topic, or choose another mqtt.status_topic",
            );
        }
    }
}

fn check_together(rules: &[LocatedRule], found: &mut Diagnostics) {
    for (index, later) in rules.iter().enumerate() {
        for earlier in &rules[..index] {
            let name = &later.rule.name;
            // SQLite takes table names that differ by case alone for one.
            if earlier.rule.name.eq_ignore_ascii_case(name) {
                found.error(
                    &later.name,
                    format!(
                        "two streams are called \"{name}\" (the other: {})",
                        earlier.name
                    ),
                    "give each its own name; with --topic: NAME=FILTER",
                );
            }
        }
        let topic = later.rule.filter.as_str();
        let covering = rules[..index]
            .iter()
            .find(|earlier| filters::covers(earlier.rule.filter.as_str(), topic));
        if let Some(earlier) = covering {
            found.error(
                &later.topic,
                format!(
                    "`{topic}` can never match: stream \"{}\" with `{}` takes its topics first ({})",
                    earlier.rule.name,
                    earlier.rule.filter.as_str(),
                    earlier.topic
                ),
                "put the narrower stream before the wider one",
            );
        }
    }
}

/// `[NAME=]FILTER`.
fn from_topic(origin: &Origin, text: &str, found: &mut Diagnostics) -> Option<LocatedRule> {
    let (name, topic) = match text.split_once('=') {
        Some((name, topic)) if check_name(name).is_none() => (name.to_owned(), topic),
        _ => (filters::name_for(text), text),
    };
    if let Some((message, hint)) = check_name(&name) {
        found.error(origin, format!("the name \"{name}\" {message}"), hint);
        return None;
    }
    let rule = StreamRule {
        name,
        filter: filter(topic, origin, found)?,
        format: default_of(&keys::FORMAT),
        fields: Vec::new(),
        infer: default_of(&keys::INFER),
        time: None,
        time_unit: TimeUnit::BySize,
        time_range: TimeRange::DEFAULT,
        tags: BTreeMap::new(),
        nan: default_of(&keys::NAN),
        retained: default_of(&keys::RETAINED),
        fields_max: default_of(&keys::FIELDS_MAX),
        instances_max: None,
        split: SplitRule::DEFAULT,
    };
    Some(LocatedRule {
        rule,
        name: origin.clone(),
        topic: origin.clone(),
    })
}

fn from_entry<'a>(
    source: &'a Source,
    value: &'a toml::Spanned<toml::de::DeValue<'a>>,
    found: &mut Diagnostics,
) -> Option<LocatedRule> {
    let hint = "each stream starts with [[stream]]";
    let mut entry = Entry::of(source, value, "stream", hint, found)?;
    let name = entry.read(&keys::NAME, found);
    if let Some(name) = &name {
        if let Some((message, hint)) = check_name(name) {
            entry.error(
                keys::NAME.key(),
                format!("\"{name}\" {message}"),
                hint,
                found,
            );
        }
        entry.what = format!("stream \"{name}\"");
    }
    entry.refuse_others(&names(keys::STREAM), found);
    entry.require(keys::STREAM, found);
    let topic = entry.read(&keys::TOPIC, found);
    let filter = topic.and_then(|topic| filter(&topic, &entry.origin_of(keys::TOPIC.key()), found));
    let format = format(&entry, found);
    let fields = fields::declared(&entry, format, found);
    let infer = entry.get(&keys::INFER, found);
    let captures = filter.as_ref().map_or("", TopicFilter::as_str);
    let rule = StreamRule {
        time: fields::time(&entry, format, &fields, found),
        time_unit: time_unit(&entry, found),
        time_range: time_range(&entry, format, found),
        tags: tags(&entry, captures, &fields, found),
        nan: entry.get(&keys::NAN, found),
        retained: entry.get(&keys::RETAINED, found),
        fields_max: fields_max(&entry, fields.len(), found),
        instances_max: entry.read(&keys::INSTANCES_MAX, found),
        split: split::rule(&entry, found),
        // From here on both must be there.
        name: name?,
        filter: filter?,
        format,
        fields,
        infer,
    };
    if !rule.infer && rule.fields.is_empty() && rule.format != PayloadFormat::Number {
        let hint = "declare fields, or leave infer out";
        entry.error(
            keys::INFER.key(),
            "is false and no field is declared",
            hint,
            found,
        );
    }
    Some(LocatedRule {
        rule,
        name: entry.origin_of(keys::NAME.key()),
        topic: entry.origin_of(keys::TOPIC.key()),
    })
}

/// What is wrong with a stream's name, and what to do.
fn check_name(name: &str) -> Option<(&'static str, &'static str)> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let kept = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let lower = name.to_ascii_lowercase();
    if !starts_well || !name.bytes().all(kept) || name.len() > 64 {
        return Some((
            "is no name for a table",
            "use letters, digits, _ and -, a letter first, at most 64",
        ));
    }
    if lower.starts_with("sqlite_") || lower.starts_with("dunlin_") {
        return Some((
            "is reserved",
            "choose a name that does not start with sqlite_ or dunlin_",
        ));
    }
    None
}

fn filter(topic: &str, origin: &Origin, found: &mut Diagnostics) -> Option<TopicFilter> {
    match TopicFilter::parse(topic) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let hint = "levels are divided by /; + stands for one level and # for the rest, each \
                        with or without a name: plant/+line/+machine/#";
            found.error(
                origin,
                format!("topic `{}`: {error}", topic.escape_debug()),
                hint,
            );
            None
        }
    }
}

fn format(entry: &Entry<'_>, found: &mut Diagnostics) -> PayloadFormat {
    let format = entry.given(&keys::FORMAT, found);
    let is_csv = matches!(format, Some(PayloadFormat::Csv { .. }));
    if !is_csv
        && entry
            .raw(keys::FORMAT.key())
            .is_none_or(|_| format.is_some())
    {
        for key in [keys::DELIMITER.key(), keys::HEADER.key()] {
            if entry.raw(key).is_some() {
                let hint = "remove it, or set format = \"csv\"";
                entry.error(key, "means nothing unless the format is csv", hint, found);
            }
        }
    }
    match format.unwrap_or_else(|| default_of(&keys::FORMAT)) {
        PayloadFormat::Csv { delimiter, .. } => PayloadFormat::Csv {
            delimiter: self::delimiter(entry, delimiter, found),
            header: entry.get(&keys::HEADER, found),
        },
        other => other,
    }
}

fn delimiter(entry: &Entry<'_>, default: u8, found: &mut Diagnostics) -> u8 {
    let Some(value) = entry.raw(keys::DELIMITER.key()) else {
        return default;
    };
    match value.get_ref().as_str().map(str::as_bytes) {
        Some([byte]) if *byte == b'\t' || (byte.is_ascii_punctuation() && *byte != b'"') => *byte,
        _ => {
            let hint = "write one character such as \",\" \";\" \"|\" or \"\\t\"";
            entry.error(keys::DELIMITER.key(), "is no field separator", hint, found);
            default
        }
    }
}

fn time_unit(entry: &Entry<'_>, found: &mut Diagnostics) -> TimeUnit {
    if entry.raw(keys::TIME_UNIT.key()).is_some() && entry.raw(keys::TIME.key()).is_none() {
        let hint = "add time = \"/time\", or remove it";
        entry.error(
            keys::TIME_UNIT.key(),
            "means nothing without time",
            hint,
            found,
        );
    }
    let unit = entry.read(&keys::TIME_UNIT, found);
    unit.unwrap_or(TimeUnit::BySize)
}

fn time_range(entry: &Entry<'_>, format: PayloadFormat, found: &mut Diagnostics) -> TimeRange {
    for key in [keys::TIME_MIN.key(), keys::TIME_MAX_AHEAD.key()] {
        let has_time = entry.raw(keys::TIME.key()).is_some() || format == PayloadFormat::SenMl;
        if entry.raw(key).is_some() && !has_time {
            let hint = "add time = \"/time\", or remove it";
            entry.error(key, "means nothing without time", hint, found);
        }
    }
    let min_ns = entry.raw(keys::TIME_MIN.key()).and_then(|value| {
        let written = match value.get_ref() {
            // A date needs no quotes.
            DeValue::Datetime(date) => Some(date.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        let min_ns = written.and_then(|text| time_text::parse(&text, false));
        if min_ns.is_none() {
            let hint = format!("write {}", time_text::EXAMPLES);
            entry.error(keys::TIME_MIN.key(), "is no time", hint, found);
        }
        min_ns
    });
    TimeRange {
        min_ns: min_ns.unwrap_or(TimeRange::DEFAULT.min_ns),
        ahead_max: entry.get(&keys::TIME_MAX_AHEAD, found),
    }
}

fn fields_max(entry: &Entry<'_>, declared: usize, found: &mut Diagnostics) -> usize {
    let fields_max = entry.get(&keys::FIELDS_MAX, found);
    if declared > fields_max {
        let message = format!("is {fields_max}, but {declared} fields are declared");
        entry.error(
            keys::FIELDS_MAX.key(),
            message,
            "raise it, or declare fewer",
            found,
        );
    }
    fields_max
}

fn tags(
    stream: &Entry<'_>,
    filter: &str,
    declared: &[DeclaredField],
    found: &mut Diagnostics,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let what = format!("{}.tags", stream.what);
    let hint = "write tags = { plant = \"north\" }";
    let entry = stream
        .raw(keys::TAGS.key())
        .and_then(|value| Entry::of(stream.source, value, what, hint, found));
    if let Some(entry) = entry {
        for (key, _) in entry.in_order() {
            if let Some((message, hint)) = check_name(key) {
                entry.error(key, format!("the tag's name {message}"), hint, found);
            } else if let Some(text) = entry.chosen(key, &TAG, found) {
                tags.insert(key.to_owned(), text);
            }
        }
    }
    let mut names: Vec<String> = RESERVED_TAGS.map(str::to_owned).to_vec();
    let captured =
        filters::captures(filter).map(|name| (name, stream.origin_of(keys::TOPIC.key())));
    let configured = tags
        .keys()
        .map(|name| (name.as_str(), stream.origin_of(keys::TAGS.key())));
    for (name, origin) in captured.chain(configured) {
        if names.contains(&name.to_ascii_lowercase()) {
            let message = format!("{}: the tag `{name}` exists already", stream.what);
            found.error(
                &origin,
                message,
                "tags, captures and the agent's own columns need different names",
            );
        }
        names.push(name.to_ascii_lowercase());
    }
    for field in declared {
        let name = &field.field.name;
        if names[RESERVED_TAGS.len()..].contains(&name.to_ascii_lowercase()) {
            let hint =
                "rename the tag or the capture; a field may come from elsewhere with at = \"/...\"";
            stream.error(
                keys::FIELDS.key(),
                format!("`{name}` is a tag and a field"),
                hint,
                found,
            );
        }
    }
    tags
}
