//! What belongs to no part of the agent, and needs none.

pub(crate) mod glob;
pub(crate) mod moment;
pub(crate) mod thermal;
pub(crate) mod wall;
