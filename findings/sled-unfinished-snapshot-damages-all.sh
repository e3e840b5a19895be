#!/usr/bin/env bash
# sled 0.34.7 (crates.io) writes a new snapshot while it opens a database: first as `snap.<number>.generating`,
# renamed when it is whole. Looking for the newest snapshot it leaves out only names that end in `.in___motion`, so
# the file of a process that was killed (or lost power) before the rename counts as a snapshot, with the highest
# number. It is empty or torn, and the whole database is called corrupt, though the snapshot before it and the log
# are untouched: without that file everything is there.
#
# Seen:
#   before: 3 entries
#   with an unfinished snapshot: Corruption
#   without it: 3 entries
#
# Needs cargo (Rust 1.85 or later). Builds in a temporary folder, leaves nothing. Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "unfinished"
version = "0.0.0"
edition = "2021"

[dependencies]
sled = "=0.34.7"
TOML
cat >src/main.rs <<'RUST'
fn look(when: &str) {
    match sled::open("database") {
        Ok(database) => println!("{when}: {} entries", database.len()),
        Err(sled::Error::Corruption { .. }) => println!("{when}: Corruption"),
        Err(other) => println!("{when}: {other}"),
    }
}

fn main() {
    let database = sled::open("database").unwrap();
    for key in ["a", "b", "c"] {
        database.insert(key, "value").unwrap();
    }
    database.flush().unwrap();
    drop(database);
    look("before");

    // What a process leaves that is killed between making the file and writing to it. The number is the position in
    // the log up to which it was to hold everything: further than that of the one before.
    let left = "database/snap.00000000000F4240.generating";
    std::fs::File::create(left).unwrap();
    look("with an unfinished snapshot");
    std::fs::remove_file(left).unwrap();
    look("without it");
}
RUST

expected='before: 3 entries
with an unfinished snapshot: Corruption
without it: 3 entries'
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
