//! The learner in the device, and what it must have left in a copy:
//!
//! - The registry opens with nothing damaged, and every version it names can be read, hash and all.
//! - The list of open tasks can be read, and so can every checkpoint.
//! - Every answer is an answer to a record that was committed, and no record has two.
//! - The answers of a stream have no gap: from the first to the last, every record has one, unless the device
//!   has said that it had to let go of some.
//!
//! Recipes are quick and their versions few, so that versions come and go all the time; some are
//! promoted by hand in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dunlin_agent::{
    admin::operations::{ListModels, PromoteModel},
    learn,
};
use dunlin_models::registry::{Registry, RegistryOptions};
use dunlin_sync::{block::Block, files::state_file, sample::Catalog};
use dunlin_tests::{
    central::{Answer, Row},
    device::Control,
    records::{Numbered, STREAMS},
};
use rand::{RngExt, rngs::StdRng};
use rusqlite::{Connection, OptionalExtension as _};

use super::{DEVICE, check::Found};

/// Versions kept of each model: they are deleted all the time.
const VERSIONS_MAX: u64 = 3;

/// A recipe and the stream it learns from.
const LINES: [(&str, u64); 3] = [("health", 0), ("next", 1), ("slow", 2)];

/// The configuration of the device under test.
pub(crate) fn config() -> String {
    let algorithms = [
        "\"pca\"\nlookback = 4",
        "\"ridge_nlinear\"\nlookback = 8\nhorizon = 2",
        "\"autoencoder\"\nlookback = 8\nhidden = [4]\nepochs_max = 3",
    ];
    let recipes = LINES
        .iter()
        .zip(algorithms)
        .map(|((recipe, line), algorithm)| {
            format!(
                "[[recipe]]\nname = \"{recipe}\"\nstreams = \"records/line{line}\"\n\
                 features = [\"v\"]\nalgorithm = {algorithm}\nmargin = 0.0\nwindows_min = 20\n\
                 min_start_count = 500\nmin_update_count = 500\nrows_max = 2000\n"
            )
        });
    let recipes: String = recipes.collect();
    format!(
        "[learn]\nscan_ms = 100\ncpu_percent_max = 100\ntemperature_c_max = 150\n\
         versions_max = {VERSIONS_MAX}\n{recipes}"
    )
}

/// Lets any version of any line serve, as a person might. `Ok(None)`: there is none.
pub(crate) fn promote_any(control: &Control, rng: &mut StdRng) -> Result<Option<u64>, String> {
    let list = ListModels {
        recipe: None,
        stream: None,
    };
    let (versions, _) = control.request(list)?;
    if versions.is_empty() {
        return Ok(None);
    }
    let chosen = &versions[rng.random_range(0..versions.len())];
    let promote = PromoteModel {
        key: chosen.key.clone(),
        number: chosen.number,
        status: None,
        replaced: None,
    };
    match control.request(promote) {
        Ok(_) => Ok(Some(chosen.number)),
        // A newer one has taken its place since it was listed.
        Err(error) if error.contains("has no version") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers known outside the device.
pub(crate) struct Answers {
    numbered: Numbered,
    /// When each record was answered, by recipe and the record's timestamp.
    given: BTreeMap<(usize, i64), i64>,
    /// By recipe: from its first answer up to below this record, all are answered and upstream.
    settled: [Option<u64>; LINES.len()],
    /// The device has said that it let go of records before they were answered.
    let_go: bool,
}

impl Answers {
    pub(crate) fn new(numbered: Numbered) -> Self {
        Self {
            numbered,
            given: BTreeMap::new(),
            settled: [None; LINES.len()],
            let_go: false,
        }
    }

    /// Takes notice of what the device has said so far. A short buffer lets go of records that are not answered
    /// yet, which must be said; then there may be gaps.
    pub(crate) fn listen(&mut self, log: &str) {
        self.let_go |= log.contains("let go before they were answered");
    }

    pub(crate) fn let_go(&self) -> bool {
        self.let_go
    }

    pub(crate) fn count(&self) -> usize {
        self.given.len()
    }

    /// Takes answers found upstream, where all these records are.
    pub(crate) fn add(
        &mut self,
        answers: &[Answer],
        records: &BTreeMap<u64, Row>,
    ) -> Result<(), String> {
        for answer in answers {
            let place = place_of(answer)?;
            let before = self.given.insert((place, answer.record_ts), answer.ts);
            twice(answer, before)?;
        }
        for place in 0..LINES.len() {
            let given = |n: u64| {
                let row = records.get(&n);
                row.is_some_and(|row| self.given.contains_key(&(place, row.ts)))
            };
            let began = || self.numbers(place, 0, records).find(|n| given(*n));
            let Some(mut n) = self.settled[place].or_else(began) else {
                continue;
            };
            while self.numbered.line(n).is_none() || given(n) {
                n += STREAMS;
            }
            self.settled[place] = Some(n);
        }
        Ok(())
    }

    /// What is wrong with the answers in a copy's buffer, given every record known or in it.
    fn wrong(
        &self,
        buffered: &[Answer],
        records: &[&BTreeMap<u64, Row>; 2],
    ) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        let mut fresh: BTreeMap<(usize, i64), i64> = BTreeMap::new();
        for answer in buffered {
            let key = (place_of(answer)?, answer.record_ts);
            match self.given.get(&key) {
                known @ Some(_) => wrong.extend(twice(answer, known.copied()).err()),
                None => wrong.extend(twice(answer, fresh.insert(key, answer.ts)).err()),
            }
        }
        for (place, (recipe, _)) in LINES.iter().enumerate() {
            let from = self.settled[place].unwrap_or_default();
            let [upstream, buffer] = records.map(|records| self.numbers(place, from, records));
            let mut began = self.settled[place].is_some();
            let (mut missing, mut gap) = (None, None);
            for n in upstream.chain(buffer).collect::<BTreeSet<u64>>() {
                let row = records.iter().find_map(|records| records.get(&n));
                let key = (place, row.map_or(0, |row| row.ts));
                if fresh.remove(&key).is_some() || self.given.contains_key(&key) {
                    began = true;
                    gap = gap.or(missing.map(|missing| (missing, n)));
                } else if began {
                    missing = missing.or(Some(n));
                }
            }
            wrong.extend(
                gap.filter(|_| !self.let_go).map(|(missing, n)| {
                    format!("{recipe} has answered record {n} and not {missing}")
                }),
            );
            let nothing = fresh.keys().filter(|(other, _)| *other == place);
            wrong.extend(nothing.map(|(_, record_ts)| {
                format!("{recipe} has answered {record_ts}, where there is no record")
            }));
        }
        Ok(wrong)
    }

    /// Numbers of the records that a recipe has to answer, from one on.
    fn numbers(
        &self,
        place: usize,
        from: u64,
        records: &BTreeMap<u64, Row>,
    ) -> impl Iterator<Item = u64> {
        let (_, line) = LINES[place];
        let numbers = records.range(from..).map(|(n, _)| *n);
        numbers.filter(move |n| self.numbered.line(*n) == Some(line))
    }
}

fn twice(answer: &Answer, before: Option<i64>) -> Result<(), String> {
    match before {
        Some(before) if before != answer.ts => Err(format!("{answer:?}: and before at {before}")),
        _ => Ok(()),
    }
}

/// Which recipe has answered.
fn place_of(answer: &Answer) -> Result<usize, String> {
    let is_of = |(recipe, line): &(&str, u64)| {
        let stream = format!("{}/{recipe}/records/line{line}", learn::PREDICTIONS);
        answer.stream == stream || answer.stream == format!("{DEVICE}/{stream}")
    };
    let place = LINES.iter().position(is_of);
    place.ok_or_else(|| format!("{answer:?}: of a recipe that is not there"))
}

/// The answers in a block.
pub(crate) fn answers_in(block: &Block, catalog: &Catalog) -> Vec<Answer> {
    let mut answers = Vec::new();
    for section in &block.sections {
        let mut row = 0;
        for run in &section.runs {
            let rows = row..row + run.rows as usize;
            row = rows.end;
            let Some((stream, schema)) = catalog.resolve(run.stream) else {
                continue;
            };
            if schema.name == learn::PREDICTIONS {
                answers.extend(rows.map(|row| Answer {
                    stream: stream.name.clone(),
                    ts: section.rows.ts[row],
                    record_ts: section.rows.source_ts[row].unwrap_or_default(),
                }));
            }
        }
    }
    answers
}

/// Compares what the learner has left in the data directory of a copy; `records` are those upstream
/// and those in the copy's buffer.
pub(crate) fn check(
    data_dir: &Path,
    known: &Answers,
    buffered: &[Answer],
    records: &[&BTreeMap<u64, Row>; 2],
    found: &mut Found,
) {
    found.answers = buffered.len() as u64;
    match known.wrong(buffered, records) {
        Ok(wrong) => found.violations.extend(wrong),
        Err(error) => found.wrong(error),
    }
    if let Err(error) = check_versions(&data_dir.join("models"), found) {
        found.wrong(error);
    }
    let state = data_dir.join("state");
    if let Err(error) = learn::open_tasks(&state) {
        found.wrong(error.to_string());
    }
    for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("checkpoint-")
        {
            let read = state_file::read::<(u64, u64, Vec<u8>)>(&entry.path());
            match read {
                Ok(_) => found.checkpoints += 1,
                Err(error) => found.wrong(error.to_string()),
            }
        }
    }
}

fn check_versions(dir: &Path, found: &mut Found) -> Result<(), String> {
    let registry = Registry::open(RegistryOptions::new(dir)).map_err(|e| e.to_string())?;
    for key in registry.keys() {
        let versions = registry.versions(&key).map_err(|e| e.to_string())?;
        for version in &versions {
            match registry.load(version) {
                Ok(_) => found.versions += 1,
                Err(error) => found.wrong(error.to_string()),
            }
        }
        let current = registry.current_number(&key);
        if current.is_some_and(|current| versions.iter().all(|v| v.number != current)) {
            found.wrong(format!(
                "version {current:?} of {key} should serve and is not there"
            ));
        }
    }
    let damage = registry.take_damage().into_iter();
    found
        .violations
        .extend(damage.map(|damage| format!("damaged: {damage:?}")));
    Ok(())
}

/// Whether the newest record of every stream that is answered at all is answered upstream.
pub(crate) fn has_caught_up(central: &Connection) -> rusqlite::Result<bool> {
    for (recipe, line) in LINES {
        let newest = |column: &str, table: &str, stream: String| {
            let sql =
                format!("SELECT {column} FROM {table} WHERE stream = ?1 ORDER BY ts DESC LIMIT 1");
            central
                .query_row(&sql, [stream], |row| row.get::<_, i64>(0))
                .optional()
        };
        let record = newest("ts", "records", format!("{DEVICE}/records/line{line}"))?;
        let stream = format!(
            "{DEVICE}/{}/{recipe}/records/line{line}",
            learn::PREDICTIONS
        );
        // Where no model ever passed the gate, nothing is answered.
        let answered = newest("source_ts", learn::PREDICTIONS, stream)?;
        if answered.is_some() && answered != record {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Candidates judged.
pub(crate) fn versions_made(central: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM dunlin_evaluations";
    let count: i64 = central.query_row(sql, [], |row| row.get(0))?;
    Ok(count as u64)
}

/// What is wrong with all that is upstream in the end.
pub(crate) fn check_upstream(central: &Connection, let_go: bool) -> rusqlite::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (recipe, line) in LINES {
        let answers = format!(
            "{DEVICE}/{}/{recipe}/records/line{line}",
            learn::PREDICTIONS
        );
        for (what, sql) in [
            (
                "twice",
                "SELECT source_ts FROM dunlin_predictions WHERE stream = ?1 AND ?2 = ?2 \
                 GROUP BY source_ts HAVING count(*) > 1",
            ),
            (
                "never",
                "WITH answers AS (SELECT source_ts FROM dunlin_predictions WHERE stream = ?1) \
                 SELECT ts FROM records WHERE stream = ?2 \
                 AND ts > (SELECT min(source_ts) FROM answers) \
                 AND ts NOT IN (SELECT source_ts FROM answers)",
            ),
            (
                "without there being such a record",
                "SELECT source_ts FROM dunlin_predictions WHERE stream = ?1 \
                 AND source_ts NOT IN (SELECT ts FROM records WHERE stream = ?2)",
            ),
        ] {
            if let_go && what == "never" {
                continue;
            }
            let mut found = central.prepare(sql)?;
            let stream = format!("{DEVICE}/records/line{line}");
            let times = found.query_map((&answers, stream), |row| row.get::<_, i64>(0))?;
            for ts in times {
                wrong.push(format!(
                    "{recipe} has answered the record at {} {what}",
                    ts?
                ));
            }
        }
    }
    Ok(wrong)
}
