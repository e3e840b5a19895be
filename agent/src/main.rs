//! The `dunlin` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    match dunlin_agent::cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("dunlin: {exit}");
            exit.code()
        }
    }
}
