//! MQTT on the wire, for both sides that speak it: [`crate::ingest`] and [`crate::simulate`].
//!
//! The packets are rumqttc's (`Connect`, `Subscribe`, `SubAck`, ... of MQTT 5 and 3.1.1); the
//! connection is ours and not its `EventLoop`, because that one
//! - flushes every PUBACK by itself and is woken for every packet (10 us of CPU a publish, where
//!   this takes 1 us), while a commit acknowledges thousands at once;
//! - can neither ping nor acknowledge while it is not polled for publishes, so a stalled consumer
//!   costs the connection;
//! - reconnects for ever on a packet larger than its limit, which here is one more publish for
//!   quarantine.

mod approach;
pub mod connack;
mod keep_alive;
pub mod link;
pub mod outgoing;
mod read_pacing;
pub mod url;
pub mod wire;

pub use connack::ConnAck;
pub(crate) use keep_alive::KeepAlive;
pub use link::{Link, LinkError, LinkOptions, LinkProblem};
pub(crate) use read_pacing::ReadPacing;
