//! The `TDengine` upstream: every scenario against the double, those without faults once more against
//! a real server where `DUNLIN_TDENGINE_URL` names one (`tdengine://user:password@host:6041/any`).

#![allow(clippy::unwrap_used)]

mod faults;
mod scenarios;
mod support;
mod tls;
