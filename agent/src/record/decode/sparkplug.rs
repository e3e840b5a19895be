//! Sparkplug B as a host that only listens: topic and payload in, named metrics out. All that it ever says
//! is that an edge node should announce itself again ([`rebirth_request`]).
//!
//! After the Sparkplug Specification 3.0.0 of the Eclipse Foundation, tolerant of 2.2 and of what encoders
//! in the field do otherwise. A publish goes through three steps:
//! - [`topic::Topic::parse`] tells what kind of message it is and of which edge node and device;
//! - [`payload::Message::decode`], then [`payload::Message::payload`], reads its metrics;
//! - [`session::Session::resolve`] gives them their names and types, which a DATA message may leave out,
//!   and says what to remember: [`session::Session::apply`] does so once the publish has been taken.

mod command;
pub(crate) mod data_type;
pub(crate) mod payload;
mod protobuf;
mod records;
pub(crate) mod session;
mod sessions;
pub(crate) mod topic;
pub(crate) mod value;

pub(crate) use self::{command::rebirth_request, sessions::Sessions};
pub(super) use self::{records::decode, session::Change};
