//! As much of MQTT 5 and 3.1.1 as the harness speaks and reads along.

use std::io::{self, Read};

use crate::records::Publish;

/// What a client or, where marked, a broker may send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect {
        is_v5: bool,
        receive_maximum: u16,
    },
    Publish {
        id: Option<u16>,
    },
    PubAck(u16),
    Subscribe {
        id: u16,
        filters: usize,
    },
    PingReq,
    Disconnect,
    /// From a broker, with its code.
    ConnAck(u8),
    Other,
}

/// Cuts a byte stream into packets.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    socket: S,
    buffer: Vec<u8>,
    at: usize,
    pub(crate) is_v5: bool,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<S: Read> Reader<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            at: 0,
            is_v5: true,
        }
    }

    /// The next packet; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some((head, body)) = frame(rest)?
                && rest.len() >= head + body
            {
                let packet = parse(rest[0], &rest[head..head + body], self.is_v5)?;
                self.at += head + body;
                return Ok(Some(packet));
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let mut chunk = [0; 16 * 1024];
            match self.socket.read(&mut chunk)? {
                0 => return Ok(None),
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

/// Lengths of the fixed header and of the rest; `None` until the header is whole.
pub(crate) fn frame(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(rest) = bytes.get(1..) else {
        return Ok(None);
    };
    Ok(variable(rest)?.map(|(body, digits)| (1 + digits, body)))
}

fn variable(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(broken("a length of more than four bytes"))
}

/// Takes bytes off the front of a packet.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| broken("a packet shorter than its parts"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    fn properties(&mut self) -> io::Result<Body<'a>> {
        let (length, digits) = variable(self.0)?.ok_or_else(|| broken("no properties"))?;
        self.take(digits)?;
        Ok(Body(self.take(length)?))
    }
}

fn parse(first: u8, body: &[u8], is_v5: bool) -> io::Result<Packet> {
    let mut body = Body(body);
    Ok(match first >> 4 {
        1 => connect(&mut body)?,
        3 => {
            body.text()?;
            let id = if first & 6 == 0 {
                None
            } else {
                Some(body.short()?)
            };
            Packet::Publish { id }
        }
        2 => {
            body.byte()?;
            Packet::ConnAck(body.byte()?)
        }
        4 => Packet::PubAck(body.short()?),
        8 => {
            let id = body.short()?;
            if is_v5 {
                body.properties()?;
            }
            let mut filters = 0;
            while !body.0.is_empty() {
                body.text()?;
                body.byte()?;
                filters += 1;
            }
            Packet::Subscribe { id, filters }
        }
        12 => Packet::PingReq,
        14 => Packet::Disconnect,
        _ => Packet::Other,
    })
}

fn connect(body: &mut Body<'_>) -> io::Result<Packet> {
    body.text()?;
    let is_v5 = body.byte()? == 5;
    body.byte()?;
    body.short()?;
    // What a 3.1.1 client gets from mosquitto.
    let mut receive_maximum = if is_v5 { u16::MAX } else { 20 };
    if is_v5 {
        let mut properties = body.properties()?;
        while !properties.0.is_empty() {
            match properties.byte()? {
                0x21 => receive_maximum = properties.short()?,
                0x11 | 0x27 => drop(properties.take(4)?),
                0x22 => drop(properties.take(2)?),
                0x17 | 0x19 => drop(properties.take(1)?),
                _ => return Err(broken("a property this double does not know")),
            }
        }
    }
    Ok(Packet::Connect {
        is_v5,
        receive_maximum,
    })
}

/// What a relay wants to know of a PUBLISH.
pub(crate) struct PublishRead<'a> {
    pub(crate) id: Option<u16>,
    pub(crate) dup: bool,
    pub(crate) payload: &'a [u8],
}

/// Reads a PUBLISH; `body` is what follows its fixed header.
pub(crate) fn read_publish(first: u8, body: &[u8], is_v5: bool) -> io::Result<PublishRead<'_>> {
    let mut body = Body(body);
    body.text()?;
    let id = if first & 6 == 0 {
        None
    } else {
        Some(body.short()?)
    };
    if is_v5 {
        body.properties()?;
    }
    Ok(PublishRead {
        id,
        dup: first & 8 != 0,
        payload: body.0,
    })
}

/// The CONNECT of a 3.1.1 client with a clean session.
pub(crate) fn connect_311(
    client_id: &str,
    user: Option<&str>,
    password: Option<&str>,
    out: &mut Vec<u8>,
) {
    let flags = 2 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    // The longest keep-alive: whoever only publishes now and then is not to be thrown out. The embedded broker
    // takes nobody without one.
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0xff, 0xff];
    for text in [Some(client_id), user, password].into_iter().flatten() {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    }
    out.push(0x10);
    push_variable(body.len(), out);
    out.extend(body);
}

fn push_variable(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(crate) fn connack(is_v5: bool, session_present: bool, out: &mut Vec<u8>) {
    let present = u8::from(session_present);
    if is_v5 {
        out.extend([0x20, 3, present, 0, 0]);
    } else {
        out.extend([0x20, 2, present, 0]);
    }
}

pub(crate) fn suback(is_v5: bool, id: u16, filters: usize, out: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    let body = 2 + usize::from(is_v5) + filters;
    out.extend([0x90, body as u8, high, low]);
    if is_v5 {
        out.push(0);
    }
    out.extend(std::iter::repeat_n(1, filters));
}

pub(crate) fn puback(id: u16, out: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    out.extend([0x40, 2, high, low]);
}

/// A `QoS` 1 publish.
pub(crate) fn publish(is_v5: bool, publish: &Publish, id: u16, dup: bool, out: &mut Vec<u8>) {
    let (topic, payload) = (publish.topic.as_bytes(), &publish.payload);
    out.push(0x32 | u8::from(dup) << 3);
    push_variable(
        2 + topic.len() + 2 + usize::from(is_v5) + payload.len(),
        out,
    );
    out.extend((topic.len() as u16).to_be_bytes());
    out.extend(topic);
    out.extend(id.to_be_bytes());
    if is_v5 {
        out.push(0);
    }
    out.extend(payload);
}
