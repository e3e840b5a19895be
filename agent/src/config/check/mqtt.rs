//! `[mqtt]`: the connection to the broker.

use super::{connection, inputs::Inputs, secrets, tls};
use crate::config::{
    diagnostic::Diagnostics,
    read::{
        urls::{self, ServerUrl},
        values::Values,
    },
    schema::keys::mqtt,
    settings::{MqttSettings, default_client_id},
};

pub(super) fn settings(inputs: &Inputs<'_>, device: &str, found: &mut Diagnostics) -> MqttSettings {
    let values = inputs.values;
    let url = url(values, found);
    let is_tls = url.as_ref().map(ServerUrl::is_tls);
    let in_url = url.as_ref().and_then(|url| url.password.as_deref());
    let password = secrets::password(&mqtt::CONNECTION, in_url, values, found);
    let (password, password_file) = password.unzip();
    let has_password = password.is_some();
    let user = user(url.as_ref(), has_password, values, found);
    connection::warn_if_plain(&mqtt::CONNECTION, url.as_ref(), has_password, values, found);
    let tls = tls::files(&mqtt::CONNECTION, is_tls, values, found);
    warn_if_forgotten(values, found);
    connection::check_backoff(&mqtt::CONNECTION, values, found);
    let client_id = values.maybe(&mqtt::CLIENT_ID);
    MqttSettings {
        host: url.as_ref().map(|url| url.host.clone()).unwrap_or_default(),
        port: url.as_ref().map_or(0, ServerUrl::port),
        tls: (is_tls == Some(true)).then_some(tls),
        version: values.get(&mqtt::VERSION),
        client_id_is_default: client_id.is_none(),
        client_id: client_id.unwrap_or_else(|| default_client_id(device)),
        user,
        password,
        password_file: password_file.flatten(),
        session_expiry_s: values.get(&mqtt::SESSION_EXPIRY_S),
        // Somebody's trial on the plant's broker must not leave a queue there that grows for a week.
        keeps_session: inputs.source.is_some() || values.is_set(&mqtt::SESSION_EXPIRY_S),
        keep_alive_s: values.get(&mqtt::KEEP_ALIVE_S),
        receive_maximum: values.get(&mqtt::RECEIVE_MAXIMUM),
        payload_bytes_max: values.get(&mqtt::PAYLOAD_BYTES_MAX),
        status_topic: status_topic(values, device, found),
        backoff_ms_min: values.get(&mqtt::BACKOFF_MS_MIN),
        backoff_ms_max: values.get(&mqtt::BACKOFF_MS_MAX),
    }
}

fn url(values: &Values, found: &mut Diagnostics) -> Option<ServerUrl> {
    let text = values.maybe(&mqtt::URL);
    let url = text.and_then(|text| urls::server(&text).ok());
    if url.is_none() && !values.is_bad(&mqtt::URL) {
        let hint = "add url = \"mqtt://HOST:1883\" under [mqtt], or --mqtt mqtt://HOST:1883";
        found.error(&values.nowhere, "mqtt.url: is missing", hint);
    }
    url
}

/// The user of the setting or of the URL, whichever was given with the higher precedence.
fn user(
    url: Option<&ServerUrl>,
    has_password: bool,
    values: &Values,
    found: &mut Diagnostics,
) -> Option<String> {
    let set_user = values.maybe(&mqtt::USER);
    let url_user = url.and_then(|url| url.user.clone());
    let set_layer = values.origin(&mqtt::USER).layer();
    let url_layer = values.origin(&mqtt::URL).layer();
    if let (Some(one), Some(other)) = (&set_user, &url_user)
        && one != other
        && set_layer == url_layer
    {
        let message = "mqtt.user: the URL names another user";
        found.error(&values.origin(&mqtt::USER), message, "keep one of them");
    }
    let user = if url_layer > set_layer {
        url_user.or(set_user)
    } else {
        set_user.or(url_user)
    };
    if has_password && user.is_none() && !values.is_bad(&mqtt::USER) {
        let message = "mqtt: a password without a user";
        found.error(&values.origin(&mqtt::URL), message, "set mqtt.user");
    }
    user
}

fn warn_if_forgotten(values: &Values, found: &mut Diagnostics) {
    if values.is_set(&mqtt::SESSION_EXPIRY_S) && values.get(&mqtt::SESSION_EXPIRY_S) == 0 {
        found.warning(
            &values.origin(&mqtt::SESSION_EXPIRY_S),
            "mqtt.session_expiry_s: with 0 the broker forgets us at every lost connection, and \
             what is published meanwhile is lost",
            "remove it to keep the session for 7 days",
        );
    }
}

fn status_topic(values: &Values, device: &str, found: &mut Diagnostics) -> Option<String> {
    let written = Some(values.get(&mqtt::STATUS_TOPIC)).filter(|topic| !topic.is_empty())?;
    if written.contains(['+', '#']) {
        found.error(
            &values.origin(&mqtt::STATUS_TOPIC),
            format!("mqtt.status_topic: `{written}` holds a wildcard"),
            "name one topic, such as dunlin/<device>/status, or \"\" for none",
        );
    }
    Some(written.replace("<device>", device))
}
