#!/usr/bin/env bash
# sled 0.34.7 (crates.io): `Config::cache_capacity` does not bound what stays in memory of a database that is written
# in order of its keys. Two things, each undocumented:
# - The cache has 256 shards, and each looks at its share only after 64 accesses to it. Pages that are written once
#   and hardly touched again collect none, so nothing is let go.
# - No shard lets its last page go, and a leaf holds 8 to 16 values, whatever their size: with values of 6 kB the
#   least that stays is 256 leaves of some 50 kB, 13 MB, however small the capacity.
#
# Seen, 24 MB written in values of 6 kB with a capacity of 4 MB (and then of 1 MB, each value read 64 times at once, so
# that every shard looks): grown by 25 MB and by 16 MB.
#   written once, capacity 4 MB: grown by more than 20 MB
#   read 64 times, capacity 1 MB: grown by more than 12 MB
#
# Needs cargo (Rust 1.85 or later) and Linux. Builds in a temporary folder, leaves nothing. Fails if the behaviour has
# changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "capacity"
version = "0.0.0"
edition = "2021"

[dependencies]
sled = "=0.34.7"
TOML
cat >src/main.rs <<'RUST'
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `fill FOLDER CAPACITY_MB READS`: writes 4,000 values of 6,000 bytes, reading each so often. Prints by how much
/// resident memory has grown, MB.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let capacity: u64 = arguments[2].parse().unwrap();
    let reads: u64 = arguments[3].parse().unwrap();
    let config = sled::Config::new().path(&arguments[1]).cache_capacity(capacity << 20);
    let database = config.flush_every_ms(None).open().unwrap();
    let before = resident_kb();
    for number in 0u64..4_000 {
        let value: Vec<u8> = (0u64..6_000).map(|place| (number * 31 + place * 7) as u8).collect();
        database.insert(number.to_be_bytes(), value).unwrap();
        for _ in 0..reads {
            database.get(number.to_be_bytes()).unwrap();
        }
        if number % 4 == 3 {
            database.flush().unwrap();
        }
    }
    println!("{}", (resident_kb() - before) / 1024);
}
RUST

cargo build --quiet
once=$(target/debug/capacity once 4 0)
often=$(target/debug/capacity often 1 64)
echo "grown by $once MB and by $often MB"
failed=0
expect() {
    if [[ $2 -gt $3 ]]; then
        echo "$1: grown by more than $3 MB"
    else
        echo "changed: $1: grown by $2 MB, no longer more than $3" >&2
        failed=1
    fi
}
expect 'written once, capacity 4 MB' "$once" 20
expect 'read 64 times, capacity 1 MB' "$often" 12
exit $failed
