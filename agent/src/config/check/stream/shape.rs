//! Where the records of a payload are, and what in it tells streams apart.

use crate::{
    config::{
        check::{
            entry::Entry,
            stream::{check_name, fields::json_pointer_error, filters},
        },
        diagnostic::Diagnostics,
        schema::{
            keys::stream as keys,
            kind::{TypedKind, text, texts},
        },
        settings::{DeclaredField, PayloadFormat, PayloadTag, Pointer, RecordStep, RecordsAt},
    },
    topic::is_tag_name,
};

const POINTER: TypedKind<String> = text(0, 1024);
const GOOD: TypedKind<Vec<String>> = texts(64);

/// `records = "/data"`, or `{ at = "/values", name = "/id", value = "/v" }`; and the tags that are keys on
/// the way.
pub(super) fn records(
    stream: &Entry<'_>,
    format: PayloadFormat,
    found: &mut Diagnostics,
) -> (Option<RecordsAt>, Vec<PayloadTag>) {
    let key = keys::RECORDS.key();
    let Some(value) = stream.raw(key) else {
        return (None, Vec::new());
    };
    if format == PayloadFormat::SparkplugB {
        return (good_alone(stream, value, found), Vec::new());
    }
    if !format.has_pointers() {
        let hint = "remove it, or set format = \"json\"";
        stream.error(
            key,
            "means nothing unless the format is json, ndjson, cbor or msgpack",
            hint,
            found,
        );
        return (None, Vec::new());
    }
    let mut tags = Vec::new();
    if value.get_ref().as_str().is_some() {
        let at = stream.chosen(key, &POINTER, found).unwrap_or_default();
        let at = RecordsAt {
            steps: steps(stream, key, &at, &mut tags, found),
            ..RecordsAt::default()
        };
        return (Some(at), tags);
    }
    let what = format!("{}.records", stream.what);
    let hint = "write records = \"/data\", or { at = \"/values\", name = \"/id\", value = \"/v\" }";
    let Some(entry) = Entry::of(stream.source, value, what, hint, found) else {
        return (None, Vec::new());
    };
    entry.refuse_others(&["at", "name", "value", "quality", "good"], found);
    for key in ["name", "quality"] {
        if entry.raw(key).is_some() && entry.raw("value").is_none() {
            let hint = "add value = \"/v\": where the value is in each object";
            entry.error(key, "means nothing without value", hint, found);
        }
    }
    if entry.raw("good").is_some() && entry.raw("quality").is_none() {
        let hint = "add quality = \"/q\", or remove it";
        entry.error("good", "means nothing without quality", hint, found);
    }
    let at = entry.chosen("at", &POINTER, found).unwrap_or_default();
    let records = RecordsAt {
        steps: steps(&entry, "at", &at, &mut tags, found),
        name: pointer(&entry, "name", found),
        value: pointer(&entry, "value", found),
        quality: pointer(&entry, "quality", found),
        good: entry.chosen("good", &GOOD, found).unwrap_or_default(),
    };
    (Some(records), tags)
}

/// `records = { good = ["192"] }`, all that can be said where the format says the rest.
fn good_alone<'a>(
    stream: &Entry<'a>,
    value: &'a toml::Spanned<toml::de::DeValue<'a>>,
    found: &mut Diagnostics,
) -> Option<RecordsAt> {
    let hint = "write records = { good = [\"192\"] }";
    let entry = Entry::of(
        stream.source,
        value,
        format!("{}.records", stream.what),
        hint,
        found,
    )?;
    entry.refuse_others(&["good"], found);
    Some(RecordsAt {
        good: entry.chosen("good", &GOOD, found).unwrap_or_default(),
        ..RecordsAt::default()
    })
}

/// `{ at = "/tags/cpu" }`.
pub(super) fn payload_tag(
    tags: &Entry<'_>,
    name: &str,
    found: &mut Diagnostics,
) -> Option<PayloadTag> {
    let what = format!("{}.{name}", tags.what);
    let hint = "write { at = \"/machine\" }";
    let entry = Entry::of(tags.source, tags.raw(name)?, what, hint, found)?;
    entry.refuse_others(&["at"], found);
    if entry.raw("at").is_none() {
        entry.error("at", "is missing", hint, found);
    }
    let at = pointer(&entry, "at", found)?;
    Some(PayloadTag {
        name: name.to_owned(),
        at: Some(at),
    })
}

/// Tags that the format has unless others are configured.
pub(super) fn own_tags(format: PayloadFormat) -> Vec<PayloadTag> {
    let own = format.own_tags().iter().map(|(name, at)| PayloadTag {
        name: (*name).to_owned(),
        at: Some(Pointer::parse(at)),
    });
    own.collect()
}

/// What a topic that names the field asks of the rest.
pub(super) fn check_topic_field(
    stream: &Entry<'_>,
    format: PayloadFormat,
    has_samples: bool,
    fields: &[DeclaredField],
    found: &mut Diagnostics,
) {
    let is_fit = (format.has_pointers() || format.is_scalar()) && !has_samples;
    if !is_fit {
        let hint = "write + for that level, with a name if it is to be a tag";
        let message = "names a field, and this format names its fields itself";
        stream.error(keys::TOPIC.key(), message, hint, found);
    }
    if fields.iter().any(|field| field.pointer.is_some()) {
        let hint = "declare fields by the names that the topic gives them, and say with records = { value = \
                    \"/value\" } where the value is";
        stream.error(
            keys::FIELDS.key(),
            "`at` means nothing where the topic names the field",
            hint,
            found,
        );
    }
}

/// What the format says itself about tags.
pub(super) fn check_own_tags(
    stream: &Entry<'_>,
    format: PayloadFormat,
    filter: &str,
    tags: &[PayloadTag],
    found: &mut Diagnostics,
) {
    if format == PayloadFormat::SparkplugB && filters::captures(filter).next().is_some() {
        let hint = "write topic = \"spBv1.0/#\", without names: group, edge node and device become tags by \
                    themselves";
        stream.error(keys::TOPIC.key(), "has tags of its own", hint, found);
    }
    let places: &[&str] = match format {
        PayloadFormat::SenMl | PayloadFormat::SenMlCbor => &["bn"],
        PayloadFormat::Influx => &["measurement", "name", "series", "tags"],
        PayloadFormat::SparkplugB => &[],
        _ if format.has_pointers() || tags.is_empty() => return,
        _ => {
            let hint = "remove it: this format has no places; what the topic says can be a tag";
            stream.error(keys::TAGS.key(), "is read from the payload", hint, found);
            return;
        }
    };
    let is_place = |tag: &PayloadTag| {
        let first = tag.at.as_ref().and_then(|at| at.0.first());
        first.is_some_and(|first| places.contains(&&**first))
    };
    if let Some(tag) = tags.iter().find(|tag| !is_place(tag)) {
        let hint = match format {
            PayloadFormat::Influx => "write at = \"/measurement\", \"/tags/KEY\" or \"/series\"",
            PayloadFormat::SparkplugB => "remove it: group, edge node and device are tags already",
            _ => "write at = \"/bn\", the base name",
        };
        let message = format!("{}: there is no such place in this format", tag.name);
        stream.error(keys::TAGS.key(), message, hint, found);
    }
}

fn pointer(entry: &Entry<'_>, key: &str, found: &mut Diagnostics) -> Option<Pointer> {
    let text = entry.chosen(key, &POINTER, found)?;
    let error = json_pointer_error(&text).filter(|_| !text.is_empty());
    if let Some((message, hint)) = error {
        entry.error(key, message, hint, found);
        return None;
    }
    Some(Pointer::parse(&text))
}

fn steps(
    entry: &Entry<'_>,
    key: &str,
    at: &str,
    tags: &mut Vec<PayloadTag>,
    found: &mut Diagnostics,
) -> Vec<RecordStep> {
    if let Some((message, hint)) = json_pointer_error(at).filter(|_| !at.is_empty()) {
        entry.error(key, message, hint, found);
        return Vec::new();
    }
    let mut steps = Vec::new();
    for step in Pointer::parse(at).0 {
        let Some(name) = step.strip_prefix('+') else {
            steps.push(RecordStep::Key(step));
            continue;
        };
        if name.is_empty() {
            steps.push(RecordStep::Each(None));
            continue;
        }
        if !is_tag_name(name) || check_name(name).is_some() {
            let hint = "write +machine: letters, digits and _, a letter first, at most 64";
            entry.error(key, format!("`+{name}` names no tag"), hint, found);
        }
        steps.push(RecordStep::Each(Some(tags.len())));
        tags.push(PayloadTag {
            name: name.to_owned(),
            at: None,
        });
    }
    steps
}
