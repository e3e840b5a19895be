#!/usr/bin/env bash
# srad-types 0.3.1 (crates.io) has the quality codes of Sparkplug B the wrong way round: Quality::Good is 0 and
# Quality::Bad is 192, where Sparkplug 3.0.0 (6.4.9.1) has 0 for BAD and 192 for GOOD. PropertySet::new() puts in
# Quality::Good by itself, so a metric that is given a property (a unit, say) goes out marked as BAD, which nobody asked
# for; and the quality that others send is read with good and bad swapped. Between nodes and hosts that both use the
# crate nothing shows.
#
# Seen:
#   Quality that PropertySet::new() writes: type 3, value 0
#   Quality 192 (GOOD) is read as Bad
#   Quality 0 (BAD) is read as Good
#   Quality 500 (STALE) is read as Stale
#
# Needs cargo (Rust 1.85 or later). Builds in a temporary folder, leaves nothing. Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "quality"
version = "0.0.0"
edition = "2021"

[dependencies]
srad-types = "=0.3.1"
TOML
cat >src/main.rs <<'RUST'
use srad_types::payload::property_value::Value;
use srad_types::{payload, PropertySet, Quality};

fn main() {
    let mut properties = PropertySet::new();
    properties.insert("engUnit", Some("bar".to_string())).unwrap();
    let sent: payload::PropertySet = properties.into();
    let place = sent.keys.iter().position(|key| key == "Quality").unwrap();
    let quality = &sent.values[place];
    let Some(Value::IntValue(code)) = quality.value else { panic!("no int_value") };
    println!("Quality that PropertySet::new() writes: type {}, value {code}", quality.r#type.unwrap());

    for (code, meaning) in [(192, "GOOD"), (0, "BAD"), (500, "STALE")] {
        let read = match Quality::try_from(code).unwrap() {
            Quality::Good => "Good",
            Quality::Bad => "Bad",
            Quality::Stale => "Stale",
        };
        println!("Quality {code} ({meaning}) is read as {read}");
    }
}
RUST

expected='Quality that PropertySet::new() writes: type 3, value 0
Quality 192 (GOOD) is read as Bad
Quality 0 (BAD) is read as Good
Quality 500 (STALE) is read as Stale'
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
