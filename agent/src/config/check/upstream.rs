//! `[upstream]`: the connection to the central database.

use std::collections::BTreeMap;

use super::{connection, entry::Entry, inputs::Inputs, secrets, tls};
use crate::{
    config::{
        diagnostic::{Diagnostics, Origin},
        read::{
            parse,
            urls::{self, ServerUrl},
            values::Values,
        },
        schema::{
            DATABASE_TABLE,
            keys::upstream,
            kind::{self, TypedKind},
        },
        settings::{Secret, UpstreamSettings},
    },
    features,
    own::{Own, OwnUpstream, UPSTREAM_SCHEME},
};

/// The value of an option of the database.
const OPTION: TypedKind<String> = kind::text(1, 256);

pub(super) fn settings(inputs: &Inputs<'_>, found: &mut Diagnostics) -> UpstreamSettings {
    let values = inputs.values;
    let text = url(values, found);
    let is_bad = values.is_bad(&upstream::URL);
    let own = own(&text, inputs, found);
    let server = urls::server(&text).ok().filter(|_| !is_sqlite(&text));
    let in_url = server.as_ref().and_then(|url| url.password.as_deref());
    let password = secrets::password(&upstream::CONNECTION, in_url, values, found);
    let (password, password_file) = password.unzip();
    let has_password = password.is_some();
    if has_password && !is_bad {
        check_user(server.as_ref(), values, found);
    }
    connection::warn_if_plain(
        &upstream::CONNECTION,
        server.as_ref(),
        has_password,
        values,
        found,
    );
    let is_tls = match &server {
        Some(server) => Some(server.is_tls()),
        None => (!is_bad).then_some(false),
    };
    let tls = tls::files(&upstream::CONNECTION, is_tls, values, found);
    connection::check_backoff(&upstream::CONNECTION, values, found);
    let takes_options = server.as_ref().is_some_and(ServerUrl::is_tdengine);
    let database_options = database_options(inputs, takes_options || is_bad, found);
    let url = match server {
        _ if own.is_some() => text,
        Some(server) => server.with_password(password.as_ref().map(Secret::reveal)),
        None => match values.origin(&upstream::URL) {
            Origin::Flag(_) | Origin::Variable(_) => text,
            _ => urls::sqlite_under(&text, &values.base).unwrap_or_default(),
        },
    };
    UpstreamSettings {
        url: Secret::new(url),
        own,
        timeout: values.get(&upstream::TIMEOUT_MS),
        database_options,
        password_file: password_file.flatten(),
        tls,
        batch_rows_max: values.get(&upstream::BATCH_ROWS_MAX),
        in_flight_max: values.get(&upstream::IN_FLIGHT_MAX),
        order: values.get(&upstream::ORDER),
        backoff_ms_min: values.get(&upstream::BACKOFF_MS_MIN),
        backoff_ms_max: values.get(&upstream::BACKOFF_MS_MAX),
    }
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// The program's own upstream that the URL names.
fn own(url: &str, inputs: &Inputs<'_>, found: &mut Diagnostics) -> Option<OwnUpstream> {
    let name = url.strip_prefix(UPSTREAM_SCHEME)?.strip_prefix(':')?;
    let own = inputs.own.and_then(|own| own.upstream(name));
    if own.is_none() {
        let known = inputs.own.into_iter().flat_map(Own::upstream_urls);
        let known: Vec<String> = known.collect();
        let hint = if known.is_empty() {
            "this program has no upstreams of its own; start the program that has it".to_owned()
        } else {
            format!("use one of: {}", known.join(", "))
        };
        let message = format!("upstream.url: `{url}` is not known here");
        found.error(&inputs.values.origin(&upstream::URL), message, hint);
    }
    own.cloned()
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// The URL as it was written; empty if there is none.
fn url(values: &Values, found: &mut Diagnostics) -> String {
    let text = values.maybe(&upstream::URL).unwrap_or_default();
    if text.is_empty() && !values.is_bad(&upstream::URL) {
        let hint = "add url = \"tdengine://USER:PASSWORD@HOST:6041/DATABASE\" under [upstream]";
        found.error(&values.nowhere, "upstream.url: is missing", hint);
    }
    let left_out = [
        (is_sqlite(&text), "SQLite", features::SQLITE),
        (is_postgres(&text), "PostgreSQL", features::POSTGRES),
    ];
    for (is_asked_for, product, feature) in left_out {
        if is_asked_for && !feature.is_in {
            let hint = format!("name a tdengine:// or tdengines:// URL: {}", feature.hint());
            let origin = values.origin(&upstream::URL);
            let message = format!("upstream.url: there is no {product} in this build");
            found.error(&origin, message, hint);
        }
    }
    text
}

/// Whom a password is for: a user whom the URL of a server names.
fn check_user(server: Option<&ServerUrl>, values: &Values, found: &mut Diagnostics) {
    let (message, hint) = match server {
        None => (
            "upstream: only a server takes a password from here",
            "remove it",
        ),
        Some(server) if server.user.is_none() => (
            "upstream: a password without a user",
            "name the user in upstream.url: tdengine://USER@HOST:6041/DATABASE",
        ),
        Some(_) => return,
    };
    found.error(&values.origin(&upstream::URL), message, hint);
}

/// Options become part of a statement: letters and digits go through, nothing else does.
fn database_options(
    inputs: &Inputs<'_>,
    is_tdengine: bool,
    found: &mut Diagnostics,
) -> BTreeMap<String, String> {
    let given = given_options(inputs, found);
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
                let message = format!("{DATABASE_TABLE}.{key}: means something to TDengine alone");
                found.warning(&origin, message, "remove it, or name a tdengine:// URL");
            }
            options.insert(key, value);
        }
    }
    options
}

/// Options of the file, then of variables and flags, as (origin, key, value).
fn given_options(inputs: &Inputs<'_>, found: &mut Diagnostics) -> Vec<(Origin, String, String)> {
    let mut given = Vec::new();
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
                None => entry.chosen(key, &OPTION, found),
            };
            given.extend(text.map(|text| (entry.origin_of(key), key.to_owned(), text)));
        }
    }
    given.extend(inputs.overrides.database(found));
    given
}
