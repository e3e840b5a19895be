//! How the payloads of a topic are to be read: all of a rule but its topics.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    columns::Column,
    field_line::FieldLine,
    spelling::{key, list, quoted, table},
};

/// Most notes on one way to read.
const NOTES_MAX: usize = 16;

/// A format, as the configuration calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    #[default]
    Json,
    NdJson,
    Cbor,
    MessagePack,
    Number,
    Bool,
    Text,
    Scalar,
    Csv {
        delimiter: char,
        has_header: bool,
    },
    SenMl,
    SenMlCbor,
    Influx,
    Raw,
    Sparkplug,
}

impl Format {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Cbor => "cbor",
            Self::MessagePack => "msgpack",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Scalar => "scalar",
            Self::Csv { .. } => "csv",
            Self::SenMl => "senml",
            Self::SenMlCbor => "senml_cbor",
            Self::Influx => "influx",
            Self::Raw => "raw",
            Self::Sparkplug => "sparkplug_b",
        }
    }

    pub(super) fn is_bare(self) -> bool {
        matches!(self, Self::Number | Self::Bool | Self::Text | Self::Scalar)
    }
}

/// `records = { .. }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Records {
    pub(super) at: String,
    pub(super) name: Option<String>,
    pub(super) value: Option<String>,
    pub(super) quality: Option<String>,
    pub(super) good: Vec<String>,
}

/// What a rule says of payloads.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) format: Format,
    pub(super) records: Option<Records>,
    pub(super) time: Option<String>,
    pub(super) needs_zone: bool,
    pub(super) time_format: Option<&'static str>,
    /// Name and place of tags.
    pub(super) tags: Vec<(String, String)>,
    pub(super) samples: Vec<String>,
    pub(super) rate_at: Option<String>,
    pub(super) sample_type: Option<&'static str>,
    pub(super) exclude_fields: Vec<String>,
    pub(super) fields: Vec<FieldLine>,
    /// What lies in its records, by path.
    pub(super) columns: BTreeMap<String, Column>,
    /// Every payload is one value, which the topic names.
    pub(super) is_one_value: bool,
    /// It says whether a device is there.
    pub(super) is_presence: bool,
    /// What to know about it.
    pub(super) notes: Vec<String>,
}

impl Reading {
    /// Says something once; of many notes the first.
    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn of(format: Format) -> Self {
        Self {
            format,
            ..Self::default()
        }
    }

    /// What payloads must have in common to be of one rule, but for the time.
    pub(super) fn shape(&self) -> String {
        let format = match self.format {
            format if format.is_bare() => "bare",
            format => format.word(),
        };
        let mut shape = format!(
            "{format} {:?} {:?} {:?} {:?} {} {}",
            self.records,
            self.samples,
            self.rate_at,
            self.sample_type,
            self.is_one_value,
            self.is_presence
        );
        if let Format::Csv { .. } = self.format {
            let _cannot_fail = write!(shape, "{:?} {:?}", self.format, self.fields);
        }
        shape
    }

    /// What the times must have in common, if there are any.
    pub(super) fn clock(&self) -> Option<String> {
        let time = self.time.as_ref()?;
        Some(format!("{time} {:?}", self.time_format))
    }

    /// Whether it tells about devices and their topics instead of what they measure.
    pub(super) fn is_description(&self) -> bool {
        let columns = || self.columns.iter();
        let texts = columns().filter(|(_, column)| column.texts > 0).count();
        let names_topics = columns().any(|(path, _)| {
            let key = path.rsplit('.').next().unwrap_or_default();
            key.ends_with("topic") || key == "unique_id" || key == "uniq_id" || key.ends_with("_t")
        });
        texts >= 3 && names_topics && texts * 10 >= self.columns.len() * 6
    }

    /// Whether a field is left out.
    pub(super) fn is_excluded(&self, path: &str) -> bool {
        let mut excluded = self.exclude_fields.iter();
        excluded.any(|field| {
            path.strip_prefix(&**field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Takes on what another one of the same shape says.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.time.is_none() {
            self.time.clone_from(&other.time);
            self.time_format = other.time_format;
        }
        self.needs_zone |= other.needs_zone;
        for tag in &other.tags {
            if !self.tags.contains(tag) {
                self.tags.push(tag.clone());
            }
        }
        for field in &other.exclude_fields {
            if !self.exclude_fields.contains(field) {
                self.exclude_fields.push(field.clone());
            }
        }
        for note in &other.notes {
            self.note(note.clone());
        }
        for (path, column) in &other.columns {
            self.columns.entry(path.clone()).or_default().merge(column);
        }
    }

    /// The lines of a rule behind its name and topic.
    pub(super) fn lines(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| {
            let _cannot_fail = writeln!(out, "{key} = {value}");
        };
        if self.format != Format::Json {
            line("format", &quoted(self.format.word()));
        }
        if let Format::Csv {
            delimiter,
            has_header,
        } = self.format
        {
            if delimiter != ',' {
                line("delimiter", &quoted(&delimiter.to_string()));
            }
            if has_header {
                line("header", "true");
            }
        }
        if let Some(records) = &self.records {
            line("records", &records.written());
        }
        if !self.samples.is_empty() {
            line("samples", &list(&self.samples));
        }
        if let Some(rate_at) = &self.rate_at {
            line("rate_at", &quoted(rate_at));
        }
        if let Some(kind) = self.sample_type {
            line("sample_type", &quoted(kind));
        }
        if let Some(time) = &self.time {
            line("time", &quoted(time));
            if let Some(format) = self.time_format {
                line("time_format", &quoted(format));
            }
            if self.needs_zone {
                line("time_zone", "\"local\"");
            }
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter();
            let tags = tags.map(|(name, at)| format!("{} = {{ at = {} }}", key(name), quoted(at)));
            line("tags", &table(tags));
        }
        if !self.exclude_fields.is_empty() {
            let fields = self.exclude_fields.iter().map(|field| {
                let literal = field.replace('\\', "\\\\");
                literal.replace('*', "\\*").replace('?', "\\?")
            });
            line("exclude_fields", &list(&fields.collect::<Vec<_>>()));
        }
        if !self.fields.is_empty() {
            let fields = self.fields.iter().map(FieldLine::written);
            line("fields", &table(fields));
        }
        out
    }
}

impl Records {
    fn written(&self) -> String {
        if self.value.is_none() {
            return quoted(&self.at);
        }
        let at = (!self.at.is_empty()).then_some(&self.at);
        let parts = [
            ("at", at),
            ("name", self.name.as_ref()),
            ("value", self.value.as_ref()),
            ("quality", self.quality.as_ref()),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", quoted(value?))));
        let good = (!self.good.is_empty()).then(|| format!("good = {}", list(&self.good)));
        table(parts.chain(good))
    }
}
