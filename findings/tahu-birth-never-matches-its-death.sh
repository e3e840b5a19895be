#!/usr/bin/env bash
# tahu 0.1.2 (PyPI, from the Python helpers of Eclipse Tahu): the NBIRTH of a connection carries a bdSeq one higher than
# its NDEATH (the will), with the helpers called in the order that their comments ask for. getNodeDeathPayload() takes
# the number and raises the counter; getNodeBirthPayload() means to take the one before with `--bdSeq`, which in Python
# is the number negated twice. Sparkplug 3.0.0 requires both to be the same (tck-id-payloads-nbirth-bdseq-repeat in
# 6.4.19, tck-id-payloads-ndeath-bdseq in 6.4.25), and a host puts a node offline upon an NDEATH that matches the NBIRTH
# (5.4): one that follows this never learns that such a node is gone. Eclipse Tahu's repository was mended in January
# 2023; the package was not.
#
# Seen:
#   connection 1: NDEATH 0, NBIRTH 1
#   connection 2: NDEATH 1, NBIRTH 2
#   connection 256: NDEATH 255, NBIRTH 0
#   connections of 256 in which they match: 0
#
# Needs python 3.8 to 3.13 with venv. Installs into a temporary folder, leaves nothing. Fails if the behaviour has
# changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check tahu==0.1.2

cat >connections.py <<'PYTHON'
from tahu.sparkplug_b import getNodeBirthPayload, getNodeDeathPayload


def number(payload):
    return next(metric.long_value for metric in payload.metrics if metric.name == "bdSeq")


matching = 0
for connection in range(1, 257):
    death = number(getNodeDeathPayload())  # goes into CONNECT as the will
    birth = number(getNodeBirthPayload())  # published after CONNACK
    matching += death == birth
    if connection in (1, 2, 256):
        print(f"connection {connection}: NDEATH {death}, NBIRTH {birth}")
print("connections of 256 in which they match:", matching)
PYTHON

expected='connection 1: NDEATH 0, NBIRTH 1
connection 2: NDEATH 1, NBIRTH 2
connection 256: NDEATH 255, NBIRTH 0
connections of 256 in which they match: 0'
seen=$(python/bin/python connections.py)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
