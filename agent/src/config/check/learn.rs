//! What is to be learnt: `[learn]` and `[[recipe]]`.

mod recipes;

use super::inputs::Inputs;
use crate::config::{
    diagnostic::Diagnostics,
    schema::keys::learn,
    settings::{LearnSettings, StatusWords, StreamRule},
};

pub(super) fn settings(
    inputs: &Inputs<'_>,
    streams: &[StreamRule],
    found: &mut Diagnostics,
) -> LearnSettings {
    let values = inputs.values;
    let status = StatusWords {
        queued: values.get(&learn::STATUS_QUEUED),
        training: values.get(&learn::STATUS_TRAINING),
        available: values.get(&learn::STATUS_AVAILABLE),
        rejected: values.get(&learn::STATUS_REJECTED),
        retired: values.get(&learn::STATUS_RETIRED),
        rolled_back: values.get(&learn::STATUS_ROLLED_BACK),
        failed: values.get(&learn::STATUS_FAILED),
        dead: values.get(&learn::STATUS_DEAD),
    };
    let working = values.get(&learn::WORKING_STATUS);
    let working = working.split(',').map(str::trim);
    LearnSettings {
        recipes: recipes::rules(inputs, streams, &status, found),
        scan: values.get(&learn::SCAN_MS),
        workers: values.get(&learn::WORKERS),
        cpu_share: values.get(&learn::CPU_PERCENT_MAX) as f64 / 100.0,
        temperature_c_max: values.get(&learn::TEMPERATURE_C_MAX) as f64,
        limit: values.get(&learn::LIMIT_S),
        rows_per_chunk_max: values.get(&learn::ROWS_PER_CHUNK_MAX),
        versions_max: values.get(&learn::VERSIONS_MAX),
        bytes_max: values.get(&learn::BYTES_MAX),
        working_status: working.map(str::to_owned).collect(),
        status,
    }
}
