//! The settings themselves.

use crate::config::schema::setting::{
    DefaultValue::{self, Derived, Is, Required, Unset},
    Kind::{self, Choice, Integer, Listen, Path, Secret, Url},
    Setting, Unit,
};
use crate::features;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const DAY_S: u64 = 86_400;

const fn setting(
    path: &'static str,
    kind: Kind,
    default: DefaultValue,
    help: &'static str,
) -> Setting {
    Setting {
        path,
        kind,
        default,
        help,
    }
}

const fn integer(min: u64, max: u64) -> Kind {
    Integer { min, max }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Duration {
        unit: Unit::Seconds,
        min,
        max,
    }
}

const fn millis(min: u64, max: u64) -> Kind {
    Kind::Duration {
        unit: Unit::Millis,
        min,
        max,
    }
}

const fn text(bytes_min: usize, bytes_max: usize) -> Kind {
    Kind::Text {
        bytes_min,
        bytes_max,
    }
}

/// Every scalar setting, in the order in which people meet them.
pub static SETTINGS: &[Setting] = &[
    setting(
        "device",
        text(1, 64),
        Derived {
            how: "the host name",
            example: "press-7",
        },
        "Name of this device: the `device` tag of every stream; unique in the fleet",
    ),
    setting(
        "data_dir",
        Path,
        Is("./dunlin-data"),
        "Where buffer, state and quarantine live",
    ),
    setting(
        "shutdown_ms_max",
        millis(0, 600_000),
        Is("10000"),
        "Longest wait for everything to drain when the agent is stopped",
    ),
    setting(
        "stall_s_max",
        seconds(10, 86_400),
        Unset("120"),
        "The agent ends with 1 if the disk does not answer for so long; for whoever restarts it",
    ),
    setting(
        "mqtt.url",
        Url(&["mqtt", "mqtts"]),
        Required("mqtt://localhost:1883"),
        "The broker: mqtt://HOST:1883, or mqtts://HOST:8883 for TLS",
    ),
    setting(
        "mqtt.version",
        Choice(&["auto", "5", "3.1.1"]),
        Is("auto"),
        "Protocol version; auto: 5, or 3.1.1 where a broker does not take it, remembered",
    ),
    setting(
        "mqtt.client_id",
        text(1, 256),
        Derived {
            how: "dunlin-<device>",
            example: "dunlin-press-7",
        },
        "Names the session the broker keeps for this device; never used by two at once",
    ),
    setting("mqtt.user", text(1, 1024), Unset("press-7"), "User name"),
    setting(
        "mqtt.password",
        Secret,
        Unset("secret"),
        "Password; better in a file of its own, or in the variable",
    ),
    setting(
        "mqtt.password_file",
        Path,
        Unset("/etc/dunlin/mqtt.password"),
        "File that holds the password and nothing else",
    ),
    setting(
        "mqtt.ca_file",
        Path,
        Unset("/etc/dunlin/ca.pem"),
        "Private CA in PEM; the system's certificates otherwise",
    ),
    setting(
        "mqtt.cert_file",
        Path,
        Unset("/etc/dunlin/client.pem"),
        "Client certificate chain in PEM, for mutual TLS; needs key_file",
    ),
    setting(
        "mqtt.key_file",
        Path,
        Unset("/etc/dunlin/client.key"),
        "Client private key in PEM; needs cert_file",
    ),
    setting(
        "mqtt.session_expiry_s",
        seconds(0, u32::MAX as u64),
        Is("604800"),
        "How long the broker keeps the session, and what it holds for us, while we are away",
    ),
    setting(
        "mqtt.keep_alive_s",
        seconds(5, 65_535),
        Is("30"),
        "Longest silence on the connection; a dead one is noticed within twice that",
    ),
    // Half of it waiting for its PUBACK cuts a commit short: 1,000 publishes are one good batch.
    setting(
        "mqtt.receive_maximum",
        integer(1, 65_535),
        Is("2000"),
        "Publishes the broker may send before a PUBACK; half of them make a commit at once",
    ),
    setting(
        "mqtt.payload_bytes_max",
        bytes(1, 64 * MIB),
        Is("256 KiB"),
        "Largest payload taken; a larger one goes to quarantine",
    ),
    setting(
        "mqtt.status_topic",
        text(0, 1024),
        Is("dunlin/<device>/status"),
        "Topic of the retained online/offline status; empty for none",
    ),
    setting(
        "mqtt.backoff_ms_min",
        millis(10, 600_000),
        Is("500"),
        "First wait after the connection is lost; doubles up to the longest, with jitter",
    ),
    setting(
        "mqtt.backoff_ms_max",
        millis(10, 3_600_000),
        Is("30000"),
        "Longest wait between two attempts to connect",
    ),
    setting(
        "clock.hold_s",
        seconds(0, DAY_S),
        Is("60"),
        "How long uploads wait for the kernel to call its clock synchronised; 0 for not at all",
    ),
    setting(
        "clock.step_s_max",
        seconds(1, 365 * DAY_S),
        Is("3600"),
        "A larger step of the wall clock is not believed until it has stood for confirm_s",
    ),
    setting(
        "clock.confirm_s",
        seconds(0, DAY_S),
        Is("30"),
        "How long a large step of the wall clock must stand",
    ),
    setting(
        "buffer.bytes_max",
        bytes(MIB, 1024 * TIB),
        Is("1 GiB"),
        "Most disk the buffer may take",
    ),
    setting(
        "buffer.disk_free_bytes_min",
        bytes(0, 1024 * TIB),
        Is("64 MiB"),
        "Disk left free for others; below it the buffer counts as full",
    ),
    setting(
        "buffer.when_full",
        Choice(&["block", "drop_oldest"]),
        Is("block"),
        "block: stop acknowledging, the broker keeps the rest; drop_oldest: counted and logged",
    ),
    setting(
        "buffer.commit_gap_ms_min",
        millis(0, 60_000),
        Is("250"),
        "Smallest gap between two commits, for the flash's sake",
    ),
    setting(
        "buffer.replay_bytes_max",
        bytes(0, 512 * TIB),
        Derived {
            how: "half of buffer.bytes_max",
            example: "512 MiB",
        },
        "Uploaded records kept for training, at most half of bytes_max",
    ),
    setting(
        "buffer.replay_age_s_max",
        seconds(0, 36_500 * DAY_S),
        Unset("30 d"),
        "Uploaded records older than this are not kept; without it bytes decide alone",
    ),
    setting(
        "buffer.streams_idle_s_max",
        seconds(1, 36_500 * DAY_S),
        Is("30 d"),
        "A stream without a record for so long, and with nothing in the buffer, is forgotten",
    ),
    setting(
        "upstream.url",
        Url(&["tdengine", "tdengines", "sqlite"]),
        if features::SQLITE.is_in {
            Is("sqlite:central.db")
        } else {
            Required("tdengine://root:taosdata@localhost:6041/plant")
        },
        "The central database: tdengine://USER:PASSWORD@HOST:6041/DATABASE, tdengines:// for TLS, \
         or sqlite:FILE",
    ),
    setting(
        "upstream.password",
        Secret,
        Unset("secret"),
        "Password for the URL's user; better in a file of its own, or in the variable",
    ),
    setting(
        "upstream.password_file",
        Path,
        Unset("/etc/dunlin/upstream.password"),
        "File that holds the password and nothing else",
    ),
    setting(
        "upstream.ca_file",
        Path,
        Unset("/etc/dunlin/ca.pem"),
        "Private CA in PEM; the system's certificates otherwise",
    ),
    setting(
        "upstream.cert_file",
        Path,
        Unset("/etc/dunlin/client.pem"),
        "Client certificate chain in PEM, for mutual TLS; needs key_file",
    ),
    setting(
        "upstream.key_file",
        Path,
        Unset("/etc/dunlin/client.key"),
        "Client private key in PEM; needs cert_file",
    ),
    setting(
        "upstream.timeout_ms",
        millis(100, 600_000),
        Is("10000"),
        "Longest wait for one answer",
    ),
    setting(
        "upstream.batch_rows_max",
        integer(1, 100_000),
        Is("5000"),
        "Most rows in one write",
    ),
    setting(
        "upstream.in_flight_max",
        integer(1, 64),
        Is("4"),
        "Writes under way at once",
    ),
    setting(
        "upstream.order",
        Choice(&["oldest_first", "live_first"]),
        Is("oldest_first"),
        "live_first: what happens now is seen now, the backlog follows",
    ),
    setting(
        "upstream.backoff_ms_min",
        millis(10, 600_000),
        Is("500"),
        "First wait after a failed write; doubles up to the longest, with jitter",
    ),
    setting(
        "upstream.backoff_ms_max",
        millis(10, 3_600_000),
        Is("60000"),
        "Longest wait between two attempts to write",
    ),
    setting(
        "quarantine.bytes_max",
        bytes(0, TIB),
        Is("16 MiB"),
        "Most disk for what could not be decoded or delivered, 4 MiB at least; the oldest goes first, counted",
    ),
    setting(
        "learn.scan_ms",
        millis(100, 3_600_000),
        Is("5000"),
        "Between two looks for something to learn",
    ),
    setting(
        "learn.workers",
        integer(1, 8),
        Is("1"),
        "Tasks under way at once",
    ),
    setting(
        "learn.cpu_percent_max",
        integer(1, 100),
        Is("50"),
        "Share of one core that a task may take",
    ),
    setting(
        "learn.temperature_c_max",
        integer(20, 150),
        Is("80"),
        "Above this the task under way waits, degrees Celsius",
    ),
    setting(
        "learn.limit_s",
        seconds(1, 365 * DAY_S),
        Is("3600"),
        "Age at which a task that is still at work counts as dead",
    ),
    setting(
        "learn.rows_per_chunk_max",
        integer(1_000, 10_000_000),
        Is("20000"),
        "Rows of a data set in memory at once; a window must fit in",
    ),
    setting(
        "learn.versions_max",
        integer(3, 1_000),
        Is("8"),
        "Versions kept of each model; the oldest that is not needed gives way",
    ),
    setting(
        "learn.bytes_max",
        bytes(MIB, TIB),
        Is("256 MiB"),
        "Most disk of all models; the oldest that are not needed give way",
    ),
    setting(
        "learn.working_status",
        text(1, 1024),
        Is("queued,training"),
        "Statuses of a task at work, divided by commas: older than limit_s, it is dead",
    ),
    setting(
        "learn.status_queued",
        text(1, 64),
        Is("queued"),
        "The word for a task that waits for its turn",
    ),
    setting(
        "learn.status_training",
        text(1, 64),
        Is("training"),
        "The word for a task that trains",
    ),
    setting(
        "learn.status_available",
        text(1, 64),
        Is("available"),
        "The word for a version that may serve, and for its task",
    ),
    setting(
        "learn.status_rejected",
        text(1, 64),
        Is("rejected"),
        "The word for a version that did not pass the gate, and for its task",
    ),
    setting(
        "learn.status_retired",
        text(1, 64),
        Is("retired"),
        "The word for a version that served before",
    ),
    setting(
        "learn.status_rolled_back",
        text(1, 64),
        Is("rolled_back"),
        "The word for a version that served and was worse than the one before",
    ),
    setting(
        "learn.status_failed",
        text(1, 64),
        Is("failed"),
        "The word for a task that has failed",
    ),
    setting(
        "learn.status_dead",
        text(1, 64),
        Is("dead"),
        "The word for a task that was given up",
    ),
    setting(
        "http.listen",
        Listen,
        Is("127.0.0.1:9464"),
        "Address of /metrics and /healthz; empty for off",
    ),
    setting(
        "http.hosts",
        text(0, 1024),
        Is(""),
        "Names that /metrics answers to besides addresses, localhost and the device's; with commas",
    ),
    setting(
        "log.level",
        text(1, 1024),
        Is("info"),
        "error, warn, info, debug, trace, or a filter such as info,dunlin_sync=debug",
    ),
    setting(
        "log.format",
        Choice(&["text", "json"]),
        Is("text"),
        "Log lines on standard error as text or JSON",
    ),
];
