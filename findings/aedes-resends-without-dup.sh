#!/usr/bin/env bash
# aedes 1.2.0 (npm) sends an unacknowledged QoS 1 publish again on the next connection of a durable session with
# the packet identifier it had, but without the DUP flag, which MQTT 3.1.1 (3.3.1.1) requires on every delivery
# after the first. A subscriber that recognises redelivery by DUP takes it for a new publish.
#
# Seen:
#   first delivery: dup false
#   after reconnecting: session present true, payload one, same identifier true, dup false
#
# Needs node 20 or later and npm. Installs into a temporary folder, listens on 127.0.0.1, leaves nothing.
# Fails if the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit aedes@1.2.0 mqtt-packet@9.0.2 >>npm.log

cat >redelivery.mjs <<'JS'
import net from 'node:net'
import mqtt from 'mqtt-packet'
import { Aedes } from 'aedes'

const version = { protocolVersion: 4 }
const broker = await Aedes.createBroker()
const server = net.createServer(broker.handle)
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
setTimeout(() => { console.error('no end within 30 s'); process.exit(3) }, 30_000).unref()

// A connection that answers nothing by itself.
async function connect (clientId, clean) {
  const socket = net.connect(server.address().port, '127.0.0.1')
  const parser = mqtt.parser(version)
  const seen = []
  let arrived = () => {}
  parser.on('packet', (packet) => { seen.push(packet); arrived() })
  socket.on('data', (data) => parser.parse(data))
  const send = (packet) => socket.write(mqtt.generate(packet, version))
  const first = async (wanted) => {
    while (!seen.some(wanted)) await new Promise((resolve) => { arrived = resolve })
    return seen.find(wanted)
  }
  send({ cmd: 'connect', protocolId: 'MQTT', ...version, clientId, clean, keepalive: 0 })
  const { sessionPresent } = await first((packet) => packet.cmd === 'connack')
  return { socket, send, first, sessionPresent }
}

const isPublish = (packet) => packet.cmd === 'publish'
const subscriber = await connect('subscriber', false)
subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'plant/#', qos: 1 }] })
await subscriber.first((packet) => packet.cmd === 'suback')

const sensor = await connect('sensor', true)
sensor.send({ cmd: 'publish', topic: 'plant/press', payload: 'one', qos: 1, messageId: 1, dup: false, retain: false })
await sensor.first((packet) => packet.cmd === 'puback')
const sent = await subscriber.first(isPublish)
console.log(`first delivery: dup ${sent.dup}`)

// No PUBACK; the connection is lost, and the broker has noticed.
const noticed = new Promise((resolve) => broker.once('clientDisconnect', resolve))
subscriber.socket.destroy()
await noticed
const again = await connect('subscriber', false)
const resent = await again.first(isPublish)
console.log(`after reconnecting: session present ${again.sessionPresent}, payload ${resent.payload}, ` +
  `same identifier ${resent.messageId === sent.messageId}, dup ${resent.dup}`)
process.exit(0)
JS

expected='first delivery: dup false
after reconnecting: session present true, payload one, same identifier true, dup false'
seen=$(node redelivery.mjs)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" "$expected" >&2; exit 1; }
