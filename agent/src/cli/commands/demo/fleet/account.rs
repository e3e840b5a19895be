//! The account at the end: records, jobs, devices.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::{
    base::text,
    cli::commands::demo::{
        setup::{DATABASE, Setup},
        tally::Tally,
    },
    release::verdict::{Outcome, Verdict},
};

/// What the story has come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Jobs submitted.
    pub(super) jobs: u64,
    /// Of these, done in exactly one attempt that ended well.
    pub(super) jobs_done_once: u64,
    pub(super) attempts: u64,
    /// Attempts that ended because their builder was killed.
    pub(super) attempts_expired: u64,
    pub(super) builders_killed: u64,
    /// What each device has said of the release.
    pub(super) verdicts: Vec<Verdict>,
}

/// The line of `--json`, in this order.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Account {
    #[serde(flatten)]
    pub(super) records: Tally,
    pub(super) devices: u32,
    pub(super) jobs: u64,
    pub(super) jobs_done_once: u64,
    pub(super) attempts: u64,
    pub(super) attempts_expired: u64,
    pub(super) builders_killed: u64,
    /// Devices by what became of the release there.
    pub(super) release: BTreeMap<Outcome, u64>,
    /// The story was told to its end.
    pub(super) complete: bool,
    #[serde(skip)]
    verdicts: Vec<Verdict>,
}

impl Account {
    /// Of `records`; without a story, if somebody has stopped it.
    pub(super) fn new(records: Tally, devices: u32, told: Option<Told>) -> Self {
        let complete = told.is_some();
        let told = told.unwrap_or_default();
        let mut release = BTreeMap::new();
        for verdict in &told.verdicts {
            *release.entry(verdict.outcome).or_insert(0) += 1;
        }
        Self {
            records,
            devices,
            jobs: told.jobs,
            jobs_done_once: told.jobs_done_once,
            attempts: told.attempts,
            attempts_expired: told.attempts_expired,
            builders_killed: told.builders_killed,
            release,
            complete,
            verdicts: told.verdicts,
        }
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        // Numbers under fixed names: nothing here can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What is not accounted for, in words; `None` if all is. Of a story that was stopped the records are.
    pub(super) fn imbalance(&self) -> Option<String> {
        let mut wrong: Vec<String> = self.records.imbalance().into_iter().collect();
        if self.complete {
            if self.jobs_done_once != self.jobs {
                let (jobs, once) = (self.jobs, self.jobs_done_once);
                wrong.push(format!("{jobs} jobs, {once} done exactly once"));
            }
            let tried = |outcome| self.release.get(&outcome).copied().unwrap_or(0);
            let judged = tried(Outcome::Serves) + tried(Outcome::Refused);
            if judged != u64::from(self.devices) {
                wrong.push(format!(
                    "{} devices, {judged} have judged the release: {}",
                    self.devices,
                    reasons(&self.verdicts)
                ));
            }
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }

    /// For people.
    pub(super) fn words(&self, setup: &Setup) -> String {
        let records = &self.records;
        let mut text = format!(
            "\n{} published in {:.1} s: {} committed and uploaded, {} quarantined, {} lost.\n",
            text::of(records.published, "record"),
            records.seconds,
            records.upstream_rows,
            records.quarantined,
            records
                .published
                .saturating_sub(records.upstream_rows + records.quarantined),
        );
        let mut line = |words: String| {
            let _infallible = writeln!(text, "{words}");
        };
        if self.complete {
            line(format!(
                "{} of {} done exactly once, in {}; {} killed.",
                self.jobs_done_once,
                text::of(self.jobs, "job"),
                text::of(self.attempts, "attempt"),
                text::of(self.builders_killed, "builder"),
            ));
            for verdict in &self.verdicts {
                line(format!("  {}", text::printable(&said(verdict))));
            }
            line(format!(
                "{} answered by the released model.",
                text::of(records.predictions, "record")
            ));
        } else {
            line("Stopped before the end of the story.".into());
        }
        let Some(dir) = setup.kept() else {
            line(
                "Nothing was kept. To look at it afterwards: dunlin demo --fleet 3 --dir demo-data"
                    .into(),
            );
            return text.trim_end().to_owned();
        };
        let dir = dir.display();
        line(format!(
            "Everything lies in {dir}. Look at it:\n  dunlin fleet list --centre sqlite:{dir}/{DATABASE}\n  \
             dunlin jobs list --centre sqlite:{dir}/{DATABASE}\n  \
             dunlin release list --centre sqlite:{dir}/{DATABASE}"
        ));
        text.trim_end().to_owned()
    }
}

/// What a device says of the release.
pub(super) fn said(verdict: &Verdict) -> String {
    format!(
        "{}: {} ({})",
        verdict.device,
        verdict.outcome.as_str(),
        verdict.reason
    )
}

fn reasons(verdicts: &[Verdict]) -> String {
    let all: Vec<String> = verdicts.iter().map(said).collect();
    all.join("; ")
}
