//! The broker: whether it lets us in, and what it grants.

use std::time::Duration;

use tokio::time::timeout;

use super::{Findings, window};
use crate::{
    config::settings::{MqttSettings, MqttVersion, Settings},
    mqtt::{ConnAck, LinkOptions, LinkProblem},
};

const ABOUT: &str = "broker";
/// Refused subscriptions shown one by one.
const REFUSED_SHOWN_MAX: usize = 8;
/// Bound on saying good-bye.
const PART_MAX: Duration = Duration::from_secs(2);

/// Connects as the agent would, under another client id: its session is left alone.
pub(super) async fn examine(all: &Settings, found: &mut Findings) {
    let settings = &all.mqtt;
    let mut link = match LinkOptions::new(settings) {
        Ok(link) => link,
        Err(error) => {
            let advice = "name PEM files that the agent's user may read";
            return found.problem(ABOUT, error.to_string(), advice);
        }
    };
    link.client_id.push_str("-doctor");
    link.clean_start = true;
    let address = link.address();
    let connack = match connect(&mut link).await {
        Ok(connack) => connack,
        Err(problem) => {
            let advice = advice_on(&problem, settings);
            return found.problem(ABOUT, format!("{address}: {problem}"), advice);
        }
    };
    let user = settings.user.as_ref();
    let user = user.map_or_else(|| "without a user".to_owned(), |user| format!("as {user}"));
    let with = if link.tls.is_some() {
        ", TLS verified"
    } else {
        ""
    };
    let version = match link.version {
        MqttVersion::V5 => "5",
        MqttVersion::V311 => "3.1.1",
    };
    found.ok(
        ABOUT,
        format!("{address} takes us, {user}, with MQTT {version}{with}"),
    );
    match link.version {
        MqttVersion::V5 => grants(&connack, settings, found),
        MqttVersion::V311 if link.any_version => found.note(
            ABOUT,
            "does not take MQTT 5; spoken to with 3.1.1",
            "mqtt.version = \"3.1.1\" spares the attempt",
        ),
        MqttVersion::V311 => {
            link.version = MqttVersion::V5;
            if connect(&mut link).await.is_ok() {
                found.note(
                    ABOUT,
                    "speaks MQTT 5 too, with which the agent says how much may be under way",
                    "remove mqtt.version from the configuration",
                );
            }
            link.version = MqttVersion::V311;
        }
    }
    let filters = all.streams.iter().map(|rule| rule.filter.mqtt_filter());
    subscriptions(&link, &filters.collect::<Vec<_>>(), found).await;
    measured(&link, settings, found).await;
}

async fn subscriptions(link: &LinkOptions, filters: &[String], found: &mut Findings) {
    match window::refused(link, filters).await {
        Ok(refused) if refused.is_empty() => {}
        Ok(refused) => {
            for (filter, reason) in refused.iter().take(REFUSED_SHOWN_MAX) {
                found.problem(
                    ABOUT,
                    format!("refuses the subscription to {filter} ({reason})"),
                    "see its access list and the topic of the stream; the agent asks again by itself",
                );
            }
            if let Some(more) = refused.len().checked_sub(REFUSED_SHOWN_MAX + 1) {
                found.problem(ABOUT, format!("refuses {} more", more + 1), "as above");
            }
        }
        Err(error) => found.problem(
            ABOUT,
            format!("does not answer our subscription: {error}"),
            "see the broker's log",
        ),
    }
}

/// What the broker does, whatever it says.
async fn measured(link: &LinkOptions, settings: &MqttSettings, found: &mut Findings) {
    let topic = own_topic(settings);
    let cannot = |what: &str, error: window::Unmeasured| {
        format!("{what} could not be measured with publishes to {topic}: {error}")
    };
    match window::measure(link, &topic, settings.receive_maximum).await {
        Ok(window) => {
            let limit = match link.version {
                MqttVersion::V5 => format!(" ({} are allowed)", settings.receive_maximum),
                MqttVersion::V311 => String::new(),
            };
            let at_least = if window.is_all { "at least " } else { "" };
            found.note(
                ABOUT,
                format!(
                    "sends us {at_least}{} publishes without waiting for a PUBACK{limit}: measured",
                    window.publishes
                ),
                "",
            );
        }
        Err(error) => found.note(ABOUT, cannot("how much it has under way", error), ""),
    }
    match window::keeps_what_waits(link, &topic).await {
        Ok(true) => found.ok(ABOUT, "keeps what is published while we are away: measured"),
        Ok(false) => found.warning(
            ABOUT,
            "keeps nothing that is published while we are away: measured",
            "see whether it keeps sessions of this user (some do not of anonymous ones), or use \
             another broker: what is published meanwhile is lost",
        ),
        Err(error) => found.note(ABOUT, cannot("what it keeps while we are away", error), ""),
    }
}

/// Beside the agent's status, where an access list lets it publish.
fn own_topic(settings: &MqttSettings) -> String {
    let status = settings.status_topic.as_deref();
    let beside = status.and_then(|topic| topic.rsplit_once('/'));
    match beside {
        Some((above, _)) => format!("{above}/doctor"),
        None => format!("dunlin/{}/doctor", settings.client_id),
    }
}

async fn connect(options: &mut LinkOptions) -> Result<ConnAck, LinkProblem> {
    let mut link = options.approach(false).await?;
    // It has let us in, however badly we part.
    let _parted = timeout(PART_MAX, link.part_for_good(options.version)).await;
    Ok(link.connack)
}

fn advice_on(problem: &LinkProblem, settings: &MqttSettings) -> String {
    let side = match problem {
        LinkProblem::Refused(_) => {
            "see mqtt.user, mqtt.password_file and the broker's own log; it may want the client id \
             of the agent, to which \"-doctor\" was added here"
        }
        LinkProblem::Tls(_) if settings.tls.is_some() => "see mqtt.url and mqtt.ca_file",
        LinkProblem::HungUp(_) if settings.tls.is_none() => {
            "see mqtt.url: mqtts:// if the broker wants TLS"
        }
        _ => "see mqtt.url, the network and the broker",
    };
    format!("{side}; the agent tries again by itself")
}

/// What the broker has said about its limits.
fn grants(connack: &ConnAck, settings: &MqttSettings, found: &mut Findings) {
    let kept_s = connack
        .session_expiry_s
        .unwrap_or(settings.session_expiry_s);
    let packets = connack.packet_bytes_max;
    let packets = packets.map_or_else(
        || "of any size".to_owned(),
        |most| format!("of at most {most} bytes"),
    );
    let qos = connack.qos_max.unwrap_or(2);
    let limits = format!(
        "keeps a session for {kept_s} s without us, takes packets {packets}, {} publishes of ours \
         under way, QoS up to {qos}",
        connack.receive_maximum.unwrap_or(u16::MAX)
    );
    if kept_s < settings.session_expiry_s {
        let asked = settings.session_expiry_s;
        found.warning(
            ABOUT,
            format!("{limits}; a session of {asked} s was asked for"),
            "let the broker keep sessions longer (mosquitto: persistent_client_expiration): what \
             is published after that time without us is lost",
        );
    } else {
        found.note(ABOUT, limits, "");
    }
    if qos == 0 {
        found.problem(
            ABOUT,
            "has no QoS 1: what is under way at a lost connection is lost",
            "use a broker, or a listener of it, that grants QoS 1",
        );
    }
}
