//! `dunlin tap`: what comes from the broker, as it would be stored. In a session of its own: nothing is
//! stored, and nothing acknowledged but to this command.

use std::{io::Write as _, path::PathBuf, time::Duration};

use clap::Args;

use super::{Exit, Outcome, attempt::attempt, listening::Listening};
use crate::{
    base::text,
    config::{self, Overrides, settings::Settings},
    mqtt::{
        LinkProblem,
        wire::{self, Packet, Publish},
    },
    record::decode::Sessions,
    topic::{
        TopicFilter,
        cover::{unshared, without_covered},
    },
};

/// Characters of a payload that are shown as it came.
const RAW_CHARACTERS_MAX: usize = 500;

/// Options of `dunlin tap`.
#[derive(Args, Clone, Debug)]
pub struct TapArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only what this stream rule takes
    #[arg(long, value_name = "RULE")]
    stream: Option<String>,
    /// Listen to these topics instead of those of the rules
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// Show payloads as they come
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// End after so many publishes
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Print JSON, one publish a line
    #[arg(long)]
    json: bool,
}

/// Shows publishes until it is interrupted or has shown enough.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes, [`Exit::Failed`] for a broker that does not let us.
pub async fn run(args: TapArgs) -> Outcome {
    let settings = config::load(args.config.as_deref(), &Overrides::default())?;
    let filters = filters(&args, &settings)?;
    let until = args.seconds.map(Duration::from_secs);
    let tapped = tap(&args, &settings, &filters);
    let ended = async {
        match until {
            Some(until) => tokio::time::sleep(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        tapped = tapped => tapped,
        () = ended => Ok(()),
        _interrupted = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn filters(args: &TapArgs, settings: &Settings) -> Result<Vec<String>, Exit> {
    if let Some(topic) = &args.topic {
        let filter = TopicFilter::parse(topic);
        let filter = filter.map_err(|error| Exit::Usage(format!("--topic: {error}")))?;
        return Ok(vec![filter.mqtt_filter()]);
    }
    let wanted = |name: &str| args.stream.as_ref().is_none_or(|stream| stream == name);
    let rules = settings.streams.iter().filter(|rule| wanted(&rule.name));
    let filters: Vec<String> = rules.map(|rule| rule.filter.mqtt_filter()).collect();
    if filters.is_empty() {
        let names: Vec<&str> = settings.streams.iter().map(|rule| &*rule.name).collect();
        return Err(Exit::Usage(format!(
            "there is no such stream; those of the configuration: {}",
            names.join(", ")
        )));
    }
    // What is shared would not come to whoever shares it.
    let plain = filters.iter().map(|filter| unshared(filter).to_owned());
    Ok(without_covered(&plain.collect::<Vec<_>>()))
}

async fn tap(args: &TapArgs, settings: &Settings, filters: &[String]) -> Outcome {
    let client_id = format!("{}-tap", settings.mqtt.client_id);
    let advice = "see mqtt.url, mqtt.user and the broker's log";
    let mut listening = Listening::open(&settings.mqtt, client_id, advice).await?;
    let shown = show(args, settings, filters, &mut listening).await;
    listening.end().await;
    shown.map_err(|problem| listening.failed(&problem))?
}

async fn show(
    args: &TapArgs,
    settings: &Settings,
    filters: &[String],
    listening: &mut Listening,
) -> Result<Outcome, LinkProblem> {
    let version = listening.version();
    let sessions = Sessions::of(&settings.data_dir);
    wire::subscribe(version, filters, 1, wire::Own::Wanted, listening.out())?;
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        match listening.next().await? {
            Packet::Publish(publish) => {
                if publish.packet_id > 0 {
                    wire::puback(publish.packet_id, listening.out());
                }
                let Some(text) = told(args, settings, &sessions, &publish) else {
                    continue;
                };
                if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
                    return Ok(Err(Exit::Failed(error.to_string())));
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(Ok(()));
                }
            }
            Packet::SubAck { outcomes, .. } => {
                let refused = filters.iter().zip(outcomes).find_map(|(filter, outcome)| {
                    Some(format!("the broker refuses {filter} ({})", outcome.err()?))
                });
                if let Some(refused) = refused {
                    return Ok(Err(Exit::Failed(refused)));
                }
            }
            _ => {}
        }
    }
}

/// What is shown of a publish; `None` if it is another rule's than asked for.
fn told(
    args: &TapArgs,
    settings: &Settings,
    sessions: &Sessions,
    publish: &Publish,
) -> Option<String> {
    let topic = String::from_utf8_lossy(&publish.topic);
    let bytes = publish.payload_bytes;
    let attempt = attempt(settings, sessions, &topic, &publish.payload, bytes);
    let wanted = args.stream.as_deref();
    if wanted.is_some_and(|wanted| attempt.rule() != Some(wanted)) {
        return None;
    }
    if args.json {
        let mut json = attempt.as_json();
        json["topic"] = topic.into();
        return Some(format!("{json}\n"));
    }
    let retained = if publish.retain { ", retained" } else { "" };
    let mut text = format!(
        "\n--- {} ({bytes} bytes{retained})\n",
        text::printable(&topic)
    );
    if args.raw {
        match std::str::from_utf8(&publish.payload) {
            Ok(payload) => {
                let shown: String = payload.chars().take(RAW_CHARACTERS_MAX).collect();
                text.push_str(&text::printable(&shown));
                text.push('\n');
            }
            Err(_) => text.push_str(&text::hex(
                &publish.payload[..publish.payload.len().min(256)],
            )),
        }
        return Some(text);
    }
    text.push_str(&attempt.as_text());
    Some(text)
}
