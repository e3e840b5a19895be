//! What is to be learnt: `[learn]` and `[[recipe]]`.

mod recipes;

use std::time::Duration;

use super::inputs::{Inputs, seconds};
use crate::config::{
    diagnostic::Diagnostics,
    settings::{LearnSettings, StatusWords, StreamRule},
};

pub(in crate::config) fn settings(
    inputs: &Inputs<'_>,
    streams: &[StreamRule],
    found: &mut Diagnostics,
) -> LearnSettings {
    let values = inputs.values;
    let word = |path: &str| values.text(path).unwrap_or_default().to_owned();
    let status = StatusWords {
        queued: word("learn.status_queued"),
        training: word("learn.status_training"),
        available: word("learn.status_available"),
        rejected: word("learn.status_rejected"),
        retired: word("learn.status_retired"),
        rolled_back: word("learn.status_rolled_back"),
        failed: word("learn.status_failed"),
        dead: word("learn.status_dead"),
    };
    let working = word("learn.working_status");
    let working = working.split(',').map(str::trim);
    LearnSettings {
        recipes: recipes::rules(inputs, streams, &status, found),
        scan: Duration::from_millis(values.number("learn.scan_ms")),
        workers: values.number("learn.workers") as usize,
        cpu_share: values.number("learn.cpu_percent_max") as f64 / 100.0,
        temperature_c_max: values.number("learn.temperature_c_max") as f64,
        limit: seconds(values, "learn.limit_s"),
        rows_per_chunk_max: values.number("learn.rows_per_chunk_max") as usize,
        versions_max: values.number("learn.versions_max") as usize,
        bytes_max: values.number("learn.bytes_max"),
        working_status: working.map(str::to_owned).collect(),
        status,
    }
}
