//! The `PostgreSQL` upstream against a real server, where `DUNLIN_POSTGRES_URL` names one
//! (`postgres://user:password@host:5432/database`, with the right to make databases and roles). Each test has a
//! database of its own there.

#![allow(clippy::unwrap_used)]

mod faults;
mod rows;
mod support;
mod tables;
mod tls;
mod views;
