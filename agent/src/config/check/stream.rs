//! `[[stream]]` entries and `--topic` flags to stream rules.

mod fields;
mod filters;
mod samples;
mod shape;
mod split;
mod times;

use std::collections::BTreeMap;

use crate::{
    config::{
        check::{entry::Entry, inputs::Inputs},
        diagnostic::{Diagnostics, Origin},
        read::{parse::default_of, source::Source},
        schema::{
            keys::{names, stream as keys},
            kind::{TypedKind, text},
        },
        settings::{DeclaredField, MissingWords, PayloadFormat, PayloadTag, StreamRule},
    },
    topic::{TopicFilter, cover},
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
        if cover::covers(rule.filter.as_str(), status_topic) {
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
    check_overlaps(rules, found);
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
        let covering = rules[..index].iter().find(|earlier| {
            let mut excluded = earlier.rule.exclude.iter();
            cover::covers(earlier.rule.filter.as_str(), topic)
                && !excluded.any(|excluded| cover::overlap(excluded.as_str(), topic))
        });
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

/// Warns of filters of which neither covers the other, but some topic matches both.
fn check_overlaps(rules: &[LocatedRule], found: &mut Diagnostics) {
    let filters: Vec<String> = rules.iter().map(|l| l.rule.filter.mqtt_filter()).collect();
    for (index, later) in rules.iter().enumerate() {
        let topic = &filters[index];
        let meets = filters[..index].iter().zip(rules).find(|(other, _)| {
            let is_covered = cover::covers(other, topic) || cover::covers(topic, other);
            !is_covered && cover::overlap(other, topic)
        });
        if let Some((_, earlier)) = meets {
            let message = format!(
                "`{}` and `{}` of stream \"{}\" have topics in common: some brokers send what is published \
                 there twice, and it would be stored twice",
                later.rule.filter.as_str(),
                earlier.rule.filter.as_str(),
                earlier.rule.name
            );
            let hint = "narrow either, or let one cover the other";
            found.warning(&later.topic, message, hint);
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
    let rule = StreamRule::new(name, filter(topic, origin, found)?);
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
    let (records, key_tags) = shape::records(&entry, format, found);
    let own_tags: Vec<PayloadTag> = shape::own_tags(format);
    let samples = samples::rule(&entry, format, found);
    samples::check_required(&entry, samples.as_ref(), &fields, found);
    let part_tag = samples::part_tag(samples.as_ref());
    let by_key: Vec<PayloadTag> = key_tags.iter().chain(&part_tag).cloned().collect();
    let (tags, mut payload_tags) = tags(&entry, captures, &fields, (&by_key, &own_tags), found);
    payload_tags.splice(0..0, key_tags);
    if filter.as_ref().is_some_and(TopicFilter::names_field) {
        shape::check_topic_field(&entry, format, samples.is_some(), &fields, found);
    }
    shape::check_own_tags(&entry, format, captures, &payload_tags, found);
    if payload_tags.is_empty() {
        payload_tags.extend(own_tags);
    }
    payload_tags.extend(part_tag);
    let mut list = |key| entry.read(key, found).unwrap_or_default();
    let (include_fields, exclude_fields) =
        (list(&keys::INCLUDE_FIELDS), list(&keys::EXCLUDE_FIELDS));
    let excluded = list(&keys::EXCLUDE);
    let missing = entry.read(&keys::MISSING, found);
    let exclude = excluded.iter().filter_map(|topic| {
        let origin = entry.origin_of(keys::EXCLUDE.key());
        self::filter(topic, &origin, found)
    });
    let exclude = exclude.collect();
    let rule = StreamRule {
        exclude,
        compression: entry.get(&keys::COMPRESSION, found),
        records,
        samples,
        infer_records: entry.get(&keys::INFER_RECORDS, found),
        include_fields,
        exclude_fields,
        time: fields::time(&entry, format, &fields, found),
        time_rule: times::rule(&entry, format, found),
        time_range: times::range(&entry, format, found),
        tags,
        payload_tags,
        nan: entry.get(&keys::NAN, found),
        on_misfit: entry.get(&keys::ON_MISFIT, found),
        retained: entry.get(&keys::RETAINED, found),
        rebirth_requests: rebirth_requests(&entry, format, found),
        fields_max: fields_max(&entry, fields.len(), found),
        instances_max: entry.read(&keys::INSTANCES_MAX, found),
        split: split::rule(&entry, found),
        format,
        fields,
        infer,
        // From here on both must be there.
        ..StreamRule::new(name?, filter?)
    };
    let rule = StreamRule {
        missing: missing.map_or_else(|| rule.missing.clone(), MissingWords::from),
        ..rule
    };
    if !rule.infer && rule.fields.is_empty() && !rule.format.is_scalar() {
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

fn rebirth_requests(entry: &Entry<'_>, format: PayloadFormat, found: &mut Diagnostics) -> bool {
    let is_asked = entry.get(&keys::REBIRTH_REQUESTS, found);
    if is_asked && format != PayloadFormat::SparkplugB {
        let hint = "remove it, or set format = \"sparkplug_b\"";
        let message = "means nothing unless the format is sparkplug_b";
        entry.error(keys::REBIRTH_REQUESTS.key(), message, hint, found);
    }
    is_asked
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

/// Constant tags, and those whose value is in the payload; `key_tags` are keys on the way to the records.
fn tags(
    stream: &Entry<'_>,
    filter: &str,
    declared: &[DeclaredField],
    (key_tags, own_tags): (&[PayloadTag], &[PayloadTag]),
    found: &mut Diagnostics,
) -> (BTreeMap<String, String>, Vec<PayloadTag>) {
    let mut tags = BTreeMap::new();
    let mut payload_tags = Vec::new();
    let what = format!("{}.tags", stream.what);
    let hint = "write tags = { plant = \"north\", machine = { at = \"/machine\" } }";
    let entry = stream
        .raw(keys::TAGS.key())
        .and_then(|value| Entry::of(stream.source, value, what, hint, found));
    if let Some(entry) = entry {
        for (key, value) in entry.in_order() {
            if let Some((message, hint)) = check_name(key) {
                entry.error(key, format!("the tag's name {message}"), hint, found);
            } else if value.get_ref().as_table().is_some() {
                payload_tags.extend(shape::payload_tag(&entry, key, found));
            } else if let Some(text) = entry.chosen(key, &TAG, found) {
                if text.starts_with('/') {
                    let hint = format!(
                        "write {key} = {{ at = {text:?} }} for what the payload says there"
                    );
                    entry.error(key, "looks like a place in the payload", hint, found);
                }
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
    let inside = payload_tags.iter().map(|tag: &PayloadTag| &*tag.name);
    let inside = inside.map(|name| (name, stream.origin_of(keys::TAGS.key())));
    let own_tags = if payload_tags.is_empty() {
        own_tags
    } else {
        &[]
    };
    let by_key = key_tags.iter().chain(own_tags).map(|tag| &*tag.name);
    let by_key = by_key.map(|name| (name, stream.origin_of(keys::RECORDS.key())));
    for (name, origin) in captured.chain(configured).chain(inside).chain(by_key) {
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
    (tags, payload_tags)
}
