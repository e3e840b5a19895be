//! What belongs to no part of the agent, and needs none.

pub(crate) mod glob;
pub(crate) mod host;
pub(crate) mod log_filter;
pub(crate) mod own_names;
pub(crate) mod owner;
pub(crate) mod progress;
pub(crate) mod ranges;
pub(crate) mod source_time;
pub(crate) mod text;
pub(crate) mod thermal;
pub(crate) mod time_text;
pub(crate) mod wall;
pub(crate) mod waveform;
