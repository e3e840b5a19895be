//! `[buffer]`.

use crate::config::{
    diagnostic::Diagnostics, read::values::Values, schema::keys::buffer, settings::BufferSettings,
};

/// Commits closer together than this wear a flash card out within a year or two.
const COMMIT_GAP_MS_EASY: u64 = 100;

pub(super) fn settings(values: &Values, found: &mut Diagnostics) -> BufferSettings {
    let bytes_max = values.get(&buffer::BYTES_MAX);
    let replay = values.maybe(&buffer::REPLAY_BYTES_MAX);
    if let Some(replay) = replay
        && replay > bytes_max / 2
        && !values.is_bad(&buffer::BYTES_MAX)
    {
        found.error(
            &values.origin(&buffer::REPLAY_BYTES_MAX),
            format!(
                "buffer.replay_bytes_max: {replay} is more than half of bytes_max ({bytes_max})"
            ),
            format!(
                "use at most {}, or raise buffer.bytes_max: the other half is for what is not \
                 uploaded yet",
                bytes_max / 2
            ),
        );
    }
    let gap = values.get(&buffer::COMMIT_GAP_MS_MIN);
    if gap < COMMIT_GAP_MS_EASY {
        found.warning(
            &values.origin(&buffer::COMMIT_GAP_MS_MIN),
            format!("buffer.commit_gap_ms_min: a commit every {gap} ms wears out a flash card"),
            "use 250 unless the disk is a good SSD",
        );
    }
    BufferSettings {
        bytes_max,
        disk_free_bytes_min: values.get(&buffer::DISK_FREE_BYTES_MIN),
        when_full: values.get(&buffer::WHEN_FULL),
        commit_gap_ms_min: gap,
        replay_bytes_max: replay.unwrap_or(bytes_max / 2),
        replay_age_s_max: values.maybe(&buffer::REPLAY_AGE_S_MAX),
        streams_idle_s_max: values.get(&buffer::STREAMS_IDLE_S_MAX),
    }
}
