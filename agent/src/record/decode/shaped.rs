//! Payloads whose records lie inside, or that say themselves which stream they belong to.
//!
//! `records` is the way to them; a list on the way, or at its end, stands for each of its items. With
//! `value`, what lies there are objects that stand for one value each (`{"id":"rpm","v":600,"t":..}`): those
//! of the same stream and the same time make up one record, in the order in which their times first came.
//! Without, each object is a record. The time and the tags are looked for in the object, then in what it
//! lies in, from the inside out.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _};

use super::{
    RECORDS_MAX, Reason, Reject,
    builder::{Below, Builder, TIME_BYTES_MAX, long_time},
    names::clean_tag,
    path_of, quoted, scalar,
    tag_objects::{self, Keys},
    tape::Value,
    value::Cell,
};
use crate::config::settings::{Pointer, RecordStep, RecordsAt, StreamRule};

/// Levels around a record that are looked at, so that a record costs no more than its bytes.
const LEVELS_MAX: usize = 16;

/// What a record lies in, and what is said there. Looked up once, however many records lie in it.
struct Level<'t, 'a> {
    time: Option<&'t Cell<'a>>,
    tags: Vec<Option<Cow<'t, str>>>,
}

/// The way to a record.
struct Around<'t, 'a> {
    /// What it lies in, from the outside.
    levels: Vec<Level<'t, 'a>>,
    /// Keys on the way that are tags, by the tag's number.
    keys: Vec<(usize, Cow<'t, str>)>,
    /// Key of the object itself, if it lies in one.
    own_key: Option<Cow<'t, str>>,
}

/// Objects of one stream and one time.
struct Parcel<'t, 'a> {
    tags: Vec<String>,
    time: Option<&'t Cell<'a>>,
    values: Vec<(Cow<'t, str>, Value<'t, 'a>)>,
}

/// Collects what is found.
struct Found<'b, 'r, 't, 'a> {
    rule: &'r StreamRule,
    at: Option<&'r RecordsAt>,
    time: Option<Pointer>,
    field: Option<&'t str>,
    builder: &'b mut Builder<'r>,
    parcels: Vec<Parcel<'t, 'a>>,
    by_key: HashMap<(Vec<String>, String), usize>,
}

/// `field` is what the topic says the field is called.
pub(super) fn decode<'t>(
    root: Value<'t, '_>,
    field: Option<&'t str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    let rule = builder.rule();
    let mut objects = root.items().filter(|item| item.is_object());
    if rule.records.is_none()
        && rule.payload_tags.is_empty()
        && let Some(first) = objects.next()
    {
        let second = objects.next().map(keys);
        tag_objects::refuse_as_records(builder, &keys(first), second.as_ref())?;
    }
    let mut found = Found {
        rule,
        at: rule.records.as_ref(),
        time: rule.time.as_deref().map(Pointer::parse),
        field,
        builder,
        parcels: Vec::new(),
        by_key: HashMap::new(),
    };
    let steps = found.at.map_or(&[][..], |at| &at.steps);
    let mut around = Around {
        levels: Vec::new(),
        keys: Vec::new(),
        own_key: None,
    };
    found.follow(root, steps, &mut around)?;
    found.finish()
}

impl<'t, 'a> Found<'_, '_, 't, 'a> {
    fn follow(
        &mut self,
        value: Value<'t, 'a>,
        steps: &[RecordStep],
        around: &mut Around<'t, 'a>,
    ) -> Result<(), Reject> {
        if around.levels.len() >= LEVELS_MAX {
            return Err(Reject::new(
                Reason::NotJson,
                "lists within lists within lists",
            ));
        }
        if value.is_array() {
            around.levels.push(Level {
                time: None,
                tags: Vec::new(),
            });
            for item in value.items() {
                self.follow(item, steps, around)?;
            }
            around.levels.pop();
            return Ok(());
        }
        let Some((step, rest)) = steps.split_first() else {
            return self.take(value, around);
        };
        around.levels.push(self.level(value)?);
        match step {
            RecordStep::Key(key) => {
                // Some messages of a device have it, others have not.
                if let Some((_, inner)) = value.members().find(|(own, _)| **own == **key) {
                    self.follow(inner, rest, around)?;
                }
            }
            RecordStep::Each(tag) => {
                for (key, inner) in value.members() {
                    around.keys.extend(tag.map(|tag| (tag, key)));
                    self.follow(inner, rest, around)?;
                    if tag.is_some() {
                        around.keys.pop();
                    }
                }
            }
        }
        around.levels.pop();
        Ok(())
    }

    /// At the end of the way: an object, or a single value.
    fn take(&mut self, value: Value<'t, 'a>, around: &mut Around<'t, 'a>) -> Result<(), Reject> {
        let Some(at) = self.at.filter(|at| at.value.is_some()) else {
            return self.take_record(value, around);
        };
        let is_by_key = at.name.is_none() && self.field.is_none();
        if !is_by_key {
            return self.take_value(value, at, around);
        }
        // The keys of an object are the names of what lies in it.
        around.levels.push(self.level(value)?);
        for (key, inner) in value.members() {
            around.own_key = Some(key);
            if inner.is_array() {
                for item in inner.items() {
                    self.take_value(item, at, around)?;
                }
            } else {
                self.take_value(inner, at, around)?;
            }
        }
        around.own_key = None;
        around.levels.pop();
        Ok(())
    }

    fn take_record(&mut self, value: Value<'t, 'a>, around: &Around<'t, 'a>) -> Result<(), Reject> {
        let tags = self.tags(value, around);
        if !tags.is_empty() {
            self.builder.set_tags(tags);
        }
        if let Some(cell) = value.as_scalar() {
            let time = time_around(around);
            return scalar::record(cell, self.field, time, self.builder);
        }
        self.builder.begin()?;
        let mut path = self.field.unwrap_or_default().to_owned();
        self.builder.set_prefix(&path);
        members(value, self.builder, &mut path)?;
        if !self.builder.has_time()
            && let Some(time) = time_around(around)
        {
            self.builder.put_time(time)?;
        }
        self.builder.end()
    }

    fn take_value(
        &mut self,
        value: Value<'t, 'a>,
        at: &RecordsAt,
        around: &Around<'t, 'a>,
    ) -> Result<(), Reject> {
        let inner = at.value.as_ref().and_then(|pointer| value.at(&pointer.0));
        let name = match (&at.name, &around.own_key, self.field) {
            (Some(pointer), ..) => {
                let name = value
                    .at(&pointer.0)
                    .and_then(Value::as_scalar)
                    .and_then(text_of);
                let Some(name) = name else {
                    let detail = "an object without a name";
                    self.builder.note_misfit("*", Reason::MissingField, detail);
                    return Ok(());
                };
                // A place as a name is the path that other messages have there.
                match name {
                    Cow::Borrowed(name) => path_of(name),
                    Cow::Owned(name) => Cow::Owned(path_of(&name).into_owned()),
                }
            }
            (None, Some(key), _) => key.clone(),
            (None, None, Some(field)) => Cow::Borrowed(field),
            (None, None, None) => return Ok(()),
        };
        let tags = self.tags(value, around);
        let time = self.time_in(value)?.or_else(|| time_around(around));
        let key = (
            tags,
            time.map_or_else(String::new, |time| format!("{time:?}")),
        );
        let (next, known) = (self.parcels.len(), self.by_key.get(&key).copied());
        if known.is_none() && next >= RECORDS_MAX {
            let detail = format!("more than {RECORDS_MAX} records in one publish; send several");
            return Err(Reject::new(Reason::TooManyRecords, detail));
        }
        let parcel = known.unwrap_or_else(|| {
            let (tags, values) = (key.0.clone(), Vec::new());
            self.parcels.push(Parcel { tags, time, values });
            self.by_key.insert(key, next);
            next
        });
        let is_good = at.quality.as_ref().is_none_or(|pointer| {
            let quality = value.at(&pointer.0).and_then(Value::as_scalar);
            quality.is_none_or(|quality| is_good(quality, &at.good))
        });
        if !is_good {
            let detail = format!("{} has a bad quality", quoted(&name));
            self.builder.note_misfit(&name, Reason::BadQuality, &detail);
            return Ok(());
        }
        let Some(inner) = inner else {
            let detail = format!("{} comes without a value", quoted(&name));
            self.builder
                .note_misfit(&name, Reason::MissingField, &detail);
            return Ok(());
        };
        self.parcels[parcel].values.push((name, inner));
        Ok(())
    }

    fn finish(self) -> Result<(), Reject> {
        let builder = self.builder;
        let has_values = self.parcels.iter().any(|parcel| !parcel.values.is_empty());
        if !self.parcels.is_empty() && !has_values && !builder.has_misfit(Reason::BadQuality) {
            let detail = "no object has a value at `value` (or a name at `name`)";
            return Err(Reject::new(Reason::MissingField, detail));
        }
        for parcel in self.parcels {
            if !parcel.tags.is_empty() {
                builder.set_tags(parcel.tags);
            }
            builder.begin()?;
            if let Some(time) = parcel.time {
                builder.put_time(time)?;
            }
            builder.note_any();
            for (name, value) in parcel.values {
                put(value, builder, &mut name.into_owned())?;
            }
            builder.end()?;
        }
        if builder.begun() == 0 {
            let detail = match self.at {
                Some(at) => format!("nothing lies at `{}`", way(&at.steps)),
                None => "an empty list".to_owned(),
            };
            return Err(Reject::new(Reason::Empty, detail));
        }
        Ok(())
    }

    /// The time that an object itself says.
    fn time_in(&self, value: Value<'t, 'a>) -> Result<Option<&'t Cell<'a>>, Reject> {
        let time = self.time.as_ref().and_then(|time| value.at(&time.0));
        let time = time.and_then(Value::as_scalar);
        match time {
            // It is looked at for every record that lies in it.
            Some(Cell::Text(text)) if text.len() > TIME_BYTES_MAX => Err(long_time(text)),
            Some(Cell::Number(text)) if text.len() > TIME_BYTES_MAX => Err(long_time(text)),
            time => Ok(time),
        }
    }

    /// What an object says for all that lies in it.
    fn level(&self, value: Value<'t, 'a>) -> Result<Level<'t, 'a>, Reject> {
        let tags = self.rule.payload_tags.iter();
        Ok(Level {
            time: self.time_in(value)?,
            tags: tags.map(|tag| tag_at(value, tag.at.as_ref()?)).collect(),
        })
    }

    /// Values of the rule's payload tags.
    fn tags(&self, value: Value<'t, 'a>, around: &Around<'t, 'a>) -> Vec<String> {
        let tags = self.rule.payload_tags.iter().enumerate();
        let tags = tags.map(|(number, tag)| {
            let text = match &tag.at {
                None => {
                    let mut keys = around.keys.iter().rev();
                    keys.find(|(of, _)| *of == number)
                        .map(|(_, key)| key.clone())
                }
                Some(pointer) => tag_at(value, pointer).or_else(|| {
                    let mut levels = around.levels.iter().rev();
                    levels.find_map(|level| level.tags.get(number)?.clone())
                }),
            };
            clean_tag(text.as_deref().unwrap_or_default())
        });
        tags.collect()
    }
}

fn tag_at<'t>(value: Value<'t, '_>, at: &Pointer) -> Option<Cow<'t, str>> {
    text_of(value.at(&at.0)?.as_scalar()?)
}

fn time_around<'t, 'a>(around: &Around<'t, 'a>) -> Option<&'t Cell<'a>> {
    around.levels.iter().rev().find_map(|level| level.time)
}

fn text_of<'t>(cell: &'t Cell<'_>) -> Option<Cow<'t, str>> {
    const BYTES_MAX: usize = 1024;
    let text = cell.text().filter(|text| !text.is_empty())?;
    if text.len() <= BYTES_MAX {
        return Some(text);
    }
    // Longer than any name: it is looked at for every record that lies around it.
    Some(Cow::Owned(
        text[..text.floor_char_boundary(BYTES_MAX)].to_owned(),
    ))
}

/// Whether a value that has this quality counts: true, a word that begins with `good`, 192 to 255 (OPC).
fn is_good(quality: &Cell<'_>, good: &[String]) -> bool {
    let Some(text) = quality.text() else {
        return true;
    };
    if !good.is_empty() {
        return good.iter().any(|word| text.eq_ignore_ascii_case(word));
    }
    let number = || {
        text.parse::<f64>()
            .is_ok_and(|code| (192.0..=255.0).contains(&code))
    };
    let start = text.get(..4).unwrap_or_default();
    text.eq_ignore_ascii_case("true") || start.eq_ignore_ascii_case("good") || number()
}

/// Puts all that lies in an object or array at `path`.
pub(super) fn members(
    value: Value<'_, '_>,
    builder: &mut Builder<'_>,
    path: &mut String,
) -> Result<(), Reject> {
    let parent_bytes = path.len();
    let mut member = |key: &str, inner: Value<'_, '_>, path: &mut String| {
        if parent_bytes > 0 {
            path.push('.');
        }
        path.push_str(key);
        let put = put(inner, builder, path);
        path.truncate(parent_bytes);
        put
    };
    for (key, inner) in value.members() {
        member(&key, inner, path)?;
    }
    for (position, inner) in value.items().enumerate() {
        member(&position.to_string(), inner, path)?;
    }
    Ok(())
}

/// The keys of an object, with what lies there.
fn keys<'a>(object: Value<'_, 'a>) -> Keys<'a> {
    let keys = object.members().map(|(key, value)| {
        let cell = value.as_scalar().cloned().unwrap_or(Cell::Null);
        (key.into_owned(), cell)
    });
    keys.collect()
}

/// Puts a value and all that lies in it at `path`.
fn put(value: Value<'_, '_>, builder: &mut Builder<'_>, path: &mut String) -> Result<(), Reject> {
    if builder.skips(path) {
        return Ok(());
    }
    if let Some(cell) = value.as_scalar() {
        return builder.put(path, cell);
    }
    let below = builder.below(path)?;
    if below == Below::Nothing {
        return Ok(());
    }
    let first = value.items().next().filter(|first| first.is_object());
    let Some(first) = first else {
        return members(value, builder, path);
    };
    if below == Below::Inferred && !builder.has_declared_below(path) {
        return Err(tag_objects::list_refused(path, &keys(first)));
    }
    let before = std::mem::replace(&mut builder.declared_only, true);
    members(value, builder, path)?;
    builder.declared_only = before;
    Ok(())
}

/// The way to the records as it is written.
fn way(steps: &[RecordStep]) -> String {
    let mut way = String::new();
    for step in steps {
        let _cannot_fail = match step {
            RecordStep::Key(key) => write!(way, "/{key}"),
            RecordStep::Each(_) => write!(way, "/+"),
        };
    }
    if way.is_empty() { "/".to_owned() } else { way }
}
