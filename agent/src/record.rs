//! The way of one sample: from the publish that brought it to the PUBACK.

pub mod clock;
pub mod decode;
pub(crate) mod held;
pub(crate) mod own_rows;
pub mod route;
pub mod split;
pub mod writer;
