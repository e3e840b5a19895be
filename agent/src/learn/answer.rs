//! Live inference: every committed record of a watched stream is answered, in order.
//!
//! Promises: predictions are durable before the next records are read; after a restart answering
//! goes on behind the last durable prediction (whose source time is that of the record it answers),
//! so none is skipped and none answered twice.

mod resume;
mod rows;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use dunlin_models::{
    data::{Columns, InMemory, Rows},
    drift::population::{InputDrift, InputDriftSettings, Population},
    registry::{ModelKey, Version},
    scale::Scale,
};
use dunlin_sync::{
    block::Block,
    buffer::Query,
    sample::{Schema, Stream, StreamId, TimeRange, Timestamp},
};
use tokio::{runtime, time::timeout};

use self::rows::{classes, number_at, parts};
use super::{
    Shared,
    journal::{Event, PREDICTIONS, Prediction, own_stream},
    line::{Findings, Line, Serving, guarded},
};
use crate::{
    cohort::Labels, glob::matches, mqtt::outgoing::Outgoing, settings::RecipeRule,
    writer::OWN_TABLE_PREFIX,
};

/// Longest wait for a commit before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How often new streams and versions are looked for without a hint.
const REFRESH_GAP: Duration = Duration::from_secs(1);
/// Predictions made durable together.
const BATCH_MAX: usize = 1_000;
/// Between attempts while the buffer takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// Training records from which scale and bins are taken.
const SCALE_ROWS_MAX: usize = 5_000;

/// All lines, and how far the buffer has been read.
pub(super) struct Answering<'a> {
    shared: &'a Shared,
    lines: HashMap<StreamId, Vec<Line>>,
    /// Last source time of each prediction stream when the agent started, until its line goes on.
    resume: HashMap<String, i64>,
    /// How far back predictions were looked for at the start, nanoseconds UTC.
    searched_from: i64,
    /// Versions that could not serve, and have been told of.
    unusable: HashSet<(ModelKey, u64)>,
    next_seq: u64,
    /// Timestamp of the last record read, nanoseconds UTC.
    read_to: i64,
    registry_seen: Option<u64>,
    streams_seen: usize,
    next_refresh: Instant,
    pending: HashMap<ModelKey, Vec<Prediction>>,
}

impl<'a> Answering<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            lines: HashMap::new(),
            resume: HashMap::new(),
            searched_from: i64::MAX,
            unusable: HashSet::new(),
            next_seq: 0,
            read_to: i64::MIN,
            registry_seen: None,
            streams_seen: 0,
            next_refresh: Instant::now(),
            pending: HashMap::new(),
        }
    }

    /// Answers until the agent ends.
    ///
    /// # Errors
    /// If the operating system refuses what waiting needs.
    pub(super) fn run(mut self) -> Result<(), String> {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut committed = self.shared.buffer.committed();
        self.resume();
        loop {
            let stopping = self.shared.stop.load(Relaxed);
            self.refresh();
            self.catch_up();
            if stopping {
                return Ok(());
            }
            // The end of the wait matters, not its reason.
            let _woken = runtime.block_on(async { timeout(WAIT_MAX, committed.changed()).await });
        }
    }

    /// Makes lines for new streams and versions, and swaps versions.
    fn refresh(&mut self) {
        let (models, catalog) = (&self.shared.models, self.shared.buffer.catalog());
        let changes = models.changes();
        let now = Instant::now();
        if self.registry_seen == Some(changes)
            && self.streams_seen == catalog.streams.len()
            && now < self.next_refresh
        {
            return;
        }
        self.streams_seen = catalog.streams.len();
        self.next_refresh = now + REFRESH_GAP;
        for rule in &self.shared.rules {
            for stream in &catalog.streams {
                let Some(schema) = catalog.schema(stream.schema) else {
                    continue;
                };
                if schema.name.starts_with(OWN_TABLE_PREFIX)
                    || !matches(&rule.streams, &stream.name)
                {
                    continue;
                }
                let key = ModelKey::new(&rule.name, &stream.name);
                let Some(number) = models.number_among(&key, &rule.available_status) else {
                    continue;
                };
                let serves = self.lines.get(&stream.id).and_then(|lines| {
                    let line = lines.iter().find(|line| line.key == key);
                    line.map(Line::version)
                });
                if serves == Some(number) {
                    continue;
                }
                let Err(mut why) = self.serve(&key, rule, stream, schema, number) else {
                    continue;
                };
                // If it was damaged, the version before has taken its place.
                if let Some(before) = models.number_among(&key, &rule.available_status)
                    && before != number
                {
                    match self.serve(&key, rule, stream, schema, before) {
                        Ok(()) => why = format!("{why}; version {before} serves"),
                        Err(too) => why = format!("{why}; nor can version {before}: {too}"),
                    }
                }
                self.tell_unusable(&key, number, why);
            }
        }
        self.registry_seen = Some(changes);
    }

    /// Tells once that a version that should serve cannot.
    fn tell_unusable(&mut self, key: &ModelKey, version: u64, why: String) {
        if !self.unusable.insert((key.clone(), version)) {
            return;
        }
        tracing::error!(%key, version, why, "this version cannot serve");
        let event = Event {
            kind: "unusable",
            version: Some(version),
            what: why,
            figures: None,
        };
        self.shared.journal.event(key, &event);
    }

    fn serve(
        &mut self,
        key: &ModelKey,
        rule: &Arc<RecipeRule>,
        stream: &Stream,
        schema: &Schema,
        number: u64,
    ) -> Result<(), String> {
        let shared = self.shared;
        let version = shared.models.version(key, number);
        let version = version.map_err(|error| error.to_string())?;
        let artifact = shared.models.load(&version).map_err(|e| e.to_string())?;
        let recipe = rule.recipe.build()?;
        let model = guarded(|| recipe.load(&artifact));
        let model = model.map_err(|what| format!("reading it panicked: {what}"))?;
        let model = model.map_err(|error| error.to_string())?;
        let fields = artifact.features.iter().map(|name| {
            let field = schema.field(name);
            field.ok_or_else(|| format!("the stream has no field {name:?}"))
        });
        let fields: Vec<usize> = fields.collect::<Result<_, _>>()?;
        let classes = classes(&artifact.settings);
        let serving = Serving {
            version: number,
            model: Arc::from(model),
            labels: Arc::new(if classes.is_empty() {
                Labels::Number
            } else {
                Labels::classes(&classes)
            }),
            classes,
        };
        let (scale, drift) = self.trained_on(&version, stream.id, &fields)?;
        let lines = self.lines.entry(stream.id).or_default();
        let at = lines.iter().position(|line| &line.key == key);
        let answered_to = at.map(|at| lines[at].answered_to);
        if let Some(at) = at
            && lines[at].fields == fields
        {
            let line = &mut lines[at];
            // One that was gone back to is not put on trial again.
            let is_newer = number > line.version();
            line.swap(serving, drift, is_newer);
            return Ok(());
        }
        let label = rule.label.as_deref().and_then(|label| schema.field(label));
        // A version that looks at other fields begins a line of its own where the other one ends.
        let from = answered_to.unwrap_or_else(|| self.start_of(key, &version));
        let mut line = Line::new(
            key.clone(),
            Arc::clone(rule),
            fields,
            label,
            serving,
            scale,
            drift,
            from,
        );
        line.topic = topic(rule, stream, schema);
        self.prefill(&mut line, stream.id, from)?;
        if from < self.read_to {
            self.rewind(from)?;
        }
        self.resume.remove(&own_stream(PREDICTIONS, key));
        if let Some(lines) = self.lines.get_mut(&stream.id) {
            lines.retain(|line| &line.key != key);
            lines.push(line);
        }
        tracing::info!(%key, version = number, "serves");
        Ok(())
    }

    /// The scale of the training records, and bins to compare live inputs with.
    fn trained_on(
        &self,
        version: &Version,
        stream: StreamId,
        fields: &[usize],
    ) -> Result<(Scale, Option<InputDrift>), String> {
        let query = Query {
            range: TimeRange {
                from: Timestamp(version.lineage.first_ts),
                to: Timestamp(version.lineage.last_ts),
            },
            ..Query::last(stream, fields.to_vec(), SCALE_ROWS_MAX)
        };
        let matrix = self.shared.buffer.matrix(&query)?;
        let rows = matrix.ts.len();
        let values = (0..rows).flat_map(|row| matrix.columns.iter().map(move |c| c[row]));
        let source = InMemory {
            columns: Columns {
                features: fields.iter().map(ToString::to_string).collect(),
                ..Columns::default()
            },
            chunks: vec![Arc::new(Rows {
                values: values.collect(),
                is_train: vec![true; rows],
                ts: matrix.ts,
                ..Rows::default()
            })],
            ..InMemory::default()
        };
        let failed = |error: dunlin_models::data::DataError| error.to_string();
        let scale = Scale::fit(&source).map_err(failed)?;
        if rows == 0 {
            // Its training records are gone: it serves, and its inputs are compared with nothing.
            return Ok((scale, None));
        }
        let population = Population::fit(&source).map_err(failed)?;
        Ok((
            scale,
            Some(InputDrift::new(InputDriftSettings::default(), population)),
        ))
    }

    /// The records before `to`, as far as a window reaches.
    fn prefill(&self, line: &mut Line, stream: StreamId, to: i64) -> Result<(), String> {
        let rows_max = line.window_rows().saturating_sub(1);
        let query = Query {
            range: TimeRange {
                from: Timestamp::MIN,
                to: Timestamp(to),
            },
            ..Query::last(stream, line.fields.clone(), rows_max)
        };
        let matrix = self.shared.buffer.matrix(&query)?;
        for row in (0..matrix.ts.len()).rev() {
            let values: Vec<f32> = matrix.columns.iter().map(|column| column[row]).collect();
            // Only the label of the record that is answered is looked at.
            line.remember(matrix.ts[row], &values, f32::NAN);
        }
        line.answered_to = to;
        Ok(())
    }

    /// Answers every record committed by now.
    fn catch_up(&mut self) {
        let buffer = Arc::clone(&self.shared.buffer);
        self.next_seq = self.next_seq.max(buffer.oldest_seq());
        while self.next_seq < buffer.next_seq() {
            if self.lines.is_empty() {
                self.next_seq = buffer.next_seq();
                self.read_to = buffer.shape().newest_ts.unwrap_or(self.read_to);
                return;
            }
            match buffer.read_block(self.next_seq) {
                Ok(Some(block)) => self.answer_block(&block),
                // Lost; the buffer has said so.
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(why, "cannot read records to answer; trying again");
                    break;
                }
            }
            self.next_seq = buffer.next_stored(self.next_seq);
            let waiting: usize = self.pending.values().map(Vec::len).sum();
            if waiting >= BATCH_MAX {
                self.keep();
            }
        }
        self.keep();
    }

    fn answer_block(&mut self, block: &Block) {
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for (stream, section, rows) in parts(block) {
            for line in self.lines.get_mut(&stream).into_iter().flatten() {
                let mut features = vec![0.0; line.fields.len()];
                for row in rows.clone() {
                    let ts = section.rows.ts[row];
                    if ts <= line.answered_to {
                        continue;
                    }
                    for (value, field) in features.iter_mut().zip(&line.fields) {
                        *value = number_at(section, *field, row);
                    }
                    let label = line.label_at(&section.rows.columns, row);
                    let Findings {
                        prediction,
                        alarms,
                        must_roll_back,
                        broke,
                    } = line.answer(ts, &features, label);
                    if let Some(prediction) = prediction {
                        let waiting = self.pending.entry(line.key.clone()).or_default();
                        waiting.push(prediction);
                    }
                    if let Some(what) = broke {
                        broken.push((line.key.clone(), line.version(), what));
                    }
                    if !alarms.is_empty() || must_roll_back {
                        let key = line.key.clone();
                        found.push((key, line.version(), alarms, must_roll_back));
                    }
                }
            }
        }
        self.read_to = self.read_to.max(block.last_ts);
        for (key, version, alarms, must_roll_back) in found {
            for alarm in alarms {
                self.tell_drift(&key, version, &alarm);
            }
            if must_roll_back {
                self.roll_back(&key, version);
            }
        }
        for (key, version, what) in broken {
            self.give_up(&key, version, &what);
        }
    }

    /// A version that has panicked serves no more; the one before does, or none. Records until then
    /// go unanswered.
    fn give_up(&mut self, key: &ModelKey, version: u64, what: &str) {
        let (models, failed) = (&self.shared.models, &self.shared.settings.status.failed);
        // The rule may serve a version that the line's pointer does not name.
        let is_current = models.current_number(key) == Some(version);
        let before = is_current.then(|| models.rollback(key, failed).ok());
        let after = match before.flatten() {
            Some(serves) => format!("version {} serves again", serves.number),
            None => match models.set_status(key, version, failed) {
                Ok(()) => "it serves no more".to_owned(),
                Err(why) => format!("it serves no more, which cannot be kept: {why}"),
            },
        };
        let what = format!("the model panicked: {what}; {after}");
        tracing::error!(%key, version, what, "given up");
        self.shared.stats.broken.fetch_add(1, Relaxed);
        self.shared.journal.event(
            key,
            &Event {
                kind: "given_up",
                version: Some(version),
                what,
                figures: None,
            },
        );
        self.refresh();
    }

    fn tell_drift(&self, key: &ModelKey, version: u64, alarm: &dunlin_models::drift::Alarm) {
        let what = match alarm.feature {
            Some(feature) => format!("{:?}, feature number {feature}", alarm.detector),
            None => format!("{:?}", alarm.detector),
        };
        tracing::info!(%key, version, what, "drift");
        self.shared.stats.drifts.fetch_add(1, Relaxed);
        self.shared.note_drift(key);
        self.shared.journal.event(
            key,
            &Event {
                kind: "drift",
                version: Some(version),
                what,
                figures: Some((alarm.figure, alarm.bound)),
            },
        );
    }

    fn roll_back(&self, key: &ModelKey, version: u64) {
        if self.shared.models.current_number(key) != Some(version) {
            // Another one was promoted just now: it is not the one that was found wanting.
            return;
        }
        let word = &self.shared.settings.status.rolled_back;
        let what = match self.shared.models.rollback(key, word) {
            Ok(serves) => format!("version {} serves again", serves.number),
            Err(error) => format!("the version before cannot serve: {error}"),
        };
        tracing::warn!(%key, version, what, "worse than the version before: rolled back");
        self.shared.stats.rollbacks.fetch_add(1, Relaxed);
        self.shared.journal.event(
            key,
            &Event {
                kind: "rolled_back",
                version: Some(version),
                what,
                figures: None,
            },
        );
    }

    /// Makes the pending predictions durable; waits as long as it takes, or until the agent ends.
    fn keep(&mut self) {
        for (key, predictions) in self.pending.drain() {
            let mut lines = self.lines.values().flatten();
            let topic = lines.find(|line| line.key == key);
            let topic = topic.and_then(|line| line.topic.as_deref());
            let batches = predictions.chunks(BATCH_MAX);
            for batch in batches {
                if !self.shared.keep(&key, batch) {
                    // The next start answers these records, and those behind them, again.
                    break;
                }
                for prediction in topic.iter().flat_map(|_| batch) {
                    self.shared.publish(&key, topic, prediction);
                }
            }
        }
    }
}

impl Shared {
    /// Tells whoever listens on `topic`, if anybody can be told now.
    fn publish(&self, key: &ModelKey, topic: Option<&str>, prediction: &Prediction) {
        let Some(topic) = topic else {
            return;
        };
        let outputs = prediction.outputs.as_deref();
        let outputs = outputs.and_then(|text| serde_json::from_str(text).ok());
        let payload = serde_json::json!({
            "ts": prediction.input.1,
            "recipe": key.recipe,
            "stream": key.stream,
            "version": prediction.version,
            "score": prediction.score,
            "flag": prediction.flag,
            "class": prediction.class,
            "outputs": outputs.unwrap_or(serde_json::Value::Null),
        });
        self.publisher.publish(Outgoing {
            topic: topic.to_owned(),
            payload: payload.to_string().into_bytes(),
        });
    }

    /// Makes predictions durable, however long it takes; false if the agent ends before.
    fn keep(&self, key: &ModelKey, batch: &[Prediction]) -> bool {
        while let Err(why) = self.journal.keep(key, batch) {
            tracing::warn!(%key, why, "predictions wait");
            if self.stop.load(Relaxed) {
                return false;
            }
            thread::sleep(RETRY);
        }
        let flagged = batch.iter().filter(|prediction| prediction.flag).count();
        self.stats
            .predictions
            .fetch_add(batch.len() as u64, Relaxed);
        self.stats.flagged.fetch_add(flagged as u64, Relaxed);
        true
    }
}

/// Where answers about `stream` are published, if they are.
fn topic(rule: &RecipeRule, stream: &Stream, schema: &Schema) -> Option<String> {
    let topic = rule.publish.as_ref()?;
    let of = topic.of(&rule.name, stream, schema);
    if of.is_none() {
        let stream = &stream.name;
        tracing::warn!(stream, %topic, "no tag of that name; its predictions are not published");
    }
    of
}
