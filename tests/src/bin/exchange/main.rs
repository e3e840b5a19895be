//! What one kind of machine has written, another must be able to use.
//!
//! `exchange --write DIR` trains every recipe, keeps the models with their answers, and fills a
//! buffer. `exchange --read DIR`, run elsewhere, loads the models, asks them the same and compares, and
//! reads every record of the buffer back. Prints one line of JSON; exits with 1 on a difference.
//! Whatever goes in is made of integers, so that it is the same everywhere.

mod buffer;
mod models;

use std::{path::PathBuf, process::ExitCode};

use dunlin_tests::options::{option, refuse_others};
use serde_json::json;

fn main() -> ExitCode {
    refuse_others(&["write", "read"]);
    let (write, read) = (option::<PathBuf>("write"), option::<PathBuf>("read"));
    let done =
        match (&write, &read) {
            (Some(dir), None) => models::write(dir)
                .and_then(|models| Ok((models, buffer::write(&dir.join("buffer"))?))),
            (None, Some(dir)) => models::read(dir)
                .and_then(|models| Ok((models, buffer::read(&dir.join("buffer"))?))),
            _ => Err("one of --write DIR and --read DIR is needed".into()),
        };
    match done {
        Ok((models, buffer)) => {
            println!(
                "{}",
                json!({"arch": std::env::consts::ARCH, "models": models, "buffer": buffer})
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("exchange: {error}");
            ExitCode::FAILURE
        }
    }
}
