//! `[mqtt]`: the broker.

use std::path::PathBuf;

use super::MIB;
use crate::config::{
    schema::{
        key::{ConnectionKeys, Key, OptionalKey},
        kind::{
            bytes, choice, count_of_millis, count_of_seconds, integer, path, secret, text, url,
        },
        setting::DefaultValue::{Derived, Required, Unset},
    },
    settings::{MqttVersion, Secret},
};

pub(in crate::config) const URL: OptionalKey<String> = OptionalKey::new(
    "mqtt.url",
    url(&["mqtt", "mqtts"]),
    Required("mqtt://localhost:1883"),
    "The broker: mqtt://HOST:1883, or mqtts://HOST:8883 for TLS",
);

pub(in crate::config) const VERSION: Key<Option<MqttVersion>> = Key::new(
    "mqtt.version",
    choice(),
    "auto",
    "Protocol version; auto: 5, or 3.1.1 where a broker does not take it, remembered",
);

pub(in crate::config) const CLIENT_ID: OptionalKey<String> = OptionalKey::new(
    "mqtt.client_id",
    text(1, 256),
    Derived {
        how: "dunlin-<device>",
        example: "dunlin-press-7",
    },
    "Names the session the broker keeps for this device; never used by two at once",
);

pub(in crate::config) const USER: OptionalKey<String> =
    OptionalKey::new("mqtt.user", text(1, 1024), Unset("press-7"), "User name");

pub(in crate::config) const PASSWORD: OptionalKey<Secret> = OptionalKey::new(
    "mqtt.password",
    secret(),
    Unset("secret"),
    "Password; better in a file of its own, or in the variable",
);

pub(in crate::config) const PASSWORD_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "mqtt.password_file",
    path(),
    Unset("/etc/dunlin/mqtt.password"),
    "File that holds the password and nothing else",
);

pub(in crate::config) const CA_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "mqtt.ca_file",
    path(),
    Unset("/etc/dunlin/ca.pem"),
    "Private CA in PEM; the system's certificates otherwise",
);

pub(in crate::config) const CERT_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "mqtt.cert_file",
    path(),
    Unset("/etc/dunlin/client.pem"),
    "Client certificate chain in PEM, for mutual TLS; needs key_file",
);

pub(in crate::config) const KEY_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "mqtt.key_file",
    path(),
    Unset("/etc/dunlin/client.key"),
    "Client private key in PEM; needs cert_file",
);

pub(in crate::config) const SESSION_EXPIRY_S: Key<u32> = Key::new(
    "mqtt.session_expiry_s",
    count_of_seconds(0, u32::MAX as u64),
    "604800",
    "How long the broker keeps the session, and what it holds for us, while we are away",
);

pub(in crate::config) const KEEP_ALIVE_S: Key<u16> = Key::new(
    "mqtt.keep_alive_s",
    count_of_seconds(5, 65_535),
    "30",
    "Longest silence on the connection; a dead one is noticed within twice that",
);

// Half of it waiting for its PUBACK cuts a commit short: 1,000 publishes are one good batch.
pub(in crate::config) const RECEIVE_MAXIMUM: Key<u16> = Key::new(
    "mqtt.receive_maximum",
    integer(1, 65_535),
    "2000",
    "Publishes the broker may send before a PUBACK; half of them make a commit at once",
);

pub(in crate::config) const PAYLOAD_BYTES_MAX: Key<u32> = Key::new(
    "mqtt.payload_bytes_max",
    bytes(1, 64 * MIB),
    "256 KiB",
    "Largest payload taken; a larger one goes to quarantine",
);

pub(in crate::config) const STATUS_TOPIC: Key<String> = Key::new(
    "mqtt.status_topic",
    text(0, 1024),
    "dunlin/<device>/status",
    "Topic of the retained online/offline status; empty for none",
);

pub(in crate::config) const BACKOFF_MS_MIN: Key<u64> = Key::new(
    "mqtt.backoff_ms_min",
    count_of_millis(10, 600_000),
    "500",
    "First wait after the connection is lost; doubles up to the longest, with jitter",
);

pub(in crate::config) const BACKOFF_MS_MAX: Key<u64> = Key::new(
    "mqtt.backoff_ms_max",
    count_of_millis(10, 3_600_000),
    "30000",
    "Longest wait between two attempts to connect",
);

/// The keys that the other connection has too.
pub(in crate::config) const CONNECTION: ConnectionKeys = ConnectionKeys {
    tls_form: "mqtts://",
    url: URL,
    password: PASSWORD,
    password_file: PASSWORD_FILE,
    ca_file: CA_FILE,
    cert_file: CERT_FILE,
    key_file: KEY_FILE,
    backoff_ms_min: BACKOFF_MS_MIN,
    backoff_ms_max: BACKOFF_MS_MAX,
};
