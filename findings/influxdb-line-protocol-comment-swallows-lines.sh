#!/usr/bin/env bash
# influxdb-line-protocol 2.0.0 (crates.io), parse_lines: a quote in a comment can swallow every line after it. Lines are
# split before comments are looked for (ported from InfluxDB's Go parser), so a `"` after a space and a `=` in a comment
# opens a string value, in which line ends do not count; what comes up to the next quote (here: to the end) is then
# taken for one line, which does not parse. In line protocol a comment ends with its line, whatever is in it (line
# protocol reference, "Comments"), and the crate cuts it off there too, once it has split. One error is left: who skips
# bad lines loses the whole batch.
#
# Seen:
#   # pump diameter=2 in: records 3, errors 0
#   # pump diameter=2": records 0, errors 1
#
# Needs cargo (Rust 1.85 or later). Builds in a temporary folder, leaves nothing. Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "comment"
version = "0.0.0"
edition = "2021"

[dependencies]
influxdb-line-protocol = "=2.0.0"
TOML
cat >src/main.rs <<'RUST'
fn main() {
    for comment in ["# pump diameter=2 in", "# pump diameter=2\""] {
        let text = format!(
            "{comment}\n\
             pump,id=a bar=2.1 1700000000000000000\n\
             pump,id=a bar=2.2 1700000001000000000\n\
             pump,id=a bar=2.3 1700000002000000000\n"
        );
        let (records, errors): (Vec<_>, Vec<_>) =
            influxdb_line_protocol::parse_lines(&text).partition(|line| line.is_ok());
        println!("{comment}: records {}, errors {}", records.len(), errors.len());
    }
}
RUST

expected='# pump diameter=2 in: records 3, errors 0
# pump diameter=2": records 0, errors 1'
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
