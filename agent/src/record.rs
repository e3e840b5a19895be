//! The way of one sample: from the publish that brought it to the PUBACK.

pub mod clock;
pub mod decode;
pub mod route;
pub mod split;
pub mod writer;
