//! Publishes at `QoS` 1 to a real broker and knows what it has acknowledged.

use std::{
    io::{self, Write},
    net::TcpStream,
    time::Duration,
};

use dunlin_agent::{config::settings::Secret, mqtt::url::BrokerUrl};

use crate::{
    mqtt_packet::{self, Packet, Reader},
    records::Publish,
};

/// Publishes under way at once.
const WINDOW: usize = 100;
/// For the broker's next answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A connection of its own with a clean session (MQTT 3.1.1).
#[derive(Debug)]
pub struct Publisher {
    socket: TcpStream,
    reader: Reader<TcpStream>,
    last_id: u16,
}

impl Publisher {
    /// Connects to the broker at `url` (3.1.1) as `client_id`.
    ///
    /// # Errors
    /// It cannot be reached, or turns us away.
    pub fn connect(url: &str, client_id: &str) -> io::Result<Self> {
        let url = BrokerUrl::parse(url).map_err(|e| io::Error::other(e.to_string()))?;
        let socket = TcpStream::connect((url.host.as_str(), url.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        let password = url.password.as_ref().map(Secret::reveal);
        let mut out = Vec::new();
        mqtt_packet::connect_311(client_id, url.user.as_deref(), password, &mut out);
        (&socket).write_all(&out)?;
        let mut reader = Reader::new(socket.try_clone()?);
        reader.is_v5 = false;
        match reader.next()? {
            Some(Packet::ConnAck(0)) => Ok(Self {
                socket,
                reader,
                last_id: 0,
            }),
            other => Err(io::Error::other(format!("no welcome: {other:?}"))),
        }
    }

    /// Publishes all of them; returns when the broker has acknowledged each.
    ///
    /// # Errors
    /// The connection broke or the broker fell silent: the rest may not have arrived.
    pub fn publish(&mut self, publishes: impl IntoIterator<Item = Publish>) -> io::Result<u64> {
        let (mut count, mut under_way) = (0, 0);
        for publish in publishes {
            while under_way >= WINDOW {
                under_way -= self.acks()?;
            }
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let mut out = Vec::new();
            mqtt_packet::publish(false, &publish, self.last_id, false, &mut out);
            self.socket.write_all(&out)?;
            under_way += 1;
            count += 1;
        }
        while under_way > 0 {
            under_way -= self.acks()?;
        }
        Ok(count)
    }

    fn acks(&mut self) -> io::Result<usize> {
        match self.reader.next()? {
            Some(Packet::PubAck(_)) => Ok(1),
            Some(_) => Ok(0),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
