//! MQTT packets to bytes and back.
//!
//! Promises: bytes from the network never panic and never make memory grow past one packet of the
//! configured payload bound; a publish above the bound is handed on cut short, never refused, so
//! that it can be quarantined and acknowledged instead of coming back for ever. Publishes are
//! slices of the read buffer: nothing is copied, nothing is allocated for each.

mod subscribe;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc::{mqttbytes::v4, v5::mqttbytes::v5};

pub use self::subscribe::{Own, listen, subscribe, unsubscribe};
use super::connack::{ConnAck, Refusal};
use crate::config::settings::MqttVersion;

/// Largest control packet accepted (everything but PUBLISH), bytes.
const CONTROL_BYTES_MAX: usize = 64 * 1024;
/// Topic, packet id and properties kept of a publish besides its payload, bytes.
const PUBLISH_HEAD_BYTES_MAX: usize = 72 * 1024;
/// Free room made in the read buffer before a read, bytes.
const READ_BYTES: usize = 64 * 1024;

/// One PUBLISH. `topic` and `payload` are what the sender wrote: not checked, not even for UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Topic name.
    pub topic: Bytes,
    /// Payload, at most the configured bound.
    pub payload: Bytes,
    /// Length of the payload as sent; more than `payload.len()` if it was cut short.
    pub payload_bytes: usize,
    /// Packet id; 0 for `QoS` 0.
    pub packet_id: u16,
    /// The broker has sent this one before.
    pub dup: bool,
    /// Retained by the broker, not live.
    pub retain: bool,
}

/// What the broker may send after its CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A publish for us.
    Publish(Publish),
    /// Answer to a publish of ours.
    PubAck {
        /// Its packet id.
        packet_id: u16,
        /// 0x80 and above: refused.
        reason: u8,
    },
    /// Answer to a SUBSCRIBE.
    SubAck {
        /// Its packet id.
        packet_id: u16,
        /// Granted `QoS` or reason of the refusal, for each filter in order.
        outcomes: Vec<Result<u8, String>>,
    },
    /// Answer to the UNSUBSCRIBE with this packet id.
    UnsubAck(u16),
    /// The broker ends the connection (MQTT 5), with its reason.
    Disconnect(String),
    /// The broker ends the connection because another client has come with our client id (MQTT 5).
    TakenOver,
    /// Answer to a ping.
    PingResp,
    /// Anything else a broker may send; needs no answer.
    Other,
}

/// Bytes that are not MQTT as agreed. The connection is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub String);

fn wire_error(text: &str) -> WireError {
    WireError(text.to_owned())
}

/// Cuts the byte stream of one connection into packets.
#[derive(Debug)]
pub struct Decoder {
    version: MqttVersion,
    payload_bytes_max: usize,
    buffer: BytesMut,
    /// Bytes of an over-long publish still to come and to be thrown away.
    skip_bytes: usize,
}

impl Decoder {
    /// For a fresh connection. Payloads are cut at `payload_bytes_max` bytes.
    pub fn new(version: MqttVersion, payload_bytes_max: usize) -> Self {
        Self {
            version,
            payload_bytes_max,
            buffer: BytesMut::new(),
            skip_bytes: 0,
        }
    }

    /// Where the next read from the socket goes; always has room.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 8 {
            self.buffer.reserve(READ_BYTES);
        }
        &mut self.buffer
    }

    /// The next whole packet, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`WireError`] if the bytes are not MQTT of the agreed version.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet>, WireError> {
        let skipped = self.skip_bytes.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip_bytes -= skipped;
        let Some((first, head, body)) = fixed_header(&self.buffer)? else {
            return Ok(None);
        };
        if first >> 4 == 3 {
            let kept = body.min(self.payload_bytes_max + PUBLISH_HEAD_BYTES_MAX);
            if self.buffer.len() < head + kept {
                return Ok(None);
            }
            let mut frame = self.buffer.split_to(head + kept).freeze();
            frame.advance(head);
            self.skip_bytes = body - kept;
            return self
                .publish(first, frame, body)
                .map(|p| Some(Packet::Publish(p)));
        }
        if body > CONTROL_BYTES_MAX {
            return Err(wire_error("a control packet of more than 64 KiB"));
        }
        if self.buffer.len() < head + body {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(head + body);
        match first >> 4 {
            4 => {
                frame.advance(head);
                if frame.len() < 2 {
                    return Err(wire_error("a PUBACK without packet id"));
                }
                Ok(Some(Packet::PubAck {
                    packet_id: frame.get_u16(),
                    reason: frame.first().copied().unwrap_or(0),
                }))
            }
            13 => Ok(Some(Packet::PingResp)),
            9 => self.suback(frame).map(Some),
            11 => {
                frame.advance(head);
                if frame.len() < 2 {
                    return Err(wire_error("an UNSUBACK without packet id"));
                }
                Ok(Some(Packet::UnsubAck(frame.get_u16())))
            }
            14 => Ok(Some(disconnected(&mut frame, head))),
            _ => Ok(Some(Packet::Other)),
        }
    }

    /// Reads the CONNACK, the first packet on every connection; `None` until it is complete.
    ///
    /// # Errors
    /// [`WireError`] if what comes first is not a CONNACK.
    pub fn connack(&mut self) -> Result<Option<ConnAck>, WireError> {
        let Some((first, head, body)) = fixed_header(&self.buffer)? else {
            return Ok(None);
        };
        if first >> 4 != 2 || !(2..=CONTROL_BYTES_MAX).contains(&body) {
            return Err(wire_error(
                "the answer is not MQTT: is this the broker's port?",
            ));
        }
        if self.buffer.len() < head + body {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(head + body);
        let (flags, code) = (frame[head], frame[head + 1]);
        let session_present = flags & 1 == 1;
        // A broker without MQTT 5 answers in the format of 3.1.1: two bytes, no properties.
        if self.version == MqttVersion::V311 || body == 2 {
            let mut ack = ConnAck::from_311(session_present, code);
            if self.version == MqttVersion::V5 && ack.refusal.is_none() {
                // It has not looked at the version; the next packet would be misread.
                ack.refusal = Some(Refusal::Version);
            }
            return Ok(Some(ack));
        }
        match v5::Packet::read(&mut frame, None) {
            Ok(v5::Packet::ConnAck(ack)) => Ok(Some(ConnAck::from_v5(&ack))),
            Ok(_) => Err(wire_error("the first packet is not a CONNACK")),
            Err(e) => Err(WireError(format!("CONNACK: {e}"))),
        }
    }

    fn publish(&self, first: u8, mut frame: Bytes, body: usize) -> Result<Publish, WireError> {
        let cut = || wire_error("a PUBLISH shorter than its own parts");
        let qos = first >> 1 & 3;
        if qos > 1 {
            return Err(wire_error(
                "a QoS 2 publish although subscribed with QoS 1: another client has used this \
                 client id; choose another client_id or remove the session from the broker",
            ));
        }
        if frame.len() < 2 {
            return Err(cut());
        }
        let topic_bytes = usize::from(frame.get_u16());
        if frame.len() < topic_bytes + usize::from(qos) * 2 {
            return Err(cut());
        }
        let topic = frame.split_to(topic_bytes);
        let packet_id = if qos == 1 { frame.get_u16() } else { 0 };
        if qos == 1 && packet_id == 0 {
            return Err(wire_error("a QoS 1 publish with packet id 0"));
        }
        let mut payload_bytes = body - 2 - topic_bytes - usize::from(qos) * 2;
        if self.version == MqttVersion::V5 {
            let (properties, digits) = variable_length(&frame)?.ok_or_else(cut)?;
            if payload_bytes < digits + properties {
                return Err(cut());
            }
            // Properties so long that they were cut: nothing of the payload is here, and
            // `payload_bytes` keeps counting them, so that it reads as too large.
            if frame.len() >= digits + properties {
                frame.advance(digits + properties);
                payload_bytes -= digits + properties;
            } else {
                frame.clear();
            }
        }
        frame.truncate(self.payload_bytes_max);
        Ok(Publish {
            topic,
            payload: frame,
            payload_bytes,
            packet_id,
            dup: first & 8 != 0,
            retain: first & 1 != 0,
        })
    }

    fn suback(&self, mut frame: BytesMut) -> Result<Packet, WireError> {
        let refused = |reason: &dyn std::fmt::Debug| Err(format!("{reason:?}"));
        match self.version {
            MqttVersion::V5 => match v5::Packet::read(&mut frame, None) {
                Ok(v5::Packet::SubAck(ack)) => {
                    let note = ack.properties.and_then(|p| p.reason_string);
                    let outcome = |code: &_| match code {
                        v5::SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                        other => match &note {
                            Some(note) => Err(format!("{other:?}: {note}")),
                            None => refused(other),
                        },
                    };
                    Ok(Packet::SubAck {
                        packet_id: ack.pkid,
                        outcomes: ack.return_codes.iter().map(outcome).collect(),
                    })
                }
                Ok(_) => Err(wire_error("a broken SUBACK")),
                Err(e) => Err(WireError(format!("SUBACK: {e}"))),
            },
            MqttVersion::V311 => match v4::Packet::read(&mut frame, CONTROL_BYTES_MAX) {
                Ok(v4::Packet::SubAck(ack)) => Ok(Packet::SubAck {
                    packet_id: ack.pkid,
                    outcomes: (ack.return_codes.iter())
                        .map(|code| match code {
                            v4::SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                            other @ v4::SubscribeReasonCode::Failure => refused(other),
                        })
                        .collect(),
                }),
                Ok(_) => Err(wire_error("a broken SUBACK")),
                Err(e) => Err(WireError(format!("SUBACK: {e}"))),
            },
        }
    }
}

/// First byte, length of the fixed header, length of the rest; `None` until it is complete.
fn fixed_header(buffer: &[u8]) -> Result<Option<(u8, usize, usize)>, WireError> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    Ok(variable_length(rest)?.map(|(body, digits)| (first, 1 + digits, body)))
}

/// A variable-length number and how many bytes it takes (1-4); `None` until it is complete.
fn variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(wire_error(
        "a length of more than four bytes: this is not MQTT",
    ))
}

/// `head`: length of the fixed header. Without properties their length may be left out, which rumqttc
/// does not know.
fn disconnected(frame: &mut BytesMut, head: usize) -> Packet {
    let code = frame
        .get(head)
        .map(|code| v5::DisconnectReasonCode::try_from(*code));
    let Some(Ok(code)) = code else {
        return Packet::Disconnect("no reason given".to_owned());
    };
    if code == v5::DisconnectReasonCode::SessionTakenOver {
        return Packet::TakenOver;
    }
    let note = match v5::Packet::read(frame, None) {
        Ok(v5::Packet::Disconnect(packet)) => packet.properties.and_then(|p| p.reason_string),
        _ => None,
    };
    Packet::Disconnect(match note {
        Some(note) => format!("{code:?}: {note}"),
        None => format!("{code:?}"),
    })
}

/// Appends a PUBACK that says success.
pub fn puback(packet_id: u16, out: &mut BytesMut) {
    // MQTT 5 lets the reason "success" be left out, which makes both versions the same.
    out.put_u32(0x4002_0000 | u32::from(packet_id));
}

/// Appends a `QoS` 1 PUBLISH. Returns its length in bytes.
pub fn publish(
    version: MqttVersion,
    topic: &str,
    payload: &[u8],
    packet_id: u16,
    retain: bool,
    out: &mut BytesMut,
) -> usize {
    let properties: &[u8] = match version {
        MqttVersion::V5 => &[0],
        MqttVersion::V311 => &[],
    };
    let start = out.len();
    let mut body = 2 + topic.len() + 2 + properties.len() + payload.len();
    out.put_u8(0x32 | u8::from(retain));
    while body >= 0x80 {
        out.put_u8(body as u8 | 0x80);
        body >>= 7;
    }
    out.put_u8(body as u8);
    out.put_u16(topic.len() as u16);
    out.put_slice(topic.as_bytes());
    out.put_u16(packet_id);
    out.put_slice(properties);
    out.put_slice(payload);
    out.len() - start
}

/// Appends a `QoS` 0 PUBLISH, not retained.
pub fn publish_qos0(version: MqttVersion, topic: &str, payload: &[u8], out: &mut BytesMut) {
    let properties: &[u8] = match version {
        MqttVersion::V5 => &[0],
        MqttVersion::V311 => &[],
    };
    let mut body = 2 + topic.len() + properties.len() + payload.len();
    out.put_u8(0x30);
    while body >= 0x80 {
        out.put_u8(body as u8 | 0x80);
        body >>= 7;
    }
    out.put_u8(body as u8);
    out.put_u16(topic.len() as u16);
    out.put_slice(topic.as_bytes());
    out.put_slice(properties);
    out.put_slice(payload);
}

/// Sets the DUP bit of an encoded PUBLISH.
pub fn mark_dup(encoded: &mut [u8]) {
    if let Some(first) = encoded.first_mut() {
        *first |= 8;
    }
}

/// Appends a PINGREQ.
pub fn pingreq(out: &mut BytesMut) {
    out.put_slice(&[0xc0, 0]);
}

/// Appends a DISCONNECT that keeps the session and drops the last will.
pub fn disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xe0, 0]);
}

/// Appends a DISCONNECT that ends the session too.
pub fn disconnect_for_good(version: MqttVersion, out: &mut BytesMut) {
    match version {
        // Reason 0; five bytes of properties: the session expires after 0 s.
        MqttVersion::V5 => out.put_slice(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]),
        // A session that began clean ends with its connection.
        MqttVersion::V311 => disconnect(out),
    }
}

#[cfg(test)]
mod tests;
