//! What comes to light while records are answered: told as rows, and acted upon.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_models::{drift::Alarm, registry::ModelKey};
use dunlin_sync::naming::plain_name;

use crate::{
    learn::{
        Shared,
        inference::{Answering, predictor::Line},
        tables::{Event, Prediction},
    },
    mqtt::outgoing::Outgoing,
};

/// Longest reason in a line of the log.
const WHY_CHARS_MAX: usize = 500;

impl Answering<'_> {
    /// Tells once that a version that should serve cannot.
    pub(super) fn tell_unusable(&mut self, key: &ModelKey, version: u64, why: String) {
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

    /// A version that has panicked serves no more; the one before does, or none. Records until then
    /// go unanswered.
    pub(super) fn give_up(&mut self, key: &ModelKey, version: u64, what: &str) {
        let after = self.take_out(key, version);
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
        self.is_unsettled = true;
    }

    /// A version that is of no use gets the status `failed`, and the one before its place, or none; tells
    /// what comes of it.
    pub(super) fn take_out(&self, key: &ModelKey, version: u64) -> String {
        let (models, failed) = (&self.shared.models, &self.shared.settings.status.failed);
        // The rule may serve a version that the line's pointer does not name.
        let is_current = models.current_number(key) == Some(version);
        let before = is_current.then(|| models.rollback(key, failed).ok());
        match before.flatten() {
            Some(serves) => format!("version {} serves again", serves.number),
            None => match models.set_status(key, version, failed) {
                Ok(()) => "it serves no more".to_owned(),
                Err(why) => {
                    tracing::warn!(%key, version, %why, "cannot keep that it is of no use");
                    format!("it serves no more, which cannot be kept: {why}")
                }
            },
        }
    }

    pub(super) fn tell_drift(&self, key: &ModelKey, version: u64, alarm: &Alarm) {
        let what = match alarm.feature {
            Some(feature) => format!("{:?}, feature number {feature}", alarm.detector),
            None => format!("{:?}", alarm.detector),
        };
        tracing::info!(%key, version, what, "drift");
        self.shared.stats.drifts.fetch_add(1, Relaxed);
        self.shared.drifted.note(key);
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

    pub(super) fn roll_back(&mut self, key: &ModelKey, version: u64) {
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
        self.is_unsettled = true;
    }
}

impl Shared {
    /// Counts answers of `line` that are durable, and tells them to whoever listens on its topic.
    pub(super) fn told(&self, line: &mut Line) {
        let flagged = line.waiting.iter().filter(|answer| answer.flag).count();
        let (answered, stats) = (line.waiting.len(), &self.stats);
        stats.predictions.fetch_add(answered as u64, Relaxed);
        stats.flagged.fetch_add(flagged as u64, Relaxed);
        for prediction in line.waiting.drain(..) {
            if let Some(topic) = &line.topic {
                self.publish(&line.key, topic, &prediction);
            }
        }
    }

    /// Drops answers of `line` that can never be stored; tells of it the first time.
    pub(super) fn drop_answers(&self, line: &mut Line, why: &str) {
        let (answers, key) = (line.waiting.len(), &line.key);
        self.stats.refused.fetch_add(answers as u64, Relaxed);
        line.waiting.clear();
        if !std::mem::replace(&mut line.is_refused, true) {
            let why: String = why.chars().take(WHY_CHARS_MAX).collect();
            tracing::error!(%key, answers, why, "answers cannot be stored; they are dropped and counted");
        }
    }

    fn publish(&self, key: &ModelKey, topic: &str, prediction: &Prediction) {
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
        self.publisher.publish(Outgoing {
            topic: topic.to_owned(),
            payload: payload.to_string().into_bytes(),
        });
    }
}
