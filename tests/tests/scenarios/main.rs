//! The agent as a process, from the broker to the upstream, and everything that goes wrong there.
//!
//! With the embedded broker (where sessions matter, with a double that keeps them as the standard
//! says); with the broker that `DUNLIN_MQTT_URL` names, where it does.
//!
//! | file | what |
//! |---|---|
//! | `arrival` | records arrive once, with timestamp, split and tags; bad publishes do not |
//! | `broker` | connections cut, half open, slow, refused; PUBACKs lost |
//! | `redelivery` | brokers that send again in ways of their own, over kills of agent and broker |
//! | `upstream` | refused, slow, away, full of wrong tables; the order of a backlog |
//! | `fleet` | how devices are, seen at the database; silent ones |
//! | `flood` | topics that a stranger makes up, and machines that were there before |
//! | `space` | buffer full under both policies; disk full |
//! | `reload` | another configuration on SIGHUP, refused, taken, partly kept |
//! | `life` | start, stop, exit codes, health |
//! | `owner` | root, other users, any umask: whose files there are, and who may read them |
//! | `identity` | devices renamed, directories copied, tags changed, starts before the first record |
//! | `start` | a data directory of a newer version, read-only, of another user; the service manager |
//! | `learning` | trained, judged, swapped, killed and damaged models; every record answered once |
//! | `jobs` | a builder killed under way; another goes on |
//! | `demo` | the demo of a fleet: a killed builder, a release, an account that balances |
//! | `tls` | verified and mutual TLS to the broker |

#![allow(clippy::unwrap_used)]

mod arrival;
mod broker;
mod demo;
mod fleet;
mod flood;
mod identity;
mod jobs;
mod learning;
mod life;
mod owner;
mod payloads;
mod redelivery;
mod reload;
mod space;
mod start;
mod tls;
mod upstream;
mod world;
