//! The way of predictions out: durable first, then told.
//!
//! Promises: all predictions of a round become durable together, whatever their predictors; published
//! is what is durable, and nothing else.

use std::{sync::atomic::Ordering::Relaxed, thread, time::Duration};

use dunlin_models::registry::ModelKey;
use dunlin_sync::sample::naming::plain_name;

use crate::{
    learn::{
        Shared,
        inference::{predictor::Predictor, predictors::Predictors},
        tables::Prediction,
    },
    mqtt::outgoing::Outgoing,
    record::writer::Refused,
};

/// Between attempts while the buffer takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// Longest reason in a line of the log.
const WHY_CHARS_MAX: usize = 500;

/// Makes everything in the outboxes durable; waits as long as it takes. Predictions that would be
/// refused again are dropped, counted, and told of. False if the agent ends before: the next start
/// answers these records, and those behind them, again.
pub(super) fn deliver(shared: &Shared, predictors: &mut Predictors) -> bool {
    loop {
        let Some(why) = try_once(shared, predictors) else {
            return true;
        };
        tracing::warn!(why, "predictions wait");
        if shared.stop.load(Relaxed) {
            return false;
        }
        thread::sleep(RETRY);
    }
}

/// Hands over what waits, all of it before the first is waited for; why some still waits, if it does.
fn try_once(shared: &Shared, predictors: &mut Predictors) -> Option<String> {
    let waiting = predictors.iter_mut();
    let mut waiting: Vec<&mut Predictor> = waiting
        .filter(|predictor| !predictor.outbox.waiting().is_empty())
        .collect();
    let predictions = waiting
        .iter()
        .map(|predictor| (&predictor.spec.key, predictor.outbox.waiting()));
    let kept = shared.tables.keep(predictions);
    let mut why_waiting = None;
    for (predictor, kept) in waiting.iter_mut().zip(kept) {
        match kept {
            Ok(()) => tell_durable(shared, predictor),
            Err(Refused::Transient(why)) => why_waiting = Some(why),
            Err(Refused::Permanent(why)) => drop_refused(shared, predictor, &why),
        }
    }
    why_waiting
}

/// Counts predictions that are durable, and tells them to whoever listens on the predictor's topic.
fn tell_durable(shared: &Shared, predictor: &mut Predictor) {
    let waiting = predictor.outbox.waiting();
    let flagged = waiting.iter().filter(|prediction| prediction.flag).count();
    let (answered, stats) = (waiting.len(), &shared.stats);
    stats.predictions.fetch_add(answered as u64, Relaxed);
    stats.flagged.fetch_add(flagged as u64, Relaxed);
    for prediction in predictor.outbox.drain() {
        if let Some(topic) = &predictor.spec.topic {
            publish(shared, &predictor.spec.key, topic, &prediction);
        }
    }
}

/// Drops predictions that can never be stored; tells of it the first time.
fn drop_refused(shared: &Shared, predictor: &mut Predictor, why: &str) {
    let (answers, key) = (predictor.outbox.waiting().len(), &predictor.spec.key);
    shared.stats.refused.fetch_add(answers as u64, Relaxed);
    if predictor.outbox.refuse() {
        let why: String = why.chars().take(WHY_CHARS_MAX).collect();
        tracing::error!(%key, answers, why, "answers cannot be stored; they are dropped and counted");
    }
}

fn publish(shared: &Shared, key: &ModelKey, topic: &str, prediction: &Prediction) {
    let outputs = prediction.outputs.as_deref();
    let outputs = outputs.and_then(|text| serde_json::from_str(text).ok());
    let payload = serde_json::json!({
        "ts": prediction.input.1,
        "recipe": key.recipe,
        "stream": plain_name(&key.stream),
        "version": prediction.version,
        "score": prediction.score,
        "flag": prediction.flag,
        "class": prediction.class,
        "outputs": outputs.unwrap_or(serde_json::Value::Null),
    });
    shared.publisher.publish(Outgoing {
        topic: topic.to_owned(),
        payload: payload.to_string().into_bytes(),
    });
}
