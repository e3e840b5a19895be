//! Releases, and what became of them, in words and columns.

use std::{collections::BTreeMap, fmt::Write as _};

use dunlin_sync::centre::Document;
use serde::Serialize;

use crate::{
    base::text,
    cli::commands::models::columns,
    release::{
        self, Release,
        verdict::{Outcome, Verdict},
    },
};

/// Reasons shown for one release.
const REASONS_MAX: usize = 5;

/// One release, and what devices say of it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    pub(super) release: Release,
    /// Devices by what became of it there.
    pub(super) devices: BTreeMap<Outcome, u64>,
    /// The last verdict of each device, the worst first.
    pub(super) verdicts: Vec<Verdict>,
}

/// The releases in the documents of a line, the newest first, each with the last verdict of each device. Whoever
/// has signed them: this shows what is there.
pub(super) fn listed(releases: &[Document], verdicts: Vec<Verdict>) -> Vec<Listed> {
    let mut last: BTreeMap<(u64, String), Verdict> = BTreeMap::new();
    for verdict in verdicts {
        last.insert((verdict.serial, verdict.device.clone()), verdict);
    }
    let releases = releases.iter().rev().filter_map(release::unverified);
    let listed = releases.map(|release| {
        let serial = release.serial;
        let of_it = last.range((serial, String::new())..(serial.saturating_add(1), String::new()));
        let mut verdicts: Vec<Verdict> = of_it.map(|(_, verdict)| verdict.clone()).collect();
        verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.outcome));
        let mut devices = BTreeMap::new();
        for verdict in &verdicts {
            *devices.entry(verdict.outcome).or_insert(0) += 1;
        }
        Listed {
            release,
            devices,
            verdicts,
        }
    });
    listed.collect()
}

/// A table, with the reasons of those on whom it does not serve.
pub(super) fn table(all: &[Listed]) -> String {
    if all.is_empty() {
        return "nothing was released\n".into();
    }
    let head = [
        "line",
        "serial",
        "published",
        "share",
        "model",
        "size",
        "serves",
        "refused",
        "failed",
        "rolled back",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(all.iter().map(|listed| {
        let release = &listed.release;
        let on = |outcome| text::count(listed.devices.get(&outcome).copied().unwrap_or(0));
        let share = if release.paused {
            "paused".to_owned()
        } else {
            format!("{} %", release.share_percent)
        };
        [
            text::printable(&release.line),
            release.serial.to_string(),
            text::time(release.published_ns),
            share,
            release.sha256.chars().take(12).collect(),
            text::bytes(release.bytes as f64),
            on(Outcome::Serves),
            on(Outcome::Refused),
            on(Outcome::Failed),
            on(Outcome::RolledBack),
        ]
    }));
    let mut table = columns(&rows);
    for listed in all {
        let (line, serial) = (text::printable(&listed.release.line), listed.release.serial);
        let wanting = listed.verdicts.iter();
        let wanting = wanting.filter(|verdict| verdict.outcome != Outcome::Serves);
        for verdict in wanting.take(REASONS_MAX) {
            let (device, reason) = (
                text::printable(&verdict.device),
                text::printable(&verdict.reason),
            );
            let outcome = verdict.outcome.as_str();
            let _ = writeln!(table, "{line} {serial} on {device}: {outcome}: {reason}");
        }
    }
    table
}

#[cfg(test)]
mod tests;
