#!/usr/bin/env bash
# Three libraries for Sparkplug B do three things with a negative Int8 or Int16, and the two that write it cannot read
# each other:
# - sparkplug-payload 1.0.3 (npm) extends the sign to 32 bits. It reads all 32 as one signed number, so -2 in 8 bits
#   becomes 254.
# - pysparkplug 0.6.1 (PyPI) writes the 8 or 16 bits of the type, and refuses a payload with more than those.
# - tahu 0.1.2 (PyPI, from the Python helpers of Eclipse Tahu) hands the number to Protobuf as it is, which refuses it.
#   (Eclipse Tahu's repository has since settled on the 8 or 16 bits.)
# Sparkplug 3.0.0 (6.4.17) only says that a "Signed 8-bit integer" has the "Google Protocol Buffer Type: uint32", not
# how a negative number goes in there; it has examples for arrays alone. A receiver can take both if it looks at no more
# than the bits of the metric's type.
#
# Seen:
#   Int8 -2: sparkplug-payload 0xfffffffe, pysparkplug 0xfe, tahu ValueError
#   Int16 -300: sparkplug-payload 0xfffffed4, pysparkplug 0xfed4, tahu ValueError
#   Int8 -2 of pysparkplug, read by sparkplug-payload: 254
#   Int8 -2 of sparkplug-payload, read by pysparkplug: OverflowError
#
# Needs node 20 or later, npm, and python 3.10 to 3.13 with venv. Installs into a temporary folder, leaves nothing.
# Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit sparkplug-payload@1.0.3 >>npm.log
# An environment each: they need different versions of protobuf.
python3 -m venv pysparkplug
pysparkplug/bin/pip install --quiet --disable-pip-version-check pysparkplug==0.6.1 protobuf==7.36.2
python3 -m venv tahu
tahu/bin/pip install --quiet --disable-pip-version-check tahu==0.1.2 protobuf==3.19.1

cat >with_sparkplug_payload.cjs <<'JS'
const { encodePayload, decodePayload } = require('sparkplug-payload').get('spBv1.0')
const [task, first, value] = process.argv.slice(2)
const timestamp = 1700000000000
if (task === 'encode') {
  const metric = { name: 'level', timestamp, type: first, value: Number(value) }
  console.log(Buffer.from(encodePayload({ timestamp, seq: 0, metrics: [metric] })).toString('hex'))
} else {
  console.log(decodePayload(Buffer.from(first, 'hex')).metrics[0].value)
}
JS

cat >with_pysparkplug.py <<'PYTHON'
import sys

from pysparkplug import DataType, Metric, NData

task, first, *value = sys.argv[1:]
time = 1700000000000
if task == "encode":
    metric = Metric(timestamp=time, name="level", datatype=DataType[first.upper()], value=int(value[0]))
    print(NData(timestamp=time, seq=0, metrics=(metric,)).encode(include_dtypes=True).hex())
else:
    try:
        print(NData.decode(bytes.fromhex(first)).metrics[0].value)
    except Exception as error:
        print(type(error).__name__)
PYTHON

cat >with_tahu.py <<'PYTHON'
import sys

from tahu.sparkplug_b import MetricDataType, addMetric
from tahu.sparkplug_b_pb2 import Payload

datatype, value = sys.argv[1:]
payload = Payload()
try:
    addMetric(payload, "level", None, getattr(MetricDataType, datatype), int(value))
    print(payload.SerializeToString().hex())
except Exception as error:
    print(type(error).__name__)
PYTHON

cat >wire.py <<'PYTHON'
"""Of a payload in hexadecimal: the int_value (field 10) of its only metric (field 2), as on the wire."""
import sys


def fields(data):
    """Number and content of each field; enough of Protobuf for what is written here."""
    at = 0

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = varint()
        content = varint()
        if key & 7 == 2:  # a length, and so many bytes
            content, at = data[at : at + content], at + content
        yield key >> 3, content


try:
    payload = bytes.fromhex(sys.argv[1])
except ValueError:
    print(sys.argv[1])  # the name of an error
else:
    print(hex(dict(fields(dict(fields(payload))[2]))[10]))
PYTHON

sparkplug_payload() { node with_sparkplug_payload.cjs "$@"; }
pysparkplug() { pysparkplug/bin/python with_pysparkplug.py "$@"; }
tahu() { tahu/bin/python with_tahu.py "$@"; }
wire() { python3 wire.py "$1"; }

# encoded TYPE VALUE: what each library makes of it.
encoded() {
    local of_npm of_pysparkplug of_tahu
    of_npm=$(wire "$(sparkplug_payload encode "$@")")
    of_pysparkplug=$(wire "$(pysparkplug encode "$@")")
    of_tahu=$(wire "$(tahu "$@")")
    echo "$1 $2: sparkplug-payload $of_npm, pysparkplug $of_pysparkplug, tahu $of_tahu"
}

expected='Int8 -2: sparkplug-payload 0xfffffffe, pysparkplug 0xfe, tahu ValueError
Int16 -300: sparkplug-payload 0xfffffed4, pysparkplug 0xfed4, tahu ValueError
Int8 -2 of pysparkplug, read by sparkplug-payload: 254
Int8 -2 of sparkplug-payload, read by pysparkplug: OverflowError'
seen=$(
    encoded Int8 -2
    encoded Int16 -300
    read_there=$(sparkplug_payload decode "$(pysparkplug encode Int8 -2)")
    echo "Int8 -2 of pysparkplug, read by sparkplug-payload: $read_there"
    read_there=$(pysparkplug decode "$(sparkplug_payload encode Int8 -2)")
    echo "Int8 -2 of sparkplug-payload, read by pysparkplug: $read_there"
)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
