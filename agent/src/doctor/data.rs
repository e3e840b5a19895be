//! The data directory: whose it is, whether an agent is at work on it, what is in it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Findings, kept_back::KeptBack};
use crate::{
    admin::{
        client,
        offline::Offline,
        operations::OperationError,
        protocol::{ControlError, socket_path},
    },
    base::text::of,
    config::settings::Settings,
    observe::{
        status::{Status, elsewhere, retagged},
        words::{progress, silent},
    },
    store::{check_identity, read_identity},
};

const ABOUT: &str = "data";
/// Most bytes of a running agent's status.
const STATUS_BYTES_MAX: usize = 1 << 20;
const READABLE_BY_ALL: u32 = 0o007;
/// Entries looked at, so that a large directory takes no time.
const ENTRIES_MAX: usize = 10_000;

pub(super) async fn examine(settings: &Settings, found: &mut Findings) {
    let data_dir = &settings.data_dir;
    let shown = data_dir.display();
    if !data_dir.is_dir() {
        return found.ok(ABOUT, format!("{shown} is made at the first start"));
    }
    owner(data_dir, found);
    identity(settings, found);
    match client::get(&socket_path(data_dir), "/status").await {
        Ok(reply) => {
            let status = reply.bytes(STATUS_BYTES_MAX).await.ok();
            let status = status.and_then(|bytes| serde_json::from_slice::<Status>(&bytes).ok());
            if let Some(status) = &status {
                let kept_back = KeptBack::by_agent(data_dir, status).await;
                kept_back.tell(found);
            }
            running(status, found);
        }
        Err(ControlError::NotRunning(_)) => {
            let dir = data_dir.to_owned();
            let content = tokio::task::spawn_blocking(move || content(&dir)).await;
            match content.map_err(OperationError::failed).flatten() {
                Ok(content) => tell(&content, found),
                Err(error) => found.problem(
                    ABOUT,
                    format!("{shown}: {error}"),
                    "the agent would not start on it; nothing in it is lost",
                ),
            }
        }
        Err(error) => found.warning(
            ABOUT,
            format!("{error}; what is in the directory was not looked at"),
            "run this as the user of the agent",
        ),
    }
}

/// Whether the directory is this machine's and this device's.
fn identity(settings: &Settings, found: &mut Findings) {
    let Some(identity) = read_identity(&settings.data_dir) else {
        return;
    };
    let is_copy = check_identity(&settings.data_dir, Path::new("/"), false);
    if let Err(error) = is_copy {
        found.problem(ABOUT, error.to_string(), "the agent would not start on it");
    }
    let (before, now) = (&identity.device, &settings.device);
    if before != now {
        let own = if settings.device_is_host_name {
            "the host's name, since `device` is not configured"
        } else {
            "configured"
        };
        found.warning(
            ABOUT,
            format!(
                "the device was called {before} and is {now} now ({own}): its streams begin anew, those \
                 of {before} stay as NAME#{before}"
            ),
            format!("device = \"{before}\" goes on with them"),
        );
    }
    if settings.mqtt.client_id_is_default && identity.client_id != settings.mqtt.client_id {
        found.note(
            ABOUT,
            format!("the MQTT client id stays {}", identity.client_id),
            "mqtt.client_id names another; what the broker holds for the old one does not arrive then",
        );
    }
}

/// Streams that are not what they were.
fn streams(elsewhere: usize, retagged: usize, found: &mut Findings) {
    if elsewhere > 0 {
        found.note(
            ABOUT,
            format!(
                "{} of other devices: this one was called so before",
                of(elsewhere as u64, "stream")
            ),
            "they stay readable as NAME#DEVICE until their records are let go",
        );
    }
    if retagged > 0 {
        found.note(
            ABOUT,
            format!(
                "{} with other tags than in the beginning",
                of(retagged as u64, "stream")
            ),
            "their tags upstream follow; records and models stay theirs",
        );
    }
}

/// Files of another owner than their directory's are what a run as root leaves behind.
fn owner(data_dir: &Path, found: &mut Findings) {
    let shown = data_dir.display();
    let Ok(meta) = data_dir.metadata() else {
        return;
    };
    if meta.mode() & READABLE_BY_ALL != 0 {
        found.note(
            ABOUT,
            format!("{shown}: every user may look into it"),
            format!("chmod o-rwx {shown}"),
        );
    }
    let (us, theirs) = (rustix::process::geteuid().as_raw(), meta.uid());
    if us != theirs && us != 0 {
        found.problem(
            ABOUT,
            format!("{shown} belongs to user {theirs}, and this is user {us}"),
            format!("run the agent (and this) as that user, or: chown -R {us} {shown}"),
        );
    } else if us != theirs {
        found.note(
            ABOUT,
            format!("{shown} belongs to user {theirs}; looked at as root, who may do anything"),
            "run this as that user to see what the agent sees",
        );
    }
    if let Some(stray) = stray(data_dir, theirs) {
        found.problem(
            ABOUT,
            format!(
                "{} belongs to another user than the directory",
                stray.display()
            ),
            format!("stop the agent, then: chown -R {theirs} {shown}"),
        );
    }
}

/// A file below `dir` that does not belong to `owner`.
fn stray(dir: &Path, owner: u32) -> Option<PathBuf> {
    let mut left = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).ok()?.flatten() {
            seen += 1;
            let meta = entry.metadata().ok()?;
            if meta.uid() != owner {
                return Some(entry.path());
            }
            if seen >= ENTRIES_MAX {
                return None;
            }
            if meta.is_dir() {
                left.push(entry.path());
            }
        }
    }
    None
}

fn running(status: Option<Status>, found: &mut Findings) {
    let Some(status) = status else {
        return found.warning(
            ABOUT,
            "an agent of another version is at work on it, whose answer is not understood",
            "use its own dunlin",
        );
    };
    found.note(
        ABOUT,
        format!(
            "an agent, version {}, is at work on it; what is in it was not looked at",
            status.version
        ),
        "ask the agent: dunlin status",
    );
    if status.version != env!("CARGO_PKG_VERSION") {
        found.warning(
            ABOUT,
            format!(
                "this is version {}, the agent is another",
                env!("CARGO_PKG_VERSION")
            ),
            "restart the agent after an upgrade",
        );
    }
    let buffer = &status.buffer;
    streams(buffer.streams_elsewhere, buffer.streams_retagged, found);
    if !status.mqtt.connected {
        let why = status.mqtt.last_error.unwrap_or_else(|| "not yet".into());
        found.problem(
            ABOUT,
            format!("the agent is not connected to its broker: {why}"),
            "see what is said of the broker",
        );
    }
    for trouble in status.mqtt.troubles {
        found.problem(
            ABOUT,
            trouble,
            "see the broker's access list, or the agent's log",
        );
    }
    if let Some(why) = status.http_problem {
        found.warning(
            ABOUT,
            format!("the agent gives no metrics: {why}"),
            "stop what listens there, or move http.listen; the agent tries again",
        );
    }
    if !status.rules_silent.is_empty() {
        found.warning(
            ABOUT,
            silent(&status.rules_silent),
            "compare its topic with what is published: mosquitto_sub -v -t '#'",
        );
    }
    for recipe in &status.learn.progress {
        let Some(what) = progress(recipe) else {
            continue;
        };
        if recipe.streams == 0 {
            let advice = "compare its streams with the names in: dunlin cohort count --streams '*'";
            found.warning(ABOUT, what, advice);
        } else {
            found.note(ABOUT, what, "");
        }
    }
    if status.buffer.full {
        found.problem(
            ABOUT,
            "the agent's buffer is full: nothing is acknowledged",
            "make room on the disk or let the upstream take what waits; see dunlin status",
        );
    }
}

/// What a stopped agent has left.
#[derive(Default)]
struct Content {
    rows: u64,
    streams: usize,
    elsewhere: usize,
    retagged: usize,
    set_aside: u64,
    kept_back: KeptBack,
}

fn content(data_dir: &Path) -> Result<Content, OperationError> {
    if !data_dir.join("buffer").is_dir() {
        return Ok(Content::default());
    }
    let offline = Offline::open_directory(data_dir)?;
    let parts = offline.parts();
    let (stats, catalog) = (parts.buffer.stats(), parts.buffer.catalog());
    let content = Content {
        rows: parts.buffer.shape().rows,
        streams: catalog.streams().len(),
        elsewhere: elsewhere(&catalog),
        retagged: retagged(&catalog),
        set_aside: stats
            .generations_set_aside
            .load(std::sync::atomic::Ordering::Relaxed),
        kept_back: KeptBack::in_directory(parts)?,
    };
    offline.close()?;
    Ok(content)
}

fn tell(content: &Content, found: &mut Findings) {
    let held = format!(
        "no agent is at work on it; it holds {} of {}",
        of(content.rows, "row"),
        of(content.streams as u64, "stream")
    );
    if content.set_aside > 0 {
        found.warning(
            ABOUT,
            format!(
                "{held}; {} set aside as damaged",
                of(content.set_aside, "part")
            ),
            "see the disk (dmesg, smartctl) and the warnings above; the rest carries on",
        );
    } else {
        found.ok(ABOUT, held);
    }
    streams(content.elsewhere, content.retagged, found);
    content.kept_back.tell(found);
}
