#!/usr/bin/env bash
# rusqlite 0.41.0 with its bundled SQLite, built for 32-bit ARM (armv7-unknown-linux-gnueabihf) against glibc 2.34 or
# later, opens no database whose file was last written after 2038-01-19: SQLite's C is compiled with 32-bit times, so
# stat() fails with EOVERFLOW, which SQLite reports as "unable to open database file". Rust's own file functions have
# 64-bit times and work. LIBSQLITE3_FLAGS="-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64" mends it.
#
# Seen (glibc 2.36, qemu-user 7.2):
#   plain, file of 2026: opened
#   plain, file of 2039: unable to open database file
#   with 64-bit times, file of 2039: opened
#
# Needs cargo with rustup, gcc-arm-linux-gnueabihf, libc6-dev-armhf-cross (2.34 or later) and qemu-user-static.
# Works in a temporary folder, leaves nothing but the Rust target. Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
target=armv7-unknown-linux-gnueabihf
[[ -d $(rustc --print target-libdir --target "$target") ]] || rustup target add "$target"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "opens"
version = "0.0.0"
edition = "2024"

[dependencies]
rusqlite = { version = "=0.41.0", features = ["bundled"] }
TOML
cat >src/main.rs <<'RUST'
use rusqlite::Connection;

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let opened = Connection::open(path)
        .and_then(|database| database.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0)));
    match opened {
        Ok(42) => println!("opened"),
        Ok(other) => println!("read {other}"),
        Err(error) => println!("{error}"),
    }
}
RUST
python3 - <<'PY'
import sqlite3
database = sqlite3.connect("plant.db")
database.execute("CREATE TABLE t (x)")
database.execute("INSERT INTO t VALUES (42)")
database.commit()
PY
export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc CARGO_TARGET_DIR=$folder/target

# opens DATE: what the program says of the database with a file of that date.
opens() {
    touch -d "$1-06-01" plant.db
    qemu-arm-static -L /usr/arm-linux-gnueabihf "target/$target/debug/opens" plant.db 2>&1 |
        sed 's/\(unable to open database file\).*/\1/'
}

cargo build --quiet --target "$target"
plain_2026=$(opens 2026)
plain_2039=$(opens 2039)
LIBSQLITE3_FLAGS='-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64' cargo build --quiet --target "$target"
wide_2039=$(opens 2039)
printf 'plain, file of 2026: %s\nplain, file of 2039: %s\nwith 64-bit times, file of 2039: %s\n' \
    "$plain_2026" "$plain_2039" "$wide_2039"
[[ $plain_2026 == opened && $plain_2039 == 'unable to open database file' && $wide_2039 == opened ]]
