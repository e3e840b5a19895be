//! From values to [`Settings`]: what only shows when several settings are looked at together.

mod entry;
pub(in crate::config) mod inputs;
#[cfg(feature = "learning")]
mod learn;
pub(in crate::config) mod secrets;
mod stream;

use std::{collections::BTreeMap, path::Path, time::Duration};

use self::{
    entry::Entry,
    inputs::{Inputs, seconds},
    stream as streams,
};
use crate::{
    app::logging,
    config::{
        diagnostic::{Diagnostics, Origin},
        read::{
            parse, urls,
            values::{Source, Values},
        },
        schema::{DATABASE_TABLE, Kind},
        settings::{
            BufferSettings, ClockSettings, LogSettings, MqttSettings, MqttVersion, Secret,
            Settings, UploadOrder, UpstreamSettings, WhenFull,
        },
    },
    features,
    store::default_client_id,
};

/// Commits closer together than this wear a flash card out within a year or two.
const COMMIT_GAP_MS_EASY: u64 = 100;

/// All settings, to be used only if no mistake was found.
pub(in crate::config) fn settings(inputs: &Inputs<'_>, found: &mut Diagnostics) -> Settings {
    let values = inputs.values;
    let device = device(values, found);
    let mqtt = mqtt(inputs, &device, found);
    let nowhere = &values.nowhere;
    let streams = streams::rules(
        inputs.source,
        inputs.tables,
        inputs.overrides,
        nowhere,
        found,
    );
    if let Some(topic) = &mqtt.status_topic {
        let origin = values.origin("mqtt.status_topic");
        streams::check_status_topic(&streams, topic, &origin, found);
    }
    if !features::LEARNING.is_in {
        refuse_recipes(inputs, found);
    }
    #[cfg(feature = "learning")]
    let learn = learn::settings(inputs, &streams, found);
    Settings {
        data_dir: data_dir(values, inputs.base, found),
        device,
        device_is_host_name: values.text("device").is_none(),
        adopt_identity: false,
        mqtt,
        streams,
        clock: ClockSettings {
            hold: seconds(values, "clock.hold_s"),
            step_max: seconds(values, "clock.step_s_max"),
            confirm: seconds(values, "clock.confirm_s"),
        },
        buffer: buffer(values, found),
        upstream: upstream(inputs, found),
        quarantine_bytes_max: values.number("quarantine.bytes_max"),
        http_listen: http_listen(values, found),
        http_hosts: http_hosts(values, found),
        #[cfg(feature = "learning")]
        learn,
        log: log(values, found),
        shutdown_ms_max: values.number("shutdown_ms_max"),
        file_sha256: inputs.source.map(Source::sha256),
        stall_max: values.maybe_number("stall_s_max").map(Duration::from_secs),
    }
}

/// What a build without learning cannot do is not passed over in silence.
fn refuse_recipes(inputs: &Inputs<'_>, found: &mut Diagnostics) {
    let (Some(source), hint) = (inputs.source, features::LEARNING.hint()) else {
        return;
    };
    for recipe in &inputs.tables.recipes {
        let message = "recipe: there is no learning in this build";
        found.error(&source.origin(recipe.span()), message, hint.clone());
    }
}

/// The data directory alone, for commands that need no more.
pub(in crate::config) fn data_dir(
    values: &Values,
    base: &Path,
    found: &mut Diagnostics,
) -> std::path::PathBuf {
    let dir = values.file("data_dir", base).unwrap_or_default();
    if dir.exists() && !dir.is_dir() {
        found.error(
            &values.origin("data_dir"),
            format!("data_dir: {} is no directory", dir.display()),
            "name a directory; it is created if need be",
        );
    }
    dir
}

fn device(values: &Values, found: &mut Diagnostics) -> String {
    let origin = values.origin("device");
    let set = values.text("device").map(str::to_owned);
    let is_default = set.is_none();
    let hint = "add device = \"press-7\" at the top of the file, or --device press-7";
    let Some(device) = set.or_else(host_name) else {
        if !values.is_bad("device") {
            found.error(&origin, "device: the host has no name to use instead", hint);
        }
        return String::new();
    };
    // It becomes a level of the status topic and part of the client id.
    if device.contains(['/', '+', '#']) || device.trim() != device {
        let message = format!("device: `{device}` holds / + # or a space at an end");
        found.error(&origin, message, "use letters, digits, - _ and .");
    }
    if is_default && device == "localhost" {
        found.warning(
            &origin,
            "device: every machine is called localhost; two of them would push each other off the \
             broker and mix their data",
            hint,
        );
    }
    device
}

/// The name of this machine, if it is a text.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()?;
    let name = name.trim();
    (!name.is_empty() && name.len() <= 64 && name != "(none)").then(|| name.to_owned())
}

fn mqtt(inputs: &Inputs<'_>, device: &str, found: &mut Diagnostics) -> MqttSettings {
    let values = inputs.values;
    let url = values
        .text("mqtt.url")
        .and_then(|text| urls::server(text).ok());
    if url.is_none() && !values.is_bad("mqtt.url") {
        let hint = "add url = \"mqtt://HOST:1883\" under [mqtt], or --mqtt mqtt://HOST:1883";
        found.error(&values.nowhere, "mqtt.url: is missing", hint);
    }
    let in_url = url.as_ref().and_then(|url| url.password.as_deref());
    let password = secrets::password("mqtt", in_url, values, inputs.base, found);
    let (password, password_file) = password.unzip();
    let set_user = values.text("mqtt.user").map(str::to_owned);
    let url_user = url.as_ref().and_then(|url| url.user.clone());
    if let (Some(one), Some(other)) = (&set_user, &url_user)
        && one != other
        && values.origin("mqtt.user").layer() == values.origin("mqtt.url").layer()
    {
        let message = "mqtt.user: the URL names another user";
        found.error(&values.origin("mqtt.user"), message, "keep one of them");
    }
    let url_wins = values.origin("mqtt.url").layer() > values.origin("mqtt.user").layer();
    let user = if url_wins {
        url_user.or(set_user)
    } else {
        set_user.or(url_user)
    };
    if password.is_some() && user.is_none() && !values.is_bad("mqtt.user") {
        let message = "mqtt: a password without a user";
        found.error(&values.origin("mqtt.url"), message, "set mqtt.user");
    }
    let is_tls = url.as_ref().map(urls::ServerUrl::is_tls);
    warn_if_plain(
        "mqtt",
        "mqtts",
        url.as_ref(),
        password.is_some(),
        values,
        found,
    );
    let tls = secrets::tls_files("mqtt", is_tls, values, inputs.base, found);
    if values.is_set("mqtt.session_expiry_s") && values.number("mqtt.session_expiry_s") == 0 {
        found.warning(
            &values.origin("mqtt.session_expiry_s"),
            "mqtt.session_expiry_s: with 0 the broker forgets us at every lost connection, and \
             what is published meanwhile is lost",
            "remove it to keep the session for 7 days",
        );
    }
    check_backoff("mqtt", values, found);
    MqttSettings {
        host: url.as_ref().map(|url| url.host.clone()).unwrap_or_default(),
        port: url.as_ref().map_or(0, urls::ServerUrl::port),
        tls: (is_tls == Some(true)).then_some(tls),
        version: match values.text("mqtt.version") {
            Some("5") => Some(MqttVersion::V5),
            Some("3.1.1") => Some(MqttVersion::V311),
            _ => None,
        },
        client_id: values
            .text("mqtt.client_id")
            .map_or_else(|| default_client_id(device), str::to_owned),
        client_id_is_default: values.text("mqtt.client_id").is_none(),
        user,
        password,
        password_file: password_file.flatten(),
        session_expiry_s: values.number("mqtt.session_expiry_s") as u32,
        // Somebody's trial on the plant's broker must not leave a queue there that grows for a week.
        keeps_session: inputs.source.is_some() || values.is_set("mqtt.session_expiry_s"),
        keep_alive_s: values.number("mqtt.keep_alive_s") as u16,
        receive_maximum: values.number("mqtt.receive_maximum") as u16,
        payload_bytes_max: values.number("mqtt.payload_bytes_max") as u32,
        status_topic: status_topic(values, device, found),
        backoff_ms_min: values.number("mqtt.backoff_ms_min"),
        backoff_ms_max: values.number("mqtt.backoff_ms_max"),
    }
}

fn status_topic(values: &Values, device: &str, found: &mut Diagnostics) -> Option<String> {
    let written = values
        .text("mqtt.status_topic")
        .filter(|topic| !topic.is_empty())?;
    if written.contains(['+', '#']) {
        found.error(
            &values.origin("mqtt.status_topic"),
            format!("mqtt.status_topic: `{written}` holds a wildcard"),
            "name one topic, such as dunlin/<device>/status, or \"\" for none",
        );
    }
    Some(written.replace("<device>", device))
}

fn check_backoff(side: &str, values: &Values, found: &mut Diagnostics) {
    let [min, max] = ["min", "max"].map(|end| format!("{side}.backoff_ms_{end}"));
    if values.is_bad(&min) || values.is_bad(&max) || values.number(&min) <= values.number(&max) {
        return;
    }
    let culprit = if values.is_set(&min) { &min } else { &max };
    found.error(
        &values.origin(culprit),
        format!(
            "{min} ({}) is above {max} ({})",
            values.number(&min),
            values.number(&max)
        ),
        "the first wait is the shortest",
    );
}

fn warn_if_plain(
    side: &str,
    tls_scheme: &str,
    url: Option<&urls::ServerUrl>,
    has_password: bool,
    values: &Values,
    found: &mut Diagnostics,
) {
    if let Some(url) = url
        && has_password
        && !url.is_tls()
        && !url.is_local()
    {
        found.warning(
            &values.origin(&format!("{side}.url")),
            format!("{side}.url: the password goes over the network unencrypted"),
            format!("use {tls_scheme}://"),
        );
    }
}

fn buffer(values: &Values, found: &mut Diagnostics) -> BufferSettings {
    let bytes_max = values.number("buffer.bytes_max");
    let replay = values.maybe_number("buffer.replay_bytes_max");
    if let Some(replay) = replay
        && replay > bytes_max / 2
        && !values.is_bad("buffer.bytes_max")
    {
        found.error(
            &values.origin("buffer.replay_bytes_max"),
            format!(
                "buffer.replay_bytes_max: {replay} is more than half of bytes_max ({bytes_max})"
            ),
            format!(
                "use at most {}, or raise buffer.bytes_max: the other half is for what is not \
                 uploaded yet",
                bytes_max / 2
            ),
        );
    }
    let gap = values.number("buffer.commit_gap_ms_min");
    if gap < COMMIT_GAP_MS_EASY {
        found.warning(
            &values.origin("buffer.commit_gap_ms_min"),
            format!("buffer.commit_gap_ms_min: a commit every {gap} ms wears out a flash card"),
            "use 250 unless the disk is a good SSD",
        );
    }
    BufferSettings {
        bytes_max,
        disk_free_bytes_min: values.number("buffer.disk_free_bytes_min"),
        when_full: match values.text("buffer.when_full") {
            Some("drop_oldest") => WhenFull::DropOldest,
            _ => WhenFull::Block,
        },
        commit_gap_ms_min: gap,
        replay_bytes_max: replay.unwrap_or(bytes_max / 2),
        replay_age_s_max: values.maybe_number("buffer.replay_age_s_max"),
        streams_idle_s_max: values.number("buffer.streams_idle_s_max"),
    }
}

fn upstream(inputs: &Inputs<'_>, found: &mut Diagnostics) -> UpstreamSettings {
    let values = inputs.values;
    let text = values.text("upstream.url").unwrap_or_default();
    if text.is_empty() && !values.is_bad("upstream.url") {
        let hint = "add url = \"tdengine://USER:PASSWORD@HOST:6041/DATABASE\" under [upstream]";
        found.error(&values.nowhere, "upstream.url: is missing", hint);
    }
    let is_sqlite = text.starts_with("sqlite:");
    if is_sqlite && !features::SQLITE.is_in {
        let hint = format!(
            "name a tdengine:// or tdengines:// URL: {}",
            features::SQLITE.hint()
        );
        let origin = values.origin("upstream.url");
        let message = "upstream.url: there is no SQLite in this build";
        found.error(&origin, message, hint);
    }
    let server = urls::server(text).ok().filter(|_| !is_sqlite);
    let in_url = server.as_ref().and_then(|url| url.password.as_deref());
    let password = secrets::password("upstream", in_url, values, inputs.base, found);
    let (password, password_file) = password.unzip();
    if password.is_some() && server.as_ref().is_none_or(|url| url.user.is_none()) {
        let (message, hint) = if server.is_some() {
            (
                "upstream: a password without a user",
                "name the user in upstream.url: tdengine://USER@HOST:6041/DATABASE",
            )
        } else {
            ("upstream: a SQLite file takes no password", "remove it")
        };
        if !values.is_bad("upstream.url") {
            found.error(&values.origin("upstream.url"), message, hint);
        }
    }
    warn_if_plain(
        "upstream",
        "tdengines",
        server.as_ref(),
        password.is_some(),
        values,
        found,
    );
    let unknown = values.is_bad("upstream.url");
    let is_tls = match &server {
        Some(server) => Some(server.is_tls()),
        None => (!unknown).then_some(false),
    };
    let tls = secrets::tls_files("upstream", is_tls, values, inputs.base, found);
    check_backoff("upstream", values, found);
    let database_options = database_options(inputs, server.is_some() || unknown, found);
    let url = match server {
        Some(server) => server.with_password(password.as_ref().map(Secret::reveal)),
        None => match values.origin("upstream.url") {
            Origin::Flag(_) | Origin::Variable(_) => text.to_owned(),
            _ => urls::sqlite_under(text, inputs.base).unwrap_or_default(),
        },
    };
    UpstreamSettings {
        url: Secret::new(url),
        timeout: Duration::from_millis(values.number("upstream.timeout_ms")),
        database_options,
        password_file: password_file.flatten(),
        tls,
        batch_rows_max: values.number("upstream.batch_rows_max") as usize,
        in_flight_max: values.number("upstream.in_flight_max") as usize,
        order: match values.text("upstream.order") {
            Some("live_first") => UploadOrder::LiveFirst,
            _ => UploadOrder::OldestFirst,
        },
        backoff_ms_min: values.number("upstream.backoff_ms_min"),
        backoff_ms_max: values.number("upstream.backoff_ms_max"),
    }
}

/// Options become part of a statement: letters and digits go through, nothing else does.
fn database_options(
    inputs: &Inputs<'_>,
    is_tdengine: bool,
    found: &mut Diagnostics,
) -> BTreeMap<String, String> {
    let mut given: Vec<(Origin, String, String)> = Vec::new();
    if let (Some(source), Some(table)) = (inputs.source, inputs.tables.database) {
        let entry = Entry {
            source,
            table,
            what: DATABASE_TABLE.into(),
            origin: inputs.values.nowhere.clone(),
        };
        for (key, value) in entry.in_order() {
            let text = match parse::integer(value.get_ref()) {
                Some(number) => Some(number.to_string()),
                None => entry.text(
                    key,
                    &Kind::Text {
                        bytes_min: 1,
                        bytes_max: 256,
                    },
                    found,
                ),
            };
            given.extend(text.map(|text| (entry.origin_of(key), key.to_owned(), text)));
        }
    }
    given.extend(inputs.overrides.database(found));
    let mut options = BTreeMap::new();
    for (origin, key, value) in given {
        let key_is_sound = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let value_is_sound = !value.is_empty()
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.,: ".contains(&b));
        if !key_is_sound || !value_is_sound {
            found.error(
                &origin,
                format!("{DATABASE_TABLE}: `{key}` is no option of CREATE DATABASE"),
                "write keep = 3650, vgroups = 2, cachemodel = \"last_row\"",
            );
        } else if key.eq_ignore_ascii_case("precision") {
            let hint = "remove it";
            found.error(
                &origin,
                "the precision is always ns: timestamps are unique to it",
                hint,
            );
        } else {
            if !is_tdengine {
                let message = format!("{DATABASE_TABLE}.{key}: means nothing to SQLite");
                found.warning(&origin, message, "remove it, or name a tdengine:// URL");
            }
            options.insert(key, value);
        }
    }
    options
}

fn http_listen(values: &Values, found: &mut Diagnostics) -> Option<std::net::SocketAddr> {
    let listen: std::net::SocketAddr = values.text("http.listen")?.parse().ok()?;
    if !listen.ip().is_loopback() {
        found.warning(
            &values.origin("http.listen"),
            format!("http.listen: everybody who reaches {listen} may read the metrics"),
            "use 127.0.0.1:9464 unless the network is trusted",
        );
    }
    Some(listen)
}

fn http_hosts(values: &Values, found: &mut Diagnostics) -> Vec<String> {
    let names = values.text("http.hosts").unwrap_or_default().split(',');
    let names: Vec<String> = names
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let is_name = |name: &&String| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(other) = names.iter().find(|name| !is_name(name)) {
        found.error(
            &values.origin("http.hosts"),
            format!("http.hosts: `{other}` is no name of a host"),
            "write names without a port, with commas: \"gateway.plant, press-7.plant\"",
        );
    }
    names
}

fn log(values: &Values, found: &mut Diagnostics) -> LogSettings {
    let log = LogSettings {
        filter: values.text("log.level").unwrap_or("info").to_owned(),
        json: values.text("log.format") == Some("json"),
    };
    if let Err(error) = logging::check_filter(&log.filter) {
        let message = format!("log.level: {}", error.message);
        found.error(&values.origin("log.level"), message, error.hint);
    }
    log
}
