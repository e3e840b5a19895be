#!/usr/bin/env bash
# SQLite 3.53.4 (apsw 3.53.4.0, PyPI): PRAGMA journal_mode=wal does not keep to the busy time-out while another
# connection writes. BEGIN IMMEDIATE waits for that one as long as the time-out says, and so does the pragma for a
# connection that only reads; for a writer it fails with SQLITE_BUSY at once, though waiting would help: the writer
# need not wait for whoever asks. So of several programs that open a new database at the same moment, as each opens it,
# sets its busy time-out and turns it to WAL, some are told "database is locked" right away. Whoever turns a database
# to WAL has to try again by itself.
#
# Seen (time-out 1 s; "waited": at least 0.9 s, "at once": less than 0.1 s):
#   a reader is in the way: BEGIN EXCLUSIVE waited, PRAGMA journal_mode=wal waited
#   a writer is in the way: BEGIN IMMEDIATE waited, PRAGMA journal_mode=wal at once
#
# Needs python 3.10 or later with venv. Installs into a temporary folder, leaves nothing. Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check apsw==3.53.4.0

cat >wal.py <<'PYTHON'
import time

import apsw

first = apsw.Connection("new.db")
first.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")


def how(statement):
    second = apsw.Connection("new.db")
    second.set_busy_timeout(1000)
    begun = time.monotonic()
    try:
        second.execute(statement).fetchall()
        return f"{statement} done"
    except apsw.BusyError:
        took = time.monotonic() - begun
        word = "waited" if took >= 0.9 else "at once" if took < 0.1 else f"{took:.1f} s"
        return f"{statement} {word}"
    finally:
        second.close()


for role, begin, other in [
    ("reader", "BEGIN; SELECT a FROM t", "BEGIN EXCLUSIVE"),
    ("writer", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"),
]:
    first.execute(begin).fetchall()
    told = ", ".join(how(statement) for statement in (other, "PRAGMA journal_mode=wal"))
    print(f"a {role} is in the way: {told}")
    first.execute("COMMIT")
PYTHON

expected='a reader is in the way: BEGIN EXCLUSIVE waited, PRAGMA journal_mode=wal waited
a writer is in the way: BEGIN IMMEDIATE waited, PRAGMA journal_mode=wal at once'
seen=$(python/bin/python wal.py)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
