//! The embedded broker of the demo and the tests: rumqttd on 127.0.0.1, no file, no root.
//!
//! It cannot be shut down: its threads and its memory live as long as the process. It keeps sessions
//! and retained publishes in memory only. Not for production: a subscriber more than
//! [`LOG_BYTES_MAX`] behind loses what is older.
//!
//! rumqttd logs every connection at `info` and every lost one at `error`; add [`LOG_DIRECTIVE`] to
//! the log filter of a process that embeds it.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// What the log filter needs so that the broker does not talk over the agent.
pub const LOG_DIRECTIVE: &str = "rumqttd=off";
/// What the broker keeps for each subscribed filter, bytes.
pub const LOG_BYTES_MAX: usize = SEGMENT_BYTES * SEGMENTS_MAX;

const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
const SEGMENTS_MAX: usize = 16;
const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;
const CONNECTIONS_MAX: usize = 256;
const IN_FLIGHT_MAX: usize = 1_000;
const START_MAX: Duration = Duration::from_secs(10);

/// A running broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedBroker {
    /// Where it speaks MQTT 5.
    pub v5: SocketAddr,
    /// Where it speaks MQTT 3.1.1.
    pub v311: SocketAddr,
}

/// The broker did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No port, or no thread.
    #[error("embedded broker: {0}")]
    Io(#[from] io::Error),
    /// It does not answer on its ports.
    #[error(
        "embedded broker: no answer on {0} within {START_MAX:?}; has another program the port?"
    )]
    Silent(SocketAddr),
}

impl EmbeddedBroker {
    /// Starts a broker on two free ports of 127.0.0.1 and waits until both answer. With a `login`
    /// (user, password) it turns everybody else away.
    ///
    /// # Errors
    /// [`BrokerError`] if it does not come up within ten seconds.
    pub fn start(login: Option<(&str, &str)>) -> Result<Self, BrokerError> {
        let (v5, v311) = free_addresses()?;
        let mut broker = Broker::new(config(v5, v311, login));
        thread::Builder::new()
            .name("broker".into())
            .spawn(move || {
                // Returns only if it cannot listen, which the probe below reports.
                let _ended = broker.start();
            })?;
        let deadline = Instant::now() + START_MAX;
        for address in [v5, v311] {
            while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
                if Instant::now() > deadline {
                    return Err(BrokerError::Silent(address));
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(Self { v5, v311 })
    }

    /// `mqtt://127.0.0.1:port` for MQTT 5.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.v5)
    }

    /// `mqtt://127.0.0.1:port` for MQTT 3.1.1.
    pub fn url_311(&self) -> String {
        format!("mqtt://{}", self.v311)
    }
}

/// Two different ports that were free a moment ago.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let listeners = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    ];
    Ok((listeners[0].local_addr()?, listeners[1].local_addr()?))
}

fn config(v5: SocketAddr, v311: SocketAddr, login: Option<(&str, &str)>) -> Config {
    let auth = login.map(|(user, password)| HashMap::from([(user.into(), password.into())]));
    let server = |name: &str, listen| {
        let settings = ServerSettings {
            name: name.into(),
            listen,
            tls: None,
            next_connection_delay_ms: 0,
            connections: ConnectionSettings {
                connection_timeout_ms: 5_000,
                max_payload_size: PAYLOAD_BYTES_MAX,
                max_inflight_count: IN_FLIGHT_MAX,
                auth: auth.clone(),
                external_auth: None,
                dynamic_filters: true,
            },
        };
        Some(HashMap::from([(name.to_owned(), settings)]))
    };
    Config {
        router: RouterConfig {
            max_connections: CONNECTIONS_MAX,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS_MAX,
            ..RouterConfig::default()
        },
        v4: server("v311", v311),
        v5: server("v5", v5),
        ..Config::default()
    }
}
