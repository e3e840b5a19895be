//! `dunlin discover`: listens to a broker that nobody has described, and proposes a configuration for it. In
//! a session of its own, which begins clean and ends with the command; nothing is acknowledged, as nothing is
//! asked to be.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::{Exit, Outcome, export, listening::Listening};
use crate::{
    base::{owner, text, wall::wall_ns},
    config::{self, Overrides, settings::Settings},
    discover::{self, Broker, Seen},
    mqtt::{
        LinkProblem,
        url::BrokerUrl,
        wire::{self, Packet},
    },
    topic::TopicFilter,
};

/// What is listened to unless something is asked for. A wildcard takes no topic that begins with `$`, as the
/// broker's own `$SYS` does; of those, devices publish on `$aws` alone.
const EVERYTHING: [&str; 2] = ["#", "$aws/#"];

/// Options of `dunlin discover`.
#[derive(Args, Clone, Debug)]
pub struct DiscoverArgs {
    /// The broker's address, as `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS
    #[arg(long, value_name = "URL")]
    broker: String,
    #[command(flatten)]
    listening: ListeningArgs,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

/// How to listen.
#[derive(Args, Clone, Debug)]
pub struct ListeningArgs {
    /// Listen for so many seconds: every kind of message should come once, better several times
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u64,
    /// Listen to these topics alone; repeatable [default: `#`, and `$aws/#` of what begins with `$`]
    #[arg(long, value_name = "FILTER")]
    topic: Vec<String>,
    /// User name
    #[arg(long, visible_alias = "user", value_name = "TEXT")]
    username: Option<String>,
    /// File that holds the password and nothing else; or set `DUNLIN_MQTT_PASSWORD`
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// Private CA in PEM; the system's certificates otherwise
    #[arg(long, value_name = "PATH")]
    ca_file: Option<PathBuf>,
    /// Client certificate chain in PEM, for mutual TLS
    #[arg(long, value_name = "PATH", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Client private key in PEM
    #[arg(long, value_name = "PATH", requires = "cert_file")]
    key_file: Option<PathBuf>,
}

/// Listens, then writes what it proposes.
///
/// # Errors
/// [`Exit::Usage`] for what cannot be meant, a file that is there among it; [`Exit::Failed`] for a broker that
/// does not let us; [`Exit::Found`] if nothing came that a rule could be made for.
pub async fn run(args: DiscoverArgs) -> Outcome {
    discover(
        &args.broker,
        &args.listening,
        args.output.as_deref(),
        args.force,
    )
    .await
}

/// As [`run`], into `output`.
pub(super) async fn discover(
    broker: &str,
    args: &ListeningArgs,
    output: Option<&Path>,
    force: bool,
) -> Outcome {
    // Before anybody waits for half a minute.
    if let Some(path) = output.filter(|path| !force && path.exists()) {
        return Err(is_there(path));
    }
    let target = output.map(|path| Target::beside(path, force)).transpose()?;
    let filters = filters(&args.topic)?;
    let settings = settings(broker, args)?;
    let mut seen = Seen::default();
    let begun = Instant::now();
    listen(args, &settings, &filters, &mut seen).await?;
    let seconds = begun.elapsed().as_secs();
    let publishes = seen.publishes();
    let proposed = tokio::select! {
        proposed = thought_out(seen, broker_of(broker, args)?, seconds) => proposed?,
        _interrupted = tokio::signal::ctrl_c() => {
            return Err(Exit::Failed("interrupted before there was a proposal".to_owned()));
        }
    };
    let Proposed {
        text,
        is_empty,
        counts: (rules, left),
    } = proposed;
    if is_empty {
        // Without a rule it would be no configuration: it says why there is none.
        eprint!("{text}");
        let hint = "listen longer (--seconds), or see whether the user may read these topics";
        return Err(Exit::Found(format!(
            "{} came, and no rule could be made: {hint}",
            text::of(publishes, "publish")
        )));
    }
    let written = match target {
        Some(target) => target.write(&text),
        None => Err(None),
    };
    if let Err(why) = written {
        // Nobody listens again for a disk that is full.
        let shown = std::io::stdout().write_all(text.as_bytes());
        shown.map_err(|error| Exit::Failed(error.to_string()))?;
        if let Some(why) = why {
            return Err(why);
        }
    }
    eprintln!(
        "{} from {}; {} without a rule",
        text::of(rules as u64, "rule"),
        text::of(publishes, "publish"),
        text::of(left as u64, "topic")
    );
    if let Some(path) = output {
        let path = path.display();
        eprintln!(
            "wrote {path}; look through it, then: dunlin check -c {path} && dunlin run -c {path}"
        );
    }
    Ok(())
}

fn filters(topics: &[String]) -> Result<Vec<String>, Exit> {
    if topics.is_empty() {
        return Ok(EVERYTHING.map(str::to_owned).to_vec());
    }
    let filters = topics.iter().map(|topic| {
        let filter = TopicFilter::parse(topic);
        let filter = filter.map_err(|error| Exit::Usage(format!("--topic {topic}: {error}")))?;
        Ok(filter.mqtt_filter())
    });
    filters.collect()
}

/// The settings of an agent that would listen there.
fn settings(broker: &str, args: &ListeningArgs) -> Result<Settings, Exit> {
    let path = |path: &PathBuf| path.display().to_string();
    let given = [
        ("mqtt.user", args.username.clone()),
        ("mqtt.password_file", args.password_file.as_ref().map(path)),
        ("mqtt.ca_file", args.ca_file.as_ref().map(path)),
        ("mqtt.cert_file", args.cert_file.as_ref().map(path)),
        ("mqtt.key_file", args.key_file.as_ref().map(path)),
    ];
    let mut overrides = Overrides::default()
        .with_variables(std::env::vars_os())
        .set("mqtt.url", broker)
        .topic("any=#");
    for (key, value) in given {
        if let Some(value) = value {
            overrides = overrides.set(key, value);
        }
    }
    if !crate::features::SQLITE.is_in {
        overrides = overrides.set("upstream.url", "tdengine://localhost:6041/dunlin");
    }
    Ok(config::load(None, &overrides)?)
}

/// What the file may say of the broker.
fn broker_of(broker: &str, args: &ListeningArgs) -> Result<Broker, Exit> {
    let url =
        BrokerUrl::parse(broker).map_err(|error| Exit::Usage(format!("--broker: {error}")))?;
    let scheme = if url.tls { "mqtts" } else { "mqtt" };
    let host = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host
    };
    let absolute = |path: &PathBuf| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        path.display().to_string()
    };
    let user = args.username.clone().or(url.user);
    let has_user = user.is_some();
    let password_file = args.password_file.as_ref().map(absolute);
    let lacks_password = has_user && password_file.is_none();
    let settings = [
        ("user", user),
        ("password_file", password_file),
        ("ca_file", args.ca_file.as_ref().map(absolute)),
        ("cert_file", args.cert_file.as_ref().map(absolute)),
        ("key_file", args.key_file.as_ref().map(absolute)),
    ];
    let settings = settings
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    Ok(Broker {
        url: format!("{scheme}://{host}:{}", url.port),
        settings: settings.collect(),
        lacks_password,
    })
}

async fn listen(
    args: &ListeningArgs,
    settings: &Settings,
    filters: &[String],
    seen: &mut Seen,
) -> Outcome {
    // Two at once, on one device or several, must not end each other's session.
    let client_id = format!("dunlin-discover-{:08x}", rand::random::<u32>());
    let advice = "see --broker, --username and the broker's log";
    let mut listening = Listening::open(&settings.mqtt, client_id, advice).await?;
    let (address, seconds) = (listening.address(), text::of(args.seconds, "second"));
    eprintln!("listening to {address} for {seconds}; Ctrl-C ends it earlier");
    let until = tokio::time::sleep(Duration::from_secs(args.seconds));
    let ended = tokio::select! {
        ended = gather(filters, &mut listening, seen) => ended,
        () = until => Ok(()),
        _interrupted = tokio::signal::ctrl_c() => Ok(()),
    };
    listening.end().await;
    match ended {
        Ok(()) => Ok(()),
        // What has come is good for a proposal all the same.
        Err(problem) if seen.publishes() > 0 => {
            eprintln!("{address}: {problem}: going on with what has come");
            Ok(())
        }
        Err(problem) => Err(listening.failed(&problem)),
    }
}

/// Takes what comes, until the connection ends.
async fn gather(
    filters: &[String],
    listening: &mut Listening,
    seen: &mut Seen,
) -> Result<(), LinkProblem> {
    wire::listen(listening.version(), filters, 1, listening.out())?;
    loop {
        match listening.next().await? {
            Packet::Publish(publish) => {
                let bytes = publish.payload_bytes;
                seen.add(&publish.topic, &publish.payload, bytes, publish.retain);
            }
            Packet::SubAck { outcomes, .. } => {
                for (filter, outcome) in filters.iter().zip(outcomes) {
                    if let Err(why) = outcome
                        && *filter != EVERYTHING[1]
                    {
                        eprintln!("the broker refuses {filter} ({why}): see --topic");
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_there(path: &Path) -> Exit {
    Exit::Usage(format!(
        "{} is there already; name another file, or overwrite it with --force",
        path.display()
    ))
}

/// What a listening came to.
struct Proposed {
    text: String,
    is_empty: bool,
    /// Rules, and topics without one.
    counts: (usize, usize),
}

/// The proposal, made on a thread that the end of the command does not wait for.
async fn thought_out(seen: Seen, broker: Broker, seconds: u64) -> Result<Proposed, Exit> {
    let (done, made) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let proposal = discover::propose(&seen, wall_ns());
        let _nobody_waits = done.send(Proposed {
            text: discover::text(&proposal, &seen, &broker, seconds),
            is_empty: proposal.is_empty(),
            counts: proposal.counts(),
        });
    });
    let made = made.await;
    made.map_err(|_| Exit::Failed("no proposal could be made of what came".to_owned()))
}

/// A file that is whole once it is there.
struct Target<'p> {
    path: &'p Path,
    force: bool,
    file: NamedTempFile,
}

impl<'p> Target<'p> {
    /// Makes sure before anybody listens that there can be such a file.
    fn beside(path: &'p Path, force: bool) -> Result<Self, Exit> {
        let made = export::beside(path, ".dunlin-discover-");
        let file = made.map_err(|error| {
            Exit::Usage(format!(
                "{}: {error}: name a file in a folder that can be written to",
                path.display()
            ))
        })?;
        Ok(Self { path, force, file })
    }

    /// Nothing of `path` has changed if it fails.
    fn write(mut self, text: &str) -> Result<(), Option<Exit>> {
        let path = self.path;
        let failed = |error: &io::Error| {
            Some(Exit::Failed(format!(
                "{}: {error}: the proposal is on standard output",
                path.display()
            )))
        };
        let written = self.file.write_all(text.as_bytes());
        let written = written.and_then(|()| self.file.as_file().sync_all());
        written.map_err(|error| failed(&error))?;
        let kept = owner::as_caller(|| {
            if !self.force {
                return self.file.persist_noclobber(path);
            }
            // Through a link to the file that is meant.
            let meant = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            self.file.persist(meant)
        });
        match kept {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&error.error)),
        }
    }
}

#[cfg(test)]
mod tests;
