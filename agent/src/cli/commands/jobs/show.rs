//! Jobs for people, and as JSON.

mod mining;

use dunlin_models::judging::evaluation::Evaluation;
use dunlin_sync::centre::job::{Attempt, Job};
use serde_json::{Value, json};

use crate::{
    base::text,
    cli::commands::{self, Exit, Outcome},
    jobs::document::{
        TrainJob, Trained,
        mine::{MINE, MineJob, Mined},
    },
};

pub(super) fn list(jobs: &[Job], is_json: bool) -> Outcome {
    if is_json {
        let all: Vec<Value> = jobs.iter().map(as_json).collect();
        return commands::print_json(&all);
    }
    if jobs.is_empty() {
        println!("no jobs");
    }
    for job in jobs {
        let reason = job.reason.as_deref().unwrap_or_default();
        let line = format!(
            "{}  {:9}  {:5}  {}  {} {reason}",
            job.id,
            job.state.as_str(),
            job.kind,
            time(job.submitted_ms),
            text::of(job.attempts_begun.into(), "attempt"),
        );
        println!("{}", text::printable(line.trim_end()));
    }
    Ok(())
}

pub(super) fn one(job: &Job, is_json: bool) -> Outcome {
    if is_json {
        return commands::print_json(&as_json(job));
    }
    let mut lines = vec![
        format!("job        {}", job.id),
        format!("state      {}", job.state.as_str()),
        format!("submitted  {}", time(job.submitted_ms)),
    ];
    if !job.labels.is_empty() {
        let labels = job
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        lines.push(format!(
            "labels     {}",
            labels.collect::<Vec<_>>().join(",")
        ));
    }
    if let Some(train) = asked(job) {
        let name = train.recipe.get("name").and_then(toml::Value::as_str);
        lines.push(format!("recipe     {}", name.unwrap_or_default()));
        lines.push(format!("streams    {}", train.streams));
    }
    lines.extend(
        job.reason
            .iter()
            .map(|reason| format!("reason     {reason}")),
    );
    lines.extend(job.attempts.iter().map(attempt));
    if let Some(bytes) = &job.result {
        if job.kind == MINE {
            lines.extend(Mined::read(bytes).iter().flat_map(mining::lines));
        } else {
            lines.extend(Trained::read(bytes).iter().flat_map(result));
        }
    }
    print!("{}", text::printable(&(lines.join("\n") + "\n")));
    Ok(())
}

/// With what recipe, on which records.
fn asked(job: &Job) -> Option<TrainJob> {
    match &*job.kind {
        MINE => MineJob::read(&job.document).ok().map(|mine| mine.train),
        _ => TrainJob::read(&job.document).ok(),
    }
}

/// Where a job is, on one line.
pub(super) fn progress(job: &Job, is_json: bool) -> Result<String, Exit> {
    if is_json {
        let text = serde_json::to_string(&as_json(job));
        return text.map_err(|error| Exit::Failed(error.to_string()));
    }
    let at = job.attempts.last().map(attempt).unwrap_or_default();
    let line = format!("{}  {at}", job.state.as_str());
    Ok(text::printable(line.trim_end()))
}

fn attempt(attempt: &Attempt) -> String {
    let ending = attempt.ending.as_deref().unwrap_or("under way");
    let reason = attempt
        .reason
        .as_deref()
        .map_or_else(String::new, |why| format!(": {why}"));
    format!(
        "attempt {:2} {ending} at {} by {}, begun {}{reason}",
        attempt.number,
        text::of(attempt.progress.steps, "step"),
        attempt.builder,
        time(attempt.begun_ms)
    )
}

fn result(trained: &Trained) -> Vec<String> {
    let said = if trained.decision.promoted {
        "would serve"
    } else {
        "would not serve"
    };
    let error =
        |evaluation: Option<f64>| evaluation.map_or("-".into(), |error| format!("{error:.6}"));
    let evaluations = &trained.evaluations;
    vec![
        format!(
            "model      {} ({})",
            trained.model,
            text::bytes(trained.model_bytes as f64)
        ),
        format!(
            "error      {}; baseline {}; started from {}",
            error(evaluations.candidate.as_ref().map(Evaluation::error)),
            error(evaluations.baseline.as_ref().map(Evaluation::error)),
            error(evaluations.incumbent.as_ref().map(Evaluation::error)),
        ),
        format!("gate       {said}: {}", trained.decision.explain()),
        format!(
            "data       {}, {}",
            text::of(trained.lineage.rows, "row"),
            trained.lineage.query
        ),
    ]
}

fn as_json(job: &Job) -> Value {
    let document: Value = serde_json::from_slice(&job.document).unwrap_or_default();
    let result: Option<Value> = job
        .result
        .as_deref()
        .and_then(|result| serde_json::from_slice(result).ok());
    let attempts = job.attempts.iter().map(|attempt| {
        json!({
            "number": attempt.number,
            "builder": attempt.builder,
            "begun_ms": attempt.begun_ms,
            "ended_ms": attempt.ended_ms,
            "expires_ms": attempt.expires_ms,
            "steps": attempt.progress.steps,
            "ending": attempt.ending,
            "reason": attempt.reason,
        })
    });
    json!({
        "job": job.id.to_string(),
        "kind": job.kind,
        "state": job.state.as_str(),
        "labels": job.labels,
        "submitted_ms": job.submitted_ms,
        "attempts_begun": job.attempts_begun,
        "reason": job.reason,
        "document": document,
        "attempts": attempts.collect::<Vec<_>>(),
        "result": result,
    })
}

fn time(ms: i64) -> String {
    text::time(ms.saturating_mul(1_000_000))
}
