//! `[fleet]`: models that are released to this device.

use std::fs::File;

use dunlin_sync::files::secret_file;

use super::inputs::Inputs;
use crate::{
    config::{
        diagnostic::{Diagnostics, Origin},
        read::{
            urls::{self, ServerUrl},
            values::Values,
        },
        schema::keys::fleet,
        settings::{FleetSettings, RecipeRule, Secret},
    },
    features, release,
};

/// Most recipes that are followed.
const FOLLOW_MAX: usize = 64;
/// Most keys.
const KEYS_MAX: usize = 8;

pub(super) fn settings(
    inputs: &Inputs<'_>,
    recipes: &[RecipeRule],
    found: &mut Diagnostics,
) -> FleetSettings {
    let values = inputs.values;
    let fleet = FleetSettings {
        centre: centre(values, found),
        password_file: password_file(values, found),
        ca_file: ca_file(values, found),
        follow: follow(values, recipes, found),
        keys: keys(values, found),
        check: values.get(&fleet::CHECK_S),
        bytes_per_s_max: values.get(&fleet::BYTES_PER_S_MAX),
    };
    tell_unfollowed(&fleet, values, found);
    fleet
}

/// Texts between commas.
fn listed(list: &str) -> Vec<&str> {
    let listed = list.split(',').map(str::trim);
    listed.filter(|text| !text.is_empty()).collect()
}

fn centre(values: &Values, found: &mut Diagnostics) -> Option<Secret> {
    let text = values.maybe(&fleet::CENTRE)?;
    let origin = values.origin(&fleet::CENTRE);
    let is_sqlite = text.starts_with("sqlite:");
    let (product, feature) = if is_sqlite {
        ("SQLite", features::SQLITE)
    } else {
        ("PostgreSQL", features::POSTGRES)
    };
    if !feature.is_in {
        let message = format!("fleet.centre: there is no {product} in this build");
        found.error(&origin, message, feature.hint());
    }
    if let Ok(server) = urls::server(&text)
        && !is_sqlite
    {
        warn_if_plain(&server, values, &origin, found);
    }
    let url = match origin {
        Origin::File { .. } | Origin::Settings if is_sqlite => {
            urls::sqlite_under(&text, &values.base).unwrap_or_default()
        }
        _ => text,
    };
    Some(Secret::new(url))
}

fn warn_if_plain(server: &ServerUrl, values: &Values, origin: &Origin, found: &mut Diagnostics) {
    let has_password = server.password.is_some() || values.is_set(&fleet::PASSWORD_FILE);
    if has_password && !server.is_tls() && !server.is_local() {
        let message = "fleet.centre: the password goes over the network unencrypted";
        let hint = "use postgres://USER@HOST:5432/DATABASE?sslmode=verify-full";
        found.warning(origin, message, hint);
    }
}

fn password_file(values: &Values, found: &mut Diagnostics) -> Option<std::path::PathBuf> {
    let file = values.maybe(&fleet::PASSWORD_FILE)?;
    if let Err(error) = secret_file::read(&file) {
        let message = format!("fleet.password_file: {} {error}", file.display());
        let hint = "name a file that this user may read, with the password on one line";
        found.error(&values.origin(&fleet::PASSWORD_FILE), message, hint);
    }
    // The agent may have another working directory by then.
    Some(std::path::absolute(&file).unwrap_or(file))
}

fn ca_file(values: &Values, found: &mut Diagnostics) -> Option<std::path::PathBuf> {
    let file = values.maybe(&fleet::CA_FILE)?;
    if let Err(error) = File::open(&file) {
        let message = format!("fleet.ca_file: {} cannot be read: {error}", file.display());
        let hint = "name a PEM file that this user may read";
        found.error(&values.origin(&fleet::CA_FILE), message, hint);
    }
    Some(file)
}

fn follow(values: &Values, recipes: &[RecipeRule], found: &mut Diagnostics) -> Vec<String> {
    let (text, origin) = (values.get(&fleet::FOLLOW), values.origin(&fleet::FOLLOW));
    let mut follow: Vec<String> = Vec::new();
    for name in listed(&text) {
        if follow.iter().any(|other| other == name) {
            continue;
        }
        if !recipes.iter().any(|recipe| recipe.name == name) {
            let message = format!("fleet.follow: no recipe is called \"{name}\"");
            let known: Vec<&str> = recipes.iter().map(|recipe| &*recipe.name).collect();
            let hint = match &known[..] {
                [] => "add a [[recipe]] of that name".to_owned(),
                known => format!("use: {}", known.join(", ")),
            };
            found.error(&origin, message, hint);
        } else if !release::is_line(name) {
            let message = format!("fleet.follow: \"{name}\" is longer than 64 bytes");
            found.error(&origin, message, "give the recipe a shorter name");
        } else {
            follow.push(name.to_owned());
        }
    }
    if follow.len() > FOLLOW_MAX {
        let message = format!("fleet.follow: more than {FOLLOW_MAX} recipes");
        found.error(&origin, message, "follow fewer");
    }
    follow
}

fn keys(values: &Values, found: &mut Diagnostics) -> Vec<minisign_verify::PublicKey> {
    let (text, origin) = (values.get(&fleet::KEYS), values.origin(&fleet::KEYS));
    let mut keys = Vec::new();
    for (index, text) in listed(&text).into_iter().enumerate() {
        match release::public_key(text) {
            Ok(key) => keys.push(key),
            // Not the text: somebody may have taken the secret one.
            Err(error) => found.error(
                &origin,
                format!("fleet.keys: number {} is no public key: {error}", index + 1),
                "write the second line of the .pub file that `dunlin release keygen` has made",
            ),
        }
    }
    if keys.len() > KEYS_MAX {
        let message = format!("fleet.keys: more than {KEYS_MAX}");
        found.error(&origin, message, "name those that sign now and next");
    }
    keys
}

/// What is half configured is followed by nobody.
fn tell_unfollowed(fleet: &FleetSettings, values: &Values, found: &mut Diagnostics) {
    let is_bad = |setting| values.is_bad(setting);
    if fleet.follow.is_empty() || is_bad(&fleet::CENTRE) || is_bad(&fleet::KEYS) {
        return;
    }
    let origin = values.origin(&fleet::FOLLOW);
    if fleet.centre.is_none() {
        let message = "fleet.follow: there is no fleet.centre, so nothing is followed";
        found.error(
            &origin,
            message,
            "add centre = \"postgres://..\" under [fleet]",
        );
    } else if values.get(&fleet::KEYS).trim().is_empty() {
        let message = "fleet.follow: there are no fleet.keys, so nothing is followed";
        let hint = "add keys = \"RW..\": the public key that `dunlin release keygen` prints";
        found.warning(&origin, message, hint);
    }
}
