//! Everything learning does, as records on streams of its own: one way out for all of it.
//!
//! Promises: a record goes through the same writer as a sample, with its own timestamp; whoever
//! needs to know that it is durable waits for [`Tables::keep`], everybody else never waits for the
//! disk, only for room in the queue.

use std::sync::{Arc, atomic::Ordering::Relaxed, mpsc};

use dunlin_models::{
    judging::{evaluation::Evaluation, gate::Decision},
    recipe::{EpochEnd, Step},
    registry::ModelKey,
};
use dunlin_sync::sample::{FieldType, Value, naming::plain_name};

use crate::{
    config::settings::StatusWords,
    learn::{LearnStats, scheduler::task::Task},
    record::{
        own_rows::{self, Cell, clipped, finite, integer, real, text},
        writer::{Answer, Refused, Request, Requests},
    },
};

/// Answers of models.
pub const PREDICTIONS: &str = "dunlin_predictions";
/// Tasks as they come and go.
pub const TASKS: &str = "dunlin_tasks";
const TRAINING_LOG: &str = "dunlin_training_log";
const EPOCHS: &str = "dunlin_epochs";
const EVALUATIONS: &str = "dunlin_evaluations";
/// Promotions, drift, versions taken back.
pub const EVENTS: &str = "dunlin_events";

/// One answer of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prediction {
    /// Version of the model.
    pub(super) version: u64,
    /// First and last timestamp of the input, nanoseconds UTC.
    pub(super) input: (i64, i64),
    pub(super) score: f64,
    pub(super) flag: bool,
    /// Name of the likeliest class.
    pub(super) class: Option<String>,
    /// Error of this answer where it shows at once.
    pub(super) error: Option<f64>,
    /// The answer itself, as a JSON list.
    pub(super) outputs: Option<String>,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// What: `promoted`, `rolled_back`, `drift`, `unusable`, `given_up`, `ended`.
    pub(super) kind: &'static str,
    pub(super) version: Option<u64>,
    /// In words.
    pub(super) what: String,
    /// The figure behind it, and the bound it is above.
    pub(super) figures: Option<(f64, f64)>,
}

/// Hands rows to the writer.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    requests: Requests,
    stats: Arc<LearnStats>,
}

impl Tables {
    pub(super) fn new(requests: Requests, stats: Arc<LearnStats>) -> Self {
        Self { requests, stats }
    }

    pub(super) fn task(&self, task: &Task, words: &StatusWords) {
        let cells: Vec<Cell> = vec![
            integer("task", task.id),
            text("kind", task.kind.as_str()),
            text("status", task.state.word(words)),
            number("version", task.version),
            number("parent", task.parent),
            text("reason", &task.reason),
            text("query", &task.query),
            (
                "started_ns",
                FieldType::I64,
                Some(Value::I64(task.started_ns)),
            ),
            // Newest record that it may see, and what its training draws from: what made it once makes it again.
            ("to_ts", FieldType::I64, Some(Value::I64(task.to_ts))),
            text("seed", &task.seed.to_string()),
        ];
        self.post(TASKS, &task.key, vec![cells]);
    }

    pub(super) fn steps(&self, task: &Task, steps: &[Step]) {
        let rows = steps.iter().map(|step| {
            vec![
                integer("task", task.id),
                integer("epoch", u64::from(step.epoch)),
                integer("step", step.step),
                real("loss", f64::from(step.loss)),
                real("learning_rate", f64::from(step.learning_rate)),
                integer("ns", step.ns),
            ]
        });
        self.post(TRAINING_LOG, &task.key, rows.collect());
    }

    pub(super) fn epoch(&self, task: &Task, end: &EpochEnd) {
        let cells = vec![
            integer("task", task.id),
            integer("epoch", u64::from(end.epoch)),
            real("train_loss", f64::from(end.train_loss)),
            real("validation_loss", f64::from(end.validation_loss)),
            ("is_best", FieldType::Bool, Some(Value::Bool(end.is_best))),
        ];
        self.post(EPOCHS, &task.key, vec![cells]);
    }

    pub(super) fn evaluation(
        &self,
        task: &Task,
        version: u64,
        candidate: &Evaluation,
        decision: &Decision,
    ) {
        let cells = vec![
            integer("task", task.id),
            integer("version", version),
            integer("windows", decision.windows),
            real("candidate_error", decision.candidate_error),
            (
                "incumbent_error",
                FieldType::F64,
                decision.incumbent_error.and_then(finite),
            ),
            real("baseline_error", decision.baseline_error),
            real("false_alarm_rate", candidate.false_alarm_rate()),
            (
                "promoted",
                FieldType::Bool,
                Some(Value::Bool(decision.promoted)),
            ),
            text("reason", &decision.explain()),
        ];
        self.post(EVALUATIONS, &task.key, vec![cells]);
    }

    pub(super) fn event(&self, key: &ModelKey, event: &Event) {
        let (figure, bound) = event.figures.unzip();
        let cells = vec![
            text("kind", event.kind),
            number("version", event.version),
            text("what", &event.what),
            ("figure", FieldType::F64, figure.and_then(finite)),
            ("bound", FieldType::F64, bound.and_then(finite)),
        ];
        self.post(EVENTS, key, vec![cells]);
    }

    /// Makes predictions of many lines durable, all handed over before the first is waited for; for
    /// each line, in order, why they are not: nothing of that line's is stored then.
    pub(super) fn keep<'a>(
        &self,
        lines: impl Iterator<Item = (&'a ModelKey, &'a [Prediction])>,
    ) -> Vec<Result<(), Refused>> {
        let asked = lines.map(|(key, predictions)| {
            let rows = predictions.iter().map(prediction_row).collect();
            let (reply, answer) = mpsc::channel();
            (request(PREDICTIONS, key, rows, reply), answer)
        });
        let (requests, answers): (Vec<_>, Vec<_>) = asked.unzip();
        if requests.is_empty() {
            return Vec::new();
        }
        // Nobody answers then.
        let _ended = self.requests.send_together(requests);
        let answers = answers.into_iter().map(|answer| match answer.recv() {
            Ok(stored) => stored.map(|_| ()),
            Err(_) => Err(Refused::Transient("the writer has ended".into())),
        });
        answers.collect()
    }

    /// Hands rows over without waiting until they are durable.
    fn post(&self, schema: &str, key: &ModelKey, rows: Vec<Vec<Cell>>) {
        let count = rows.len() as u64;
        let (reply, _nobody_listens) = mpsc::channel();
        let rows = rows.into_iter().map(|cells| (None, cells)).collect();
        if self
            .requests
            .send(request(schema, key, rows, reply))
            .is_err()
        {
            self.stats.rows_lost.fetch_add(count, Relaxed);
        }
    }
}

/// A prediction as a row, whose source time is that of the record it answers.
fn prediction_row(prediction: &Prediction) -> (Option<i64>, Vec<Cell>) {
    let (first, last) = prediction.input;
    let cells = vec![
        integer("version", prediction.version),
        ("first_ts", FieldType::I64, Some(Value::I64(first))),
        ("last_ts", FieldType::I64, Some(Value::I64(last))),
        real("score", prediction.score),
        ("flag", FieldType::Bool, Some(Value::Bool(prediction.flag))),
        (
            "class",
            FieldType::Text,
            prediction.class.as_deref().map(clipped),
        ),
        ("error", FieldType::F64, prediction.error.and_then(finite)),
        (
            "outputs",
            FieldType::Text,
            prediction.outputs.as_deref().map(clipped),
        ),
    ];
    (Some(last), cells)
}

/// Name of the stream of `key` in one of the agent's own tables, which are those of the device too.
pub(super) fn own_stream(schema: &str, key: &ModelKey) -> String {
    format!("{schema}/{}/{}", key.recipe, plain_name(&key.stream))
}

fn request(
    schema: &str,
    key: &ModelKey,
    rows: Vec<(Option<i64>, Vec<Cell>)>,
    reply: mpsc::Sender<Answer>,
) -> Request {
    let tags = vec![
        ("recipe".into(), key.recipe.clone()),
        ("source".into(), plain_name(&key.stream).to_owned()),
    ];
    own_rows::request(schema, own_stream(schema, key), tags, rows, reply)
}

fn number(name: &'static str, number: Option<u64>) -> Cell {
    number.map_or((name, FieldType::I64, None), |number| integer(name, number))
}
