//! What the check and the decoder say of rules that were made up.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::Path,
};

use super::{
    Seen,
    draft::Draft,
    levels::{Part, rule_name, written},
    reading::{Format, Reading},
    spelling::{list, quoted},
};
use dunlin_sync::sample::Schema;

use crate::{
    config::{
        self, Overrides,
        settings::{PayloadFormat, StreamRule},
    },
    record::{
        decode::{self, Decoded, Publish, Reason, Reject},
        route::{Destination, Router},
    },
    topic::cover,
};

/// Most bytes that a compressed payload may hold.
const INFLATED_BYTES_MAX: usize = 256 << 10;

/// A rule as it will be written.
pub(crate) struct Rule<'s> {
    pub(super) name: String,
    pub(super) parts: Vec<Part>,
    pub(super) filter: String,
    pub(super) excluded: Vec<String>,
    pub(super) reading: Reading,
    pub(super) topics: Vec<&'s str>,
}

impl<'s> Rule<'s> {
    /// With a name that none of `names` is.
    pub(super) fn of(draft: Draft<'s>, names: &[String]) -> Self {
        let tags: Vec<String> = draft
            .reading
            .tags
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let name = match draft.reading.format {
            Format::Sparkplug => rule_name(&[Part::Literal("sparkplug".to_owned())], names),
            _ => rule_name(&draft.parts, names),
        };
        let mut reading = draft.reading;
        if reading.is_one_value
            && !draft
                .parts
                .iter()
                .any(|part| matches!(part, Part::Field | Part::RestField))
            && reading.records.is_some()
        {
            // Its value is called as the topic ends.
            reading.records = None;
        }
        Self {
            name,
            filter: written(&draft.parts, &tags),
            parts: draft.parts,
            excluded: Vec::new(),
            reading,
            topics: draft.topics,
        }
    }

    /// As it is in the file.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "[[stream]]\nname = {}\ntopic = {}\n",
            quoted(&self.name),
            quoted(&self.filter)
        );
        if !self.excluded.is_empty() {
            let _cannot_fail = writeln!(text, "exclude = {}", list(&self.excluded));
        }
        text.push_str(&self.reading.lines());
        text
    }

    /// Makes tags of levels where `other` takes anything, so that it takes all that both may take; whether it
    /// does then.
    pub(super) fn widen_over(&mut self, other: &Rule<'_>) -> bool {
        for (own, others) in self.parts.iter_mut().zip(&other.parts).skip(1) {
            if matches!(own, Part::Literal(_)) && !matches!(others, Part::Literal(_)) {
                *own = Part::Tag;
            }
        }
        let tags: Vec<String> = self
            .reading
            .tags
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        self.filter = written(&self.parts, &tags);
        self.takes_all_of(&other.filter)
    }

    /// Levels behind that of the field that [`Rule::widen_over`] would make tags: what they say would be lost.
    pub(super) fn harm_of_widening(&self, other: &Rule<'_>) -> usize {
        let is_field = |part: &Part| matches!(part, Part::Field);
        let field = self
            .parts
            .iter()
            .position(is_field)
            .unwrap_or(self.parts.len());
        let pairs = self.parts.iter().zip(&other.parts).skip(field);
        pairs
            .filter(|(own, others)| {
                matches!(own, Part::Literal(_)) && !matches!(others, Part::Literal(_))
            })
            .count()
    }

    /// Whether some brokers would send twice what is published on a topic of both.
    pub(super) fn is_tangled_with(&self, other: &Rule<'_>) -> bool {
        cover::overlap(&self.filter, &other.filter)
            && !self.takes_all_of(&other.filter)
            && !other.takes_all_of(&self.filter)
    }

    /// What is decided last: narrow rules come first.
    pub(super) fn width(&self) -> (bool, usize, std::cmp::Reverse<usize>) {
        width(&self.parts, self.topics.len())
    }

    /// Whether it takes whatever `filter` takes.
    pub(super) fn takes_all_of(&self, filter: &str) -> bool {
        cover::covers(&self.filter, filter)
    }
}

/// How much a filter takes: the wider, the more.
pub(super) fn width(parts: &[Part], topics: usize) -> (bool, usize, std::cmp::Reverse<usize>) {
    let wild = parts
        .iter()
        .filter(|part| !matches!(part, Part::Literal(_)))
        .count();
    let has_rest = matches!(parts.last(), Some(Part::RestField));
    (has_rest, wild, std::cmp::Reverse(topics))
}

/// What became of the samples of a rule.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Different payloads that are decoded, wholly or in part.
    pub(super) taken: u64,
    /// Different payloads that are not; and why the first is not.
    pub(super) refused: u64,
    pub(super) refusal: Option<String>,
    /// Why the first value is missing that came.
    pub(super) misfit: Option<String>,
    /// Topics that it takes and was not made for.
    pub(super) strangers: Vec<String>,
}

/// The stream rules of a configuration made of `text`.
fn checked(text: &str) -> Option<Vec<StreamRule>> {
    let mut overrides = Overrides::default().set("mqtt.url", "mqtt://localhost");
    if !crate::features::SQLITE.is_in {
        overrides = overrides.set("upstream.url", "tdengine://localhost:6041/dunlin");
    }
    let checked = config::check_text(Path::new("dunlin.toml"), text, &overrides);
    checked.settings.ok().map(|settings| settings.streams)
}

fn settings(rules: &[Rule<'_>]) -> Option<Vec<StreamRule>> {
    let texts: Vec<String> = rules.iter().map(Rule::text).collect();
    checked(&texts.join("\n"))
}

/// Whether a file with these rules passes the check.
pub(super) fn passes(rules: &[Rule<'_>]) -> bool {
    rules.is_empty() || settings(rules).is_some()
}

/// What each rule makes of what was seen.
pub(super) fn verdicts(rules: &[Rule<'_>], seen: &Seen) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = rules.iter().map(|_| Verdict::default()).collect();
    let Some(streams) = settings(rules) else {
        return verdicts;
    };
    let router = Router::new(&streams);
    let made_for: BTreeMap<&str, usize> = rules
        .iter()
        .enumerate()
        .flat_map(|(number, rule)| rule.topics.iter().map(move |topic| (*topic, number)))
        .collect();
    let schemas = schemas(&streams, &router, seen);
    for (topic, of_topic) in seen.topics() {
        let Ok(destination) = router.route(topic.as_bytes()) else {
            continue;
        };
        let Destination::Stream(route) = &*destination else {
            continue;
        };
        let verdict = &mut verdicts[route.rule];
        let is_stranger = made_for.get(topic) != Some(&route.rule);
        if is_stranger && !of_topic.samples.is_empty() {
            verdict.strangers.push(topic.to_owned());
            continue;
        }
        for sample in &of_topic.samples {
            let schema = Some(&schemas[route.rule]);
            match decoded(&streams[route.rule], schema, route.field.as_deref(), sample) {
                Ok(decoded) => {
                    verdict.taken += 1;
                    let misfit = decoded.misfits.kinds.first();
                    let misfit = misfit.map(|misfit| misfit.detail.clone());
                    verdict.misfit = verdict.misfit.take().or(misfit);
                }
                Err(reject) => {
                    verdict.refused += 1;
                    verdict
                        .refusal
                        .get_or_insert_with(|| format!("{}: {}", reject.reason, reject.detail));
                }
            }
        }
    }
    verdicts
}

/// What each rule's table will hold once all of it has come.
fn schemas(streams: &[StreamRule], router: &Router, seen: &Seen) -> Vec<Schema> {
    let schema = |rule: &StreamRule| Schema {
        id: 0,
        name: rule.name.clone(),
        tag_names: Vec::new(),
        fields: rule
            .fields
            .iter()
            .map(|declared| declared.field.clone())
            .collect(),
        origins: Vec::new(),
    };
    let mut schemas: Vec<Schema> = streams.iter().map(schema).collect();
    for (topic, of_topic) in seen.topics() {
        let Ok(destination) = router.route(topic.as_bytes()) else {
            continue;
        };
        let Destination::Stream(route) = &*destination else {
            continue;
        };
        for sample in &of_topic.samples {
            let schema = &schemas[route.rule];
            let decoded = decoded(
                &streams[route.rule],
                Some(schema),
                route.field.as_deref(),
                sample,
            );
            if let Ok(decoded) = decoded {
                schemas[route.rule].fields.extend(decoded.new_fields);
            }
        }
    }
    schemas
}

fn decoded(
    rule: &StreamRule,
    schema: Option<&Schema>,
    field: Option<&str>,
    payload: &[u8],
) -> Result<Decoded, Reject> {
    if rule.format == PayloadFormat::SparkplugB {
        return Ok(Decoded::default());
    }
    let publish = Publish {
        bytes_max: INFLATED_BYTES_MAX,
        field,
        ..Publish::of(payload)
    };
    decode::decode(rule, schema, publish)
}

/// Rules by their text: many topics are read alike.
pub(super) type Known = HashMap<String, Option<StreamRule>>;

/// The first reading that takes at least half of the samples, or else the one that takes most.
pub(super) fn best(
    readings: Vec<Reading>,
    samples: &[Vec<u8>],
    known: &mut Known,
) -> Option<Reading> {
    let mut best: Option<(usize, Reading)> = None;
    for reading in readings {
        let taken = taken(&reading, samples, known);
        if taken * 2 >= samples.len() {
            return Some(reading);
        }
        if taken > best.as_ref().map_or(0, |(known, _)| *known) {
            best = Some((taken, reading));
        }
    }
    best.map(|(_, reading)| reading)
}

/// Samples that the decoder takes.
fn taken(reading: &Reading, samples: &[Vec<u8>], known: &mut Known) -> usize {
    let is_named = reading.is_one_value && reading.fields.is_empty();
    let filter = if is_named { "a/{field}" } else { "a/b" };
    let text = format!(
        "[[stream]]\nname = \"a\"\ntopic = \"{filter}\"\n{}",
        reading.lines()
    );
    let rule = known.entry(text).or_insert_with_key(|text| {
        let rules = checked(text)?;
        rules.into_iter().next()
    });
    let Some(rule) = rule else {
        return 0;
    };
    let field = is_named.then_some("b");
    let is_taken = |sample: &&Vec<u8>| match decoded(rule, None, field, sample) {
        Ok(decoded) => {
            let mut misfits = decoded.misfits.kinds.iter();
            !misfits.any(|misfit| misfit.reason == Reason::TooManyFields)
        }
        // What says nothing now may say something later.
        Err(reject) => reject.reason == Reason::Empty && reading.records.is_none(),
    };
    samples.iter().filter(is_taken).count()
}
