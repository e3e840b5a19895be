#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI), as a broker: a client without a user name that connects with a client identifier and
# Clean Session 0 is granted its QoS 1 subscription, and nothing is kept for it while it is away: publishes that
# the broker acknowledges meanwhile are gone. The next CONNACK may even say "session present" (it depends on when the
# broker last cleared such sessions away), so nothing tells the client. (MQTT 3.1.1, 3.1.2.4: the session must be
# kept; that does not depend on a user name.)
#
# Seen:
#   subscription granted with QoS 1
#   published while it was away, acknowledged by the broker: 3
#   after reconnecting: delivered 0
#
# Needs python 3.10 to 3.13 with venv. Installs into a temporary folder, listens on 127.0.0.1, leaves nothing.
# Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check amqtt==0.12.1

cat >session.py <<'PYTHON'
import asyncio
import logging
import socket
import struct

from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90


def text(words):
    return struct.pack(">H", len(words)) + words.encode()


def packet(kind, body):
    return bytes([kind, len(body)]) + body  # every body here is below 128 bytes


async def receive(reader, seconds=10):
    """Kind and body of the next packet; (None, b"") if there is none in time."""
    try:
        kind, length = await asyncio.wait_for(reader.readexactly(2), seconds)
        return kind & 0xF0, await reader.readexactly(length)
    except (asyncio.TimeoutError, asyncio.IncompleteReadError):
        return None, b""


async def connect(port, client, clean):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    flags = 2 if clean else 0
    writer.write(packet(0x10, text("MQTT") + bytes([4, flags, 0, 60]) + text(client)))
    kind, body = await receive(reader)
    assert (kind, body[1]) == (CONNACK, 0)
    return reader, writer


async def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listener = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
    broker = Broker({"listeners": listener, "plugins": anonymous})
    await broker.start()

    reader, writer = await connect(port, "subscriber", clean=False)
    writer.write(packet(0x82, b"\0\1" + text("plant/#") + b"\1"))
    kind, body = await receive(reader)
    assert kind == SUBACK
    print("subscription granted with QoS", body[-1])
    writer.write(packet(0xE0, b""))
    assert await receive(reader) == (None, b""), "the broker closes after DISCONNECT"

    reader, writer = await connect(port, "sensor", clean=True)
    acknowledged = 0
    for number in range(1, 4):
        writer.write(packet(0x32, text("plant/press") + struct.pack(">H", number) + b"21.5"))
        kind, _ = await receive(reader)
        acknowledged += kind == PUBACK
    print("published while it was away, acknowledged by the broker:", acknowledged)

    reader, writer = await connect(port, "subscriber", clean=False)
    delivered = 0
    while (await receive(reader, seconds=3))[0] == PUBLISH:
        delivered += 1
    print("after reconnecting: delivered", delivered)
    await broker.shutdown()


asyncio.run(main())
PYTHON

expected='subscription granted with QoS 1
published while it was away, acknowledged by the broker: 3
after reconnecting: delivered 0'
seen=$(timeout 60 python/bin/python session.py 2>/dev/null)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
