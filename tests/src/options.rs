//! `--name value` arguments of the programs of this crate.

use std::{process::exit, str::FromStr};

/// The value given for `--name`; ends the process with 2 if it is no such value.
pub fn option<T: FromStr>(name: &str) -> Option<T> {
    let flag = format!("--{name}");
    let mut args = std::env::args().skip(1);
    let value = args.find(|arg| *arg == flag).and_then(|_| args.next())?;
    Some(value.parse().unwrap_or_else(|_| {
        eprintln!("{flag} {value}: not a value for this");
        exit(2)
    }))
}

/// Ends the process with 2 if there are other arguments than these.
pub fn refuse_others(names: &[&str]) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let known = |arg: &str| {
        names
            .iter()
            .any(|name| arg.strip_prefix("--") == Some(name))
    };
    if args.len() % 2 == 1 || !args.iter().step_by(2).all(|arg| known(arg)) {
        let names: Vec<String> = names
            .iter()
            .map(|name| format!("[--{name} VALUE]"))
            .collect();
        eprintln!("usage: {}", names.join(" "));
        exit(2);
    }
}
