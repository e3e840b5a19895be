//! Every setting, one constant each, in a module for each table of the file.

pub(in crate::config) mod buffer;
pub(in crate::config) mod clock;
pub(in crate::config) mod device;
pub(in crate::config) mod fleet;
pub(in crate::config) mod http;
pub(in crate::config) mod learn;
pub(in crate::config) mod log;
pub(in crate::config) mod mqtt;
pub(in crate::config) mod quarantine;
#[cfg(feature = "learning")]
pub(in crate::config) mod recipe;
pub(in crate::config) mod stream;
pub(in crate::config) mod upstream;

use super::setting::Setting;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const DAY_S: u64 = 86_400;

/// Every setting that stands once, in the order in which people meet them.
pub(in crate::config) static SETTINGS: &[Setting] = &[
    device::DEVICE.setting,
    device::DATA_DIR.setting,
    device::SHUTDOWN_MS_MAX.setting,
    device::STALL_S_MAX.setting,
    mqtt::URL.setting,
    mqtt::VERSION.setting,
    mqtt::CLIENT_ID.setting,
    mqtt::USER.setting,
    mqtt::PASSWORD.setting,
    mqtt::PASSWORD_FILE.setting,
    mqtt::CA_FILE.setting,
    mqtt::CERT_FILE.setting,
    mqtt::KEY_FILE.setting,
    mqtt::SESSION_EXPIRY_S.setting,
    mqtt::KEEP_ALIVE_S.setting,
    mqtt::RECEIVE_MAXIMUM.setting,
    mqtt::PAYLOAD_BYTES_MAX.setting,
    mqtt::STATUS_TOPIC.setting,
    mqtt::BACKOFF_MS_MIN.setting,
    mqtt::BACKOFF_MS_MAX.setting,
    clock::HOLD_S.setting,
    clock::STEP_S_MAX.setting,
    clock::CONFIRM_S.setting,
    buffer::BYTES_MAX.setting,
    buffer::DISK_FREE_BYTES_MIN.setting,
    buffer::WHEN_FULL.setting,
    buffer::COMMIT_GAP_MS_MIN.setting,
    buffer::REPLAY_BYTES_MAX.setting,
    buffer::REPLAY_AGE_S_MAX.setting,
    buffer::STREAMS_IDLE_S_MAX.setting,
    upstream::URL.setting,
    upstream::PASSWORD.setting,
    upstream::PASSWORD_FILE.setting,
    upstream::CA_FILE.setting,
    upstream::CERT_FILE.setting,
    upstream::KEY_FILE.setting,
    upstream::TIMEOUT_MS.setting,
    upstream::BATCH_ROWS_MAX.setting,
    upstream::IN_FLIGHT_MAX.setting,
    upstream::ORDER.setting,
    upstream::BACKOFF_MS_MIN.setting,
    upstream::BACKOFF_MS_MAX.setting,
    quarantine::BYTES_MAX.setting,
    learn::SCAN_MS.setting,
    learn::WORKERS.setting,
    learn::CPU_PERCENT_MAX.setting,
    learn::TEMPERATURE_C_MAX.setting,
    learn::LIMIT_S.setting,
    learn::ROWS_PER_CHUNK_MAX.setting,
    learn::VERSIONS_MAX.setting,
    learn::BYTES_MAX.setting,
    learn::WORKING_STATUS.setting,
    learn::STATUS_QUEUED.setting,
    learn::STATUS_TRAINING.setting,
    learn::STATUS_AVAILABLE.setting,
    learn::STATUS_REJECTED.setting,
    learn::STATUS_RETIRED.setting,
    learn::STATUS_ROLLED_BACK.setting,
    learn::STATUS_FAILED.setting,
    learn::STATUS_DEAD.setting,
    fleet::CENTRE.setting,
    fleet::PASSWORD_FILE.setting,
    fleet::CA_FILE.setting,
    fleet::FOLLOW.setting,
    fleet::KEYS.setting,
    fleet::CHECK_S.setting,
    fleet::BYTES_PER_S_MAX.setting,
    fleet::HEARTBEAT_S.setting,
    http::LISTEN.setting,
    http::HOSTS.setting,
    log::LEVEL.setting,
    log::FORMAT.setting,
];

/// What `settings` are called within their table.
pub(in crate::config) fn names(settings: &[Setting]) -> Vec<&'static str> {
    settings.iter().map(Setting::key).collect()
}
