//! `dunlin try`: what would become of a payload, without a broker or an agent.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use dunlin_sync::sample::{Field, Value};
use serde_json::json;

use super::{Exit, Outcome};
use crate::{
    base::text,
    config::{
        self, Overrides,
        settings::{PayloadFormat, Settings, StreamRule},
    },
    record::{
        decode::{self, Decoded, Publish, Reason, Record, Reject, Sessions},
        route::{Destination, Route, Router, tag_names},
    },
};

/// Records shown; more are counted.
const RECORDS_SHOWN_MAX: usize = 10;

/// Options of `dunlin try`.
#[derive(Args, Clone, Debug)]
pub struct TryArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Topic on which it would arrive
    #[arg(long)]
    topic: String,
    /// File with the payload; - reads standard input
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows which rule takes the payload, which streams and rows it would become, and what would be left out.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes, [`Exit::Failed`] for a payload that cannot be read,
/// [`Exit::Found`] for one that would go to quarantine, in whole or in part.
pub fn run(args: &TryArgs) -> Outcome {
    let settings = config::load(args.config.as_deref(), &Overrides::default())?;
    let payload = payload(args)?;
    let sessions = Sessions::of(&settings.data_dir);
    let attempt = attempt(&settings, &sessions, &args.topic, &payload, payload.len());
    let shown = if args.json {
        format!("{:#}\n", attempt.as_json())
    } else {
        attempt.as_text()
    };
    let written = std::io::stdout().write_all(shown.as_bytes());
    written.map_err(|error| Exit::Failed(error.to_string()))?;
    if attempt.is_whole() {
        return Ok(());
    }
    Err(Exit::Found("not all of it would be stored".to_owned()))
}

fn payload(args: &TryArgs) -> Result<Vec<u8>, Exit> {
    let file = &args.payload;
    let mut payload = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut payload)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut payload))
    };
    read.map_err(|error| Exit::Failed(format!("{}: {error}", file.display())))?;
    Ok(payload)
}

/// What became of a payload.
pub(super) enum Attempt<'s> {
    Excluded,
    Refused(Option<&'s StreamRule>, Reject),
    Nothing(&'s StreamRule),
    Decoded(&'s StreamRule, Route, Box<Decoded>),
}

/// What becomes of a payload of `bytes` bytes, of which those beyond the bound need not be here.
pub(super) fn attempt<'s>(
    settings: &'s Settings,
    sessions: &Sessions,
    topic: &str,
    payload: &[u8],
    bytes: usize,
) -> Attempt<'s> {
    let router = Router::new(&settings.streams);
    let destination = match router.route(topic.as_bytes()) {
        Ok(destination) => destination,
        Err(reject) => return Attempt::Refused(None, reject),
    };
    let Destination::Stream(route) = &*destination else {
        return Attempt::Excluded;
    };
    let rule = &settings.streams[route.rule];
    let bytes_max = settings.mqtt.payload_bytes_max as usize;
    if bytes > bytes_max {
        let detail = format!("{bytes} bytes (mqtt.payload_bytes_max)");
        let reject = Reject::new(Reason::TooLarge, detail);
        return Attempt::Refused(Some(rule), reject);
    }
    let publish = Publish {
        bytes_max,
        field: route.field.as_deref(),
        ..Publish::of(payload)
    };
    let decoded = if rule.format == PayloadFormat::SparkplugB {
        let decoded = decode::decode_sparkplug(rule, None, publish, topic, sessions);
        decoded.and_then(|decoded| decoded.map(|(decoded, _)| decoded).transpose())
    } else {
        decode::decode(rule, None, publish).map(Some)
    };
    match decoded {
        Ok(Some(decoded)) if decoded.groups.is_empty() => Attempt::Nothing(rule),
        Ok(Some(decoded)) => Attempt::Decoded(rule, route.clone(), Box::new(decoded)),
        Ok(None) => Attempt::Nothing(rule),
        Err(reject) => Attempt::Refused(Some(rule), reject),
    }
}

impl Attempt<'_> {
    fn is_whole(&self) -> bool {
        match self {
            Self::Excluded | Self::Nothing(_) => true,
            Self::Refused(..) => false,
            Self::Decoded(.., decoded) => decoded.misfits.is_empty(),
        }
    }

    /// Name of the rule that takes it.
    pub(super) fn rule(&self) -> Option<&str> {
        match self {
            Self::Excluded | Self::Refused(None, _) => None,
            Self::Refused(Some(rule), _) | Self::Nothing(rule) | Self::Decoded(rule, ..) => {
                Some(&rule.name)
            }
        }
    }

    pub(super) fn as_text(&self) -> String {
        let mut out = String::new();
        let _cannot_fail = match self {
            Self::Excluded => writeln!(out, "its rule excludes the topic: it would be left alone"),
            Self::Nothing(rule) => {
                writeln!(out, "rule      {}\nnothing in it to store", described(rule))
            }
            Self::Refused(rule, reject) => {
                if let Some(rule) = rule {
                    let _cannot_fail = writeln!(out, "rule      {}", described(rule));
                }
                writeln!(
                    out,
                    "refused   {}: it would go to quarantine\n          {}\n          {}",
                    reject.reason,
                    reject.detail,
                    reject.reason.advice()
                )
            }
            Self::Decoded(rule, route, decoded) => {
                out.push_str(&decoded_text(rule, route, decoded));
                Ok(())
            }
        };
        out
    }

    pub(super) fn as_json(&self) -> serde_json::Value {
        match self {
            Self::Excluded => json!({ "excluded": true }),
            Self::Nothing(rule) => json!({ "rule": rule.name, "streams": [] }),
            Self::Refused(rule, reject) => json!({
                "rule": rule.map(|rule| &rule.name),
                "refused": { "reason": reject.reason.as_str(), "detail": reject.detail },
            }),
            Self::Decoded(rule, route, decoded) => decoded_json(rule, route, decoded),
        }
    }
}

fn described(rule: &StreamRule) -> String {
    format!("{} (topic {})", rule.name, rule.filter.as_str())
}

/// Names and values of a stream's tags, but for the device.
fn tags<'r>(
    rule: &'r StreamRule,
    route: &'r Route,
    payload: &'r [String],
) -> Vec<(String, &'r str)> {
    let names = tag_names(rule).into_iter().skip(1);
    let values = route
        .captures
        .iter()
        .chain(payload)
        .chain(rule.tags.values());
    names.zip(values.map(String::as_str)).collect()
}

fn decoded_text(rule: &StreamRule, route: &Route, decoded: &Decoded) -> String {
    let mut out = format!("rule      {}\n", described(rule));
    for group in &decoded.groups {
        let tags: Vec<String> = tags(rule, route, &group.tags)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let _cannot_fail = writeln!(out, "stream    {}", route.stream_with(&group.tags));
        let _cannot_fail = writeln!(out, "tags      {}", tags.join(" "));
        for record in group.records.iter().take(RECORDS_SHOWN_MAX) {
            let time = match record.source_ts {
                None => "the time of arrival".to_owned(),
                Some(ns) if rule.time_range.contains(ns, None) => text::time(ns),
                Some(ns) => format!("{} is before time_min: left out", text::time(ns)),
            };
            let _cannot_fail = writeln!(out, "record    {time}");
            for (field, value) in values(decoded, record) {
                let name = text::printable(&field.name);
                let _cannot_fail = writeln!(
                    out,
                    "  {name:<24} {:<5} {}",
                    field.kind.name(),
                    shown(value)
                );
            }
        }
        let more = group.records.len().saturating_sub(RECORDS_SHOWN_MAX);
        if more > 0 {
            let _cannot_fail = writeln!(out, "          and {more} more records");
        }
    }
    for misfit in &decoded.misfits.kinds {
        let name = text::printable(&misfit.field);
        let (reason, detail) = (misfit.reason, text::printable(&misfit.detail));
        let _cannot_fail = writeln!(out, "left out  {name}: {reason}: {detail}");
    }
    if decoded.records_excluded > 0 {
        let _cannot_fail = writeln!(
            out,
            "excluded  {} more records: include_fields and exclude_fields leave nothing of them",
            decoded.records_excluded
        );
    }
    out
}

fn decoded_json(rule: &StreamRule, route: &Route, decoded: &Decoded) -> serde_json::Value {
    let streams = decoded.groups.iter().map(|group| {
        let tags = tags(rule, route, &group.tags).into_iter();
        let tags: serde_json::Map<_, _> = tags.map(|(name, value)| (name, value.into())).collect();
        let records = group.records.iter().map(|record| {
            let values =
                values(decoded, record).map(|(field, value)| (field.name.clone(), json_of(value)));
            let values: serde_json::Map<_, _> = values.collect();
            json!({ "source_ts": record.source_ts, "values": values })
        });
        json!({
            "stream": route.stream_with(&group.tags),
            "tags": tags,
            "records": records.collect::<Vec<_>>(),
        })
    });
    let misfits = decoded.misfits.kinds.iter().map(|misfit| {
        json!({
            "field": misfit.field,
            "reason": misfit.reason.as_str(),
            "detail": misfit.detail,
            "values": misfit.values,
        })
    });
    let types = decoded
        .new_fields
        .iter()
        .map(|field| (field.name.clone(), field.kind.name().into()));
    json!({
        "rule": rule.name,
        "types": types.collect::<serde_json::Map<_, _>>(),
        "streams": streams.collect::<Vec<_>>(),
        "left_out": misfits.collect::<Vec<_>>(),
        "records_excluded": decoded.records_excluded,
    })
}

fn values<'d>(
    decoded: &'d Decoded,
    record: &'d Record,
) -> impl Iterator<Item = (&'d Field, &'d Value)> {
    let values = record.values.iter();
    values.filter_map(|(at, value)| Some((decoded.new_fields.get(at)?, value)))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{}\"", text::printable(text)),
        other => json_of(other).to_string(),
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::F64(number) => json!(number),
        Value::F32(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::Bool(truth) => json!(truth),
        Value::Text(text) => json!(&**text),
    }
}

#[cfg(test)]
mod tests;
